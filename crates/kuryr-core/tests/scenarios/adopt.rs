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

/// By identifier and by name, with `--subnet` and without, in `-o`, in `--ipam-opt` and in both.
#[tokio::test(start_paused = true)]
async fn a_subnet_is_adopted_by_whatever_names_it() {
    for (by, value) in [
        ("neutron.subnet.uuid", None),
        ("neutron.subnet.name", Some("theirs")),
    ] {
        for (in_network, in_pool, range) in [
            (true, true, true),
            (true, true, false),
            (false, true, true),
            (false, true, false),
            (true, false, true),
        ] {
            let world = World::new();
            let (network, its_subnet) = theirs(&world).await;
            let value = value.map_or(its_subnet.id.to_string(), str::to_owned);
            let named = |wanted: bool| Vec::from_iter(wanted.then(|| (by, value.clone())));
            let plan = Plan {
                options: named(in_network),
                ipam_options: named(in_pool),
                subnets: Vec::from_iter(range.then_some("10.50.0.0/24")),
                defaults: Vec::from_iter((!range).then_some(kuryr_core::IpVersion::V4)),
                ..Plan::default()
            };
            let made = world.create_network(&plan).await.unwrap();
            let container = world.run(&made).await.unwrap();
            let port = world.port_of(&container).await;
            assert_eq!(port.fixed_ips[0].subnet_id, its_subnet.id);
            world.stop(&made, &container).await;
            world.delete_network(&made).await;
            assert!(world.kuryr.settled(crate::world::soon()).await);
            assert_eq!(world.all::<Network>().await, [network]);
            assert_eq!(world.all::<Subnet>().await, [its_subnet]);
            let pools = world.all::<SubnetPool>().await;
            assert!(pools.iter().all(|pool| pool.is_default), "{pools:?}");
        }
    }
}

/// Python defect 7: the user's subnet pool is not ours to delete.
#[tokio::test(start_paused = true)]
async fn a_subnet_pool_of_the_users_gives_ranges_and_stays() {
    for by in ["neutron.pool.uuid", "neutron.pool.name"] {
        for (subnets, want) in [
            (vec!["10.70.5.0/24"], "10.70.5.0/24"),
            (vec![], "10.70.0.0/26"),
        ] {
            let world = World::new();
            let pool = users_pool(&world).await;
            let value = if by.ends_with("uuid") {
                pool.id.to_string()
            } else {
                pool.name.clone()
            };
            let plan = Plan {
                defaults: Vec::from_iter(subnets.is_empty().then_some(kuryr_core::IpVersion::V4)),
                subnets,
                options: vec![(by, value.clone())],
                ipam_options: vec![(by, value)],
                ..Plan::default()
            };
            let made = world.create_network(&plan).await.unwrap();
            let [subnet] = <[Subnet; 1]>::try_from(world.all().await).unwrap();
            assert_eq!(
                (subnet.subnetpool_id, subnet.cidr.to_string().as_str()),
                (Some(pool.id), want)
            );
            let container = world.run(&made).await.unwrap();
            world.stop(&made, &container).await;
            world.delete_network(&made).await;
            assert!(world.kuryr.settled(crate::world::soon()).await);
            assert_eq!(world.all::<Network>().await, []);
            assert_eq!(world.neutron.find(pool.id).await.unwrap(), Some(pool));
        }
    }
}

