//! Networks come and go.

use kuryr_core::{Error, IpVersion};
use kuryr_testkit::faulty::Fate;
use neutron_api::{Network, Subnet, SubnetPool};
use neutron_client::Filter;

use crate::world::{Plan, World, dual_stack, new_network, soon, subnet};

#[tokio::test(start_paused = true)]
async fn a_network_has_the_names_and_tags_of_the_python_kuryr() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let [network] = <[Network; 1]>::try_from(world.all().await).unwrap();
    let id = made.id.as_str();
    assert_eq!(network.name, format!("kuryr-net-{}", &id[..8]));
    let tags = [
        format!("kuryr.net.uuid.lh:{}", &id[..32]),
        format!("kuryr.net.uuid.uh:{}", &id[32..]),
    ];
    assert_eq!(network.tags, tags);
    let [subnet] = <[Subnet; 1]>::try_from(world.all().await).unwrap();
    assert_eq!(subnet.name, "kuryr-subnet-10.20.0.0/24");
    assert_eq!(subnet.tags, [made.pools[0].id.to_string()]);
    let filter = Filter::new().with("name", "kuryrPool-10.20.0.0/24");
    let pools = world.neutron.list::<SubnetPool>(&filter).await.unwrap();
    assert_eq!(pools[0].id.to_string(), made.pools[0].id.as_str());
    world.delete_network(&made).await;
    world.assert_nothing_left("after the network").await;
}

#[tokio::test(start_paused = true)]
async fn without_a_subnet_the_default_pools_prefix_is_taken() {
    let world = World::new();
    let plan = Plan {
        defaults: vec![IpVersion::V4, IpVersion::V6],
        ..Plan::default()
    };
    let (a, b) = (
        world.create_network(&plan).await.unwrap(),
        world.create_network(&plan).await.unwrap(),
    );
    let lengths: Vec<u8> = a.pools.iter().map(|pool| pool.cidr.prefix_len()).collect();
    assert_eq!(lengths, [24, 64]);
    assert_ne!(a.pools[0].cidr, b.pools[0].cidr);
    assert_eq!(world.all::<Network>().await.len(), 2);
    assert_eq!(world.all::<Subnet>().await.len(), 4);
    let container = world.run(&a).await.unwrap();
    assert_eq!(container.addresses.len(), 2);
    assert_eq!(world.port_of(&container).await.fixed_ips.len(), 2);
    world.stop(&a, &container).await;
    world.delete_network(&a).await;
    world.delete_network(&b).await;
    world.assert_nothing_left("after both networks").await;
}

