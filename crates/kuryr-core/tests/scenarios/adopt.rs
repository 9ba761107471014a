//! Networks that were there before: used, and left as they were.

use kuryr_core::Error;
use neutron_api::{Network, NewNetwork, NewPort, NewSubnet, Port, Subnet, SubnetPool, WantedIp};
use neutron_client::Filter;

use crate::world::{Plan, World, subnet};

#[tokio::test(start_paused = true)]
async fn an_adopted_network_is_afterwards_what_it_was_before() {
    for by in ["neutron.net.uuid", "neutron.net.name"] {
        let mut world = World::new();
        let (network, subnet_before) = theirs(&world).await;
        let made = world.create_network(&plan(by, &network)).await.unwrap();
        let container = world.run(&made).await.unwrap();
        assert_eq!(world.port_of(&container).await.network_id, network.id);
        world.restart();
        let another = world.run(&made).await.unwrap();
        for container in [&container, &another] {
            world.stop(&made, container).await;
        }
        world.delete_network(&made).await;
        assert!(world.kuryr.settled(crate::world::soon()).await);
        assert_eq!(world.all::<Network>().await, [network]);
        assert_eq!(world.all::<Subnet>().await, [subnet_before]);
        assert_eq!(world.all::<Port>().await, []);
        assert!(
            world
                .all::<SubnetPool>()
                .await
                .iter()
                .all(|pool| pool.is_default)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn any_number_of_container_networks_share_a_network() {
    let world = World::new();
    let (network, _) = theirs(&world).await;
    let mut all = Vec::new();
    for _ in 0..60 {
        let made = world
            .create_network(&plan("neutron.net.uuid", &network))
            .await
            .unwrap();
        let container = world.run(&made).await.unwrap();
        all.push((made, container));
    }
    let (first, gone) = &all[0];
    world.stop(first, gone).await;
    world.delete_network(first).await;
    let (last, _) = all.last().unwrap();
    world.run(last).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_adopted_is_said_and_nothing_stays() {
    let world = World::new();
    let (network, _) = theirs(&world).await;
    theirs(&world).await;
    let uuid = |id: &str| vec![("neutron.net.uuid", id.to_owned())];
    let name = |name: &str| vec![("neutron.net.name", name.to_owned())];
    let ours = network.id.to_string();
    for (plan, words) in [
        (
            Plan {
                options: uuid(&uuid::Uuid::nil().to_string()),
                ..subnet("10.50.0.0/24")
            },
            "has no network",
        ),
        (
            Plan {
                options: uuid("foo"),
                ..subnet("10.50.0.0/24")
            },
            "is not a UUID",
        ),
        (
            Plan {
                options: name("theirs"),
                ..subnet("10.50.0.0/24")
            },
            "there are several",
        ),
        (
            Plan {
                options: uuid(&ours),
                ..subnet("10.51.0.0/24")
            },
            "has no subnet 10.51.0.0/24, but 10.50.0.0/24",
        ),
        (
            Plan {
                options: uuid(&ours),
                gateway: Some("10.50.0.9"),
                ..subnet("10.50.0.0/24")
            },
            "10.50.0.1",
        ),
        (
            Plan {
                options: uuid(&ours),
                defaults: vec![kuryr_core::IpVersion::V4],
                ..Plan::default()
            },
            "subnet",
        ),
        (
            Plan {
                options: vec![("neutron.net.colour", "red".into())],
                ..subnet("10.50.0.0/24")
            },
            "neutron.net.colour",
        ),
    ] {
        let error: Error = world.create_network(&plan).await.unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert!(world.kuryr.settled(crate::world::soon()).await);
        assert_eq!(world.all::<Network>().await.len(), 2, "{words}");
        assert!(
            world
                .all::<SubnetPool>()
                .await
                .iter()
                .all(|pool| pool.is_default),
            "{words}"
        );
    }
}

/// Docker releases an `--aux-address` when the network goes, and the gateway that it made up for a
/// subnet without one: whoever has that address in Neutron keeps it.
#[tokio::test(start_paused = true)]
async fn what_docker_releases_with_a_network_is_not_taken_from_other_containers() {
    let world = World::new();
    let (network, its_subnet) = theirs(&world).await;
    let mut plan = plan("neutron.net.uuid", &network);
    let ours = world.create_network(&plan).await.unwrap();
    let here = world
        .run_with(&ours, Some("10.50.0.7"), None)
        .await
        .unwrap();
    let elsewhere = NewPort {
        name: "abc-port".into(),
        network_id: Some(network.id),
        fixed_ips: Some(vec![WantedIp {
            subnet_id: its_subnet.id,
            ip_address: Some("10.50.0.8".parse().unwrap()),
        }]),
        device_owner: "compute:kuryr".into(),
        device_id: "abc".into(),
        host_id: Some("host2".into()),
        ..NewPort::default()
    };
    let elsewhere = world
        .neutron
        .create(&elsewhere, &Filter::new())
        .await
        .unwrap();
    plan.aux = vec!["10.50.0.7", "10.50.0.8"];
    let another = world.create_network(&plan).await.unwrap();
    world.delete_network(&another).await;
    world.port_of(&here).await;
    assert!(
        world
            .neutron
            .find::<Port>(elsewhere.id)
            .await
            .unwrap()
            .is_some()
    );
}

async fn theirs(world: &World) -> (Network, Subnet) {
    let new = NewNetwork {
        name: "theirs".into(),
        admin_state_up: true,
        ..NewNetwork::default()
    };
    let network = world.neutron.create(&new, &Filter::new()).await.unwrap();
    let new = NewSubnet {
        name: "theirs".into(),
        description: String::new(),
        network_id: network.id,
        ip_version: neutron_api::IpVersion::V4,
        cidr: Some("10.50.0.0/24".parse().unwrap()),
        subnetpool_id: None,
        gateway_ip: None,
        allocation_pools: None,
        enable_dhcp: true,
    };
    let subnet = world.neutron.create(&new, &Filter::new()).await.unwrap();
    (
        world.neutron.find(network.id).await.unwrap().unwrap(),
        subnet,
    )
}

fn plan(by: &'static str, network: &Network) -> Plan {
    let value = if by.ends_with("uuid") {
        network.id.to_string()
    } else {
        network.name.clone()
    };
    Plan {
        options: vec![(by, value)],
        ..subnet("10.50.0.0/24")
    }
}