/// Python defect 13: the first address that we offer Docker is no wish of the user's.
#[tokio::test(start_paused = true)]
async fn another_gateway_than_the_first_address_needs_no_option() {
    for gateway in [Some("10.50.0.254"), None] {
        let world = World::new();
        let gateway: Option<std::net::IpAddr> = gateway.map(|gateway| gateway.parse().unwrap());
        let (network, _) = theirs_with(&world, Some(gateway)).await;
        let plan = plan("neutron.net.uuid", &network);
        let made = world.create_network(&plan).await.unwrap();
        let container = world.run(&made).await.unwrap();
        let joined = world
            .kuryr
            .join(&made.id, &container.id, &[], crate::world::soon());
        let gateways = joined.await.unwrap().gateways;
        assert_eq!(gateways, Vec::from_iter(gateway));
        let wrong = Plan {
            gateway: Some("10.50.0.9"),
            ..plan
        };
        world.create_network(&wrong).await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_named_and_does_not_fit_is_refused_with_what_there_is() {
    let world = World::new();
    let (network, its_subnet) = theirs(&world).await;
    let (elsewhere, _) = theirs(&world).await;
    let subnet_id = its_subnet.id.to_string();
    for (options, ipam_options, words) in [
        (
            vec![
                ("neutron.net.uuid", network.id.to_string()),
                ("neutron.net.shared", "True".into()),
            ],
            vec![],
            "neutron.net.shared says true",
        ),
        (
            vec![
                ("neutron.net.uuid", elsewhere.id.to_string()),
                ("neutron.subnet.uuid", subnet_id.clone()),
            ],
            vec![],
            "is on Neutron network",
        ),
        (
            vec![("neutron.subnet.name", "theirs".into())],
            vec![],
            subnet_id.as_str(),
        ),
        (
            vec![],
            vec![("neutron.subnet.name", "nobody's".into())],
            "has no subnet",
        ),
        (
            vec![],
            vec![("neutron.pool.name", "nobody's".into())],
            "has no subnet pool",
        ),
        (
            vec![],
            vec![("neutron.net.name", "theirs".into())],
            "belongs in -o",
        ),
    ] {
        let plan = Plan {
            options,
            ipam_options,
            ..subnet("10.50.0.0/24")
        };
        let error = world.create_network(&plan).await.unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert!(world.kuryr.settled(crate::world::soon()).await);
        assert_eq!(world.all::<Network>().await.len(), 2, "{words}");
    }
}

/// Python defects 5 and 6: another Docker network may be on it, even without any container.
#[tokio::test(start_paused = true)]
async fn a_network_of_ours_that_another_has_adopted_is_left_and_said() {
    let world = World::new();
    let made = world.create_network(&subnet("10.50.0.0/24")).await.unwrap();
    let [network] = <[Network; 1]>::try_from(world.all().await).unwrap();
    let adopted = world
        .create_network(&plan("neutron.net.uuid", &network))
        .await
        .unwrap();
    let error = world
        .kuryr
        .delete_network(&made.id, crate::world::soon())
        .await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("kuryrPool-10.50.0.0/24")
    );
    let container = world.run(&adopted).await.unwrap();
    world.stop(&adopted, &container).await;
    assert_eq!(world.all::<Network>().await.len(), 1);
}

/// The Python daemon puts the tags of each Docker network on the one Neutron network.
#[tokio::test(start_paused = true)]
async fn each_of_several_networks_that_the_python_daemon_adopted_is_recognised() {
    let world = World::new();
    let (network, its_subnet) = theirs(&world).await;
    let ids = [crate::world::random_id(), crate::world::random_id()];
    let pool = users_pool(&world).await;
    let tags: Vec<String> = ids
        .iter()
        .flat_map(|id| {
            [
                format!("kuryr.net.uuid.lh:{}", &id[..32]),
                format!("kuryr.net.uuid.uh:{}", &id[32..]),
                format!("kuryr.net.existing:{}", &id[..12]),
            ]
        })
        .collect();
    world
        .neutron
        .replace_tags::<Network>(network.id, &tags)
        .await
        .unwrap();
    let tag = [pool.id.to_string()];
    world
        .neutron
        .replace_tags::<Subnet>(its_subnet.id, &tag)
        .await
        .unwrap();
    for id in &ids {
        let address = world
            .kuryr
            .reserve_address(
                &tag[0].parse().unwrap(),
                Default::default(),
                crate::world::soon(),
            )
            .await
            .unwrap();
        let new = kuryr_core::NewEndpoint {
            network: id.parse().unwrap(),
            id: crate::world::random_id().parse().unwrap(),
            addresses: vec![address],
            mac: None,
            options: Default::default(),
        };
        let endpoint = new.id.clone();
        world
            .kuryr
            .create_endpoint(new, crate::world::soon())
            .await
            .unwrap();
        let network = id.parse().unwrap();
        world
            .kuryr
            .delete_endpoint(&network, &endpoint, crate::world::soon())
            .await
            .unwrap();
        world
            .kuryr
            .delete_network(&network, crate::world::soon())
            .await
            .unwrap();
        assert!(world.kuryr.settled(crate::world::soon()).await);
        assert_eq!(world.all::<Network>().await.len(), 1);
    }
}

pub(crate) async fn users_pool(world: &World) -> SubnetPool {
    let new = neutron_api::NewSubnetPool {
        name: "users".into(),
        description: String::new(),
        prefixes: vec!["10.70.0.0/16".parse().unwrap()],
        default_prefixlen: Some(26),
        min_prefixlen: None,
    };
    world.neutron.create(&new, &Filter::new()).await.unwrap()
}

pub(crate) async fn theirs(world: &World) -> (Network, Subnet) {
    theirs_with(world, None).await
}

async fn theirs_with(
    world: &World,
    gateway_ip: Option<Option<std::net::IpAddr>>,
) -> (Network, Subnet) {
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
        gateway_ip,
        allocation_pools: None,
        enable_dhcp: true,
    };
    let subnet = world.neutron.create(&new, &Filter::new()).await.unwrap();
    (
        world.neutron.find(network.id).await.unwrap().unwrap(),
        subnet,
    )
}

pub(crate) fn plan(by: &'static str, network: &Network) -> Plan {
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