#[tokio::test(start_paused = true)]
async fn a_range_without_a_network_is_given_back_after_a_minute() {
    let world = World::new();
    for cidr in [Some("10.20.0.0/24".parse().unwrap()), None] {
        let ask = kuryr_core::PoolRequest {
            version: IpVersion::V4,
            cidr,
            part: None,
            options: Default::default(),
        };
        world.kuryr.request_pool(ask, soon()).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    world.assert_nothing_left("after a minute").await;
}

#[tokio::test(start_paused = true)]
async fn gateway_range_and_reserved_addresses_become_allocation_pools() {
    let world = World::new();
    let plan = Plan {
        gateway: Some("10.20.0.254"),
        part: Some("10.20.0.0/28"),
        aux: vec!["10.20.0.5"],
        ..subnet("10.20.0.0/24")
    };
    let made = world.create_network(&plan).await.unwrap();
    let [subnet] = <[Subnet; 1]>::try_from(world.all().await).unwrap();
    assert_eq!(subnet.gateway_ip, Some("10.20.0.254".parse().unwrap()));
    let pools: Vec<String> = subnet
        .allocation_pools
        .iter()
        .map(|pool| format!("{}-{}", pool.start, pool.end))
        .collect();
    assert_eq!(pools, ["10.20.0.1-10.20.0.4", "10.20.0.6-10.20.0.15"]);
    world.delete_network(&made).await;
    world.assert_nothing_left("after the network").await;
}

/// `neutron.net.shared`, which only administrators may ask for.
#[tokio::test(start_paused = true)]
async fn a_network_that_is_to_be_shared_is_made_so() {
    for (plan, value) in [
        (subnet("10.20.0.0/24"), "True"),
        (subnet("10.20.0.0/24"), "False"),
        (
            Plan {
                defaults: vec![IpVersion::V4],
                ..Plan::default()
            },
            "True",
        ),
    ] {
        let world = World::new();
        let plan = Plan {
            options: vec![("neutron.net.shared", value.into())],
            ..plan
        };
        let made = world.create_network(&plan).await.unwrap();
        let [network] = <[Network; 1]>::try_from(world.all().await).unwrap();
        assert_eq!(network.shared, value == "True");
        world.delete_network(&made).await;
        world.assert_nothing_left("after a shared network").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_internal_network_has_no_gateway() {
    let world = World::new();
    let plan = Plan {
        internal: true,
        ..dual_stack()
    };
    let made = world.create_network(&plan).await.unwrap();
    assert!(
        world
            .all::<Subnet>()
            .await
            .iter()
            .all(|subnet| subnet.gateway_ip.is_none())
    );
    let container = world.run(&made).await.unwrap();
    let joined = world
        .kuryr
        .join(&made.id, &container.id, &[], soon())
        .await
        .unwrap();
    assert!(joined.gateways.is_empty());
}

#[tokio::test(start_paused = true)]
async fn creating_twice_is_creating_once() {
    let world = World::new();
    let plan = dual_stack();
    let made = world.create_network(&plan).await.unwrap();
    world
        .kuryr
        .create_network(new_network(&made, &plan), soon())
        .await
        .unwrap();
    assert_eq!(world.all::<Network>().await.len(), 1);
    assert_eq!(world.all::<Subnet>().await.len(), 2);
    let mut other = new_network(&made, &plan);
    other.ranges[0].cidr = "10.30.0.0/24".parse().unwrap();
    let outcome = world.kuryr.create_network(other, soon()).await;
    assert!(
        matches!(outcome, Err(Error::OtherRanges { .. })),
        "{outcome:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn deleting_what_is_gone_succeeds() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    for _ in 0..2 {
        world.kuryr.delete_network(&made.id, soon()).await.unwrap();
    }
    world.assert_nothing_left("after deleting twice").await;
}

#[tokio::test(start_paused = true)]
async fn two_networks_may_have_the_same_range() {
    let world = World::new();
    let a = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let b = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let one = world.run_with(&a, Some("10.20.0.9"), None).await.unwrap();
    let other = world.run_with(&b, Some("10.20.0.9"), None).await.unwrap();
    assert_ne!(
        world.port_of(&one).await.network_id,
        world.port_of(&other).await.network_id
    );
    for (made, container) in [(&a, &one), (&b, &other)] {
        world.stop(made, container).await;
        world.delete_network(made).await;
    }
    world.assert_nothing_left("after both").await;
}

#[tokio::test(start_paused = true)]
async fn a_network_with_a_port_of_somebody_else_is_left_and_said() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let [network] = <[Network; 1]>::try_from(world.all().await).unwrap();
    let port = neutron_api::NewPort {
        network_id: Some(network.id),
        device_owner: "compute:nova".into(),
        ..Default::default()
    };
    world.neutron.create(&port, &Filter::new()).await.unwrap();
    let error = world
        .kuryr
        .delete_network(&made.id, soon())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("compute:nova"), "{error}");
    assert_eq!(world.all::<Network>().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn bad_ranges_are_refused_by_name() {
    let world = World::new();
    for (plan, words) in [
        (
            Plan {
                part: Some("10.30.0.0/28"),
                ..subnet("10.20.0.0/24")
            },
            "--ip-range",
        ),
        (
            Plan {
                gateway: Some("10.30.0.1"),
                ..subnet("10.20.0.0/24")
            },
            "10.30.0.1 is not in",
        ),
        (
            Plan {
                aux: vec!["10.20.0.1"],
                ..subnet("10.20.0.0/24")
            },
            "reserved already",
        ),
    ] {
        let error = world.create_network(&plan).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    world.assert_nothing_left("after refusals").await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_default_pool_is_named() {
    let world = World::with(neutron_embedded::EmbeddedSettings {
        pools: vec![],
        ..Default::default()
    });
    let plan = Plan {
        defaults: vec![IpVersion::V4],
        ..Plan::default()
    };
    let error = world.create_network(&plan).await.unwrap_err();
    assert!(
        error.to_string().contains("default_subnetpool_v4"),
        "{error}"
    );
}

/// A cloud that needs longer than a range waits for its network.
#[tokio::test(start_paused = true)]
async fn a_range_does_not_run_out_while_its_network_is_made() {
    for (subnets, defaults) in [
        (vec!["10.20.0.0/24"], vec![]),
        (vec![], vec![IpVersion::V4]),
    ] {
        let world = World::new();
        let plan = Plan {
            subnets,
            defaults,
            ..Plan::default()
        };
        let start = tokio::time::Instant::now();
        // The last step of making it: the network's own tags.
        world.wire.plan(move |_, request| {
            let late = start.elapsed().as_millis() < 60_500;
            let tags = request.uri().path().starts_with("/v2.0/networks/")
                && request.uri().path().ends_with("/tags");
            if late && tags {
                Fate::LoseRequest
            } else {
                Fate::Pass
            }
        });
        let hold = std::time::Duration::from_millis(59_500);
        let made = world.create_network_after(&plan, hold).await.unwrap();
        tokio::time::sleep(hold).await;
        let container = world.run(&made).await.unwrap();
        world.stop(&made, &container).await;
        world.delete_network(&made).await;
        world.assert_nothing_left("after a slow network").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_with_a_container_of_another_host_is_left_and_said() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let [network] = <[Network; 1]>::try_from(world.all().await).unwrap();
    let theirs = neutron_api::NewPort {
        name: "abc-port".into(),
        network_id: Some(network.id),
        device_owner: "compute:kuryr".into(),
        device_id: "abc".into(),
        host_id: Some("host2".into()),
        ..Default::default()
    };
    let theirs = world.neutron.create(&theirs, &Filter::new()).await.unwrap();
    let error = world.kuryr.delete_network(&made.id, soon()).await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains(&theirs.id.to_string())
    );
    assert!(world.kuryr.settled(soon()).await);
    world
        .neutron
        .delete::<neutron_api::Port>(theirs.id)
        .await
        .unwrap();
    assert_eq!(world.all::<Network>().await.len(), 1);
}
