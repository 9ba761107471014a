//! Addresses: Neutron is the only one who gives them out.

use std::net::IpAddr;

use kuryr_core::{AddressRequest, Error};
use neutron_api::{Network, NewPort, Port, Subnet, WantedIp};
use neutron_client::Filter;

use crate::world::{World, dual_stack, soon, subnet};

#[tokio::test(start_paused = true)]
async fn an_address_of_somebody_else_is_refused_and_stays_theirs() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let before = others_port(&world, "10.20.0.9").await;
    let error = world
        .run_with(&made, Some("10.20.0.9"), None)
        .await
        .unwrap_err();
    assert!(format!("{error:?}").contains("10.20.0.9"), "{error:?}");
    assert_eq!(
        world.neutron.find::<Port>(before.id).await.unwrap(),
        Some(before)
    );
}

#[tokio::test(start_paused = true)]
async fn an_address_outside_of_the_range_is_refused() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let error = world
        .run_with(&made, Some("10.30.0.9"), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::OutsideRange { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_subnet_says_so_and_gives_again_what_is_released() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/29")).await.unwrap();
    let mut containers = Vec::new();
    for _ in 0..5 {
        containers.push(world.run(&made).await.unwrap());
    }
    let error = world.run(&made).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("IpAddressGenerationFailure"),
        "{error:?}"
    );
    // No pause: the port that is going makes room for the one that is coming.
    world.stop(&made, &containers.remove(0)).await;
    containers.push(world.run(&made).await.unwrap());
    for container in &containers {
        world.stop(&made, container).await;
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after a full subnet").await;
}

#[tokio::test(start_paused = true)]
async fn an_address_can_be_asked_for_again_as_soon_as_it_is_released() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    for _ in 0..3 {
        let container = world
            .run_with(&made, Some("10.20.0.9"), None)
            .await
            .unwrap();
        world.stop(&made, &container).await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_families_are_one_port_made_in_one_exchange() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    world.wire.plan(|_, _| kuryr_testkit::faulty::Fate::Pass);
    for pool in &made.pools {
        world
            .kuryr
            .reserve_address(&pool.id, AddressRequest::default(), soon())
            .await
            .unwrap();
    }
    assert_eq!(world.wire.log(), ["POST /v2.0/ports"]);
    assert_eq!(world.all::<Port>().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_address_of_choice_joins_the_ipv4_port() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    world
        .kuryr
        .reserve_address(&made.pools[0].id, AddressRequest::default(), soon())
        .await
        .unwrap();
    let wanted: IpAddr = "fd20::99".parse().unwrap();
    let ask = AddressRequest {
        address: Some(wanted),
        mac: None,
    };
    world
        .kuryr
        .reserve_address(&made.pools[1].id, ask, soon())
        .await
        .unwrap();
    let [port] = <[Port; 1]>::try_from(world.all().await).unwrap();
    assert!(
        port.fixed_ips.iter().any(|ip| ip.ip_address == wanted),
        "{port:?}"
    );
    assert_eq!(port.fixed_ips.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn releasing_what_nobody_has_succeeds() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let address = "10.20.0.77".parse().unwrap();
    world
        .kuryr
        .release_address(&made.pools[0].id, address, soon())
        .await
        .unwrap();
    let unknown = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    world
        .kuryr
        .release_address(&unknown, address, soon())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn releasing_an_address_of_somebody_else_leaves_it() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let port = others_port(&world, "10.20.0.9").await;
    world
        .kuryr
        .release_address(&made.pools[0].id, "10.20.0.9".parse().unwrap(), soon())
        .await
        .unwrap();
    assert!(world.kuryr.settled(soon()).await);
    assert!(world.neutron.find::<Port>(port.id).await.unwrap().is_some());
}

async fn others_port(world: &World, address: &str) -> Port {
    let [network] = <[Network; 1]>::try_from(world.all().await).unwrap();
    let [subnet] = <[Subnet; 1]>::try_from(world.all().await).unwrap();
    let wanted = WantedIp {
        subnet_id: subnet.id,
        ip_address: Some(address.parse().unwrap()),
    };
    let new = NewPort {
        name: "theirs".into(),
        network_id: Some(network.id),
        fixed_ips: Some(vec![wanted]),
        device_owner: "compute:nova".into(),
        device_id: "a-vm".into(),
        ..NewPort::default()
    };
    world.neutron.create(&new, &Filter::new()).await.unwrap()
}
