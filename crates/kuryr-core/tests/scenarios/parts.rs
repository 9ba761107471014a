//! Networks that were there before, of which Docker wants only a part.

use std::net::IpAddr;

use kuryr_core::Error;
use neutron_api::{Network, Port, Subnet, SubnetPool};

use crate::adopt::{plan, theirs, users_pool};
use crate::ports::adopted;
use crate::world::{Plan, World, soon, subnet};

#[tokio::test(start_paused = true)]
async fn addresses_of_an_adopted_network_come_from_the_ip_range_also_after_a_restart() {
    let mut world = World::new();
    let (network, its_subnet) = theirs(&world).await;
    let plan = Plan {
        part: Some("10.50.0.128/29"),
        aux: vec!["10.50.0.129", "10.50.0.130"],
        ..plan("neutron.net.uuid", &network)
    };
    let made = world.create_network(&plan).await.unwrap();
    world.restart();
    // 10.50.0.128 to .135 without the two that are reserved.
    let mut containers = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..6 {
        let container = world.run(&made).await.unwrap();
        addresses.push(container.addresses[0].addr().to_string());
        containers.push(container);
    }
    addresses.sort();
    let want = [128, 131, 132, 133, 134, 135].map(|last| format!("10.50.0.{last}"));
    assert_eq!(addresses, want);
    let full = world.run(&made).await.unwrap_err();
    assert!(matches!(full, Error::PartFull { .. }), "{full:?}");
    // Who names an address gets it, and who goes makes room.
    let outside = world
        .run_with(&made, Some("10.50.0.9"), None)
        .await
        .unwrap();
    world.stop(&made, &containers.remove(0)).await;
    containers.push(world.run(&made).await.unwrap());
    for container in containers.iter().chain([&outside]) {
        world.stop(&made, container).await;
    }
    world.delete_network(&made).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.all::<Subnet>().await, [its_subnet]);
    assert_eq!(world.all::<Port>().await, []);
}

#[tokio::test(start_paused = true)]
async fn an_aux_address_of_an_adopted_network_is_not_given_to_containers() {
    let world = World::new();
    let (network, _) = theirs(&world).await;
    let aux: Vec<String> = (2..=250).map(|last| format!("10.50.0.{last}")).collect();
    let plan = Plan {
        aux: aux.iter().map(|aux| &*aux.clone().leak()).collect(),
        ..plan("neutron.net.uuid", &network)
    };
    let made = world.create_network(&plan).await.unwrap();
    for _ in 0..4 {
        let container = world.run(&made).await.unwrap();
        let address = container.addresses[0].addr();
        assert!(!aux.contains(&address.to_string()), "{address}");
    }
    assert!(matches!(
        world.run(&made).await,
        Err(Error::PartFull { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn both_families_of_an_adopted_network_keep_to_their_parts() {
    let (world, made) = adopted(&["10.50.0.0/24", "fd50::/64"]).await;
    let [network] = <[Network; 1]>::try_from(world.all().await).unwrap();
    let plan = Plan {
        options: vec![("neutron.net.uuid", network.id.to_string())],
        subnets: vec!["10.50.0.0/24", "fd50::/64"],
        aux: vec!["10.50.0.9", "fd50::9"],
        ..Plan::default()
    };
    let restricted = world.create_network(&plan).await.unwrap();
    for made in [&made, &restricted] {
        let container = world.run(made).await.unwrap();
        assert_eq!(container.addresses.len(), 2);
        assert_eq!(world.port_of(&container).await.fixed_ips.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_internal_network_has_no_way_out_also_where_it_was_there_before() {
    for internal in [false, true] {
        let mut world = World::new();
        let (network, _) = theirs(&world).await;
        let plan = Plan {
            internal,
            ..plan("neutron.net.uuid", &network)
        };
        let made = world.create_network(&plan).await.unwrap();
        let container = world.run(&made).await.unwrap();
        for _ in 0..2 {
            let joined = world.kuryr.join(&made.id, &container.id, &[], soon());
            let gateway: IpAddr = "10.50.0.1".parse().unwrap();
            let want = Vec::from_iter((!internal).then_some(gateway));
            assert_eq!(joined.await.unwrap().gateways, want);
            world.restart();
        }
    }
}

/// Docker shows `-o` only when the range has been taken already.
#[tokio::test(start_paused = true)]
async fn a_subnet_pool_that_only_o_names_gives_the_subnet() {
    let mut world = World::new();
    let pool = users_pool(&world).await;
    let plan = Plan {
        options: vec![("neutron.pool.name", pool.name.clone())],
        ..subnet("10.70.5.0/24")
    };
    let made = world.create_network(&plan).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    let [subnet] = <[Subnet; 1]>::try_from(world.all().await).unwrap();
    assert_eq!(subnet.subnetpool_id, Some(pool.id));
    let pools = world.all::<SubnetPool>().await;
    assert!(
        pools.iter().all(|pool| !pool.name.starts_with("kuryrPool")),
        "{pools:?}"
    );
    world.restart();
    let container = world.run(&made).await.unwrap();
    world.stop(&made, &container).await;
    world.delete_network(&made).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.all::<Network>().await, []);
    assert_eq!(
        world.neutron.find(pool.id).await.unwrap(),
        Some(pool.clone())
    );
    let outside = Plan {
        options: vec![("neutron.pool.name", pool.name.clone())],
        ..self::subnet("10.99.0.0/24")
    };
    world.create_network(&outside).await.unwrap_err();
    world.neutron.delete::<SubnetPool>(pool.id).await.unwrap();
    world
        .assert_nothing_left("after a range that is not in the pool")
        .await;
}

/// Python defect 7: the tag says that the pool was there before.
#[tokio::test(start_paused = true)]
async fn a_subnet_pool_that_the_python_daemon_has_adopted_stays() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let pools = world.all::<SubnetPool>().await;
    let pool = pools
        .iter()
        .find(|pool| pool.name.starts_with("kuryrPool"))
        .unwrap();
    let tags = ["kuryr.subnetpool.existing".to_owned()];
    world
        .neutron
        .replace_tags::<SubnetPool>(pool.id, &tags)
        .await
        .unwrap();
    world.delete_network(&made).await;
    assert!(world.kuryr.settled(soon()).await);
    assert!(
        world
            .neutron
            .find::<SubnetPool>(pool.id)
            .await
            .unwrap()
            .is_some()
    );
}
