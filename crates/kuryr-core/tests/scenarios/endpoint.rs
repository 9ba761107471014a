//! Endpoints are ports, and interfaces on this host.

use std::collections::BTreeMap;
use std::time::Duration;

use kuryr_core::{AddressRequest, NewEndpoint};
use kuryr_testkit::faulty::Fate;
use kuryr_testkit::notebook::Trouble;
use neutron_api::{Port, Subnet};
use neutron_embedded::{EmbeddedSettings, Hosts};

use crate::world::{World, dual_stack, random_id, soon, subnet};

#[tokio::test(start_paused = true)]
async fn a_container_is_a_port_with_the_names_and_tags_of_the_python_kuryr() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let container = world.run(&made).await.unwrap();
    let port = world.port_of(&container).await;
    let id = container.id.as_str();
    assert_eq!(port.name, format!("{id}-port"));
    assert_eq!(
        (port.device_owner.as_str(), port.device_id.as_str()),
        ("compute:kuryr", id)
    );
    let mut tags = port.tags.clone();
    tags.sort();
    let want = [
        "compute:kuryr".to_owned(),
        format!("kuryr.net.uuid.lh:{}", &id[..32]),
        format!("kuryr.net.uuid.uh:{}", &id[32..]),
    ];
    assert_eq!(tags, want);
    let [vif] = <[_; 1]>::try_from(world.host.plugged()).unwrap();
    assert_eq!(vif.attachment.interface_id, port.id.to_string());
    assert_eq!(
        vif.attachment.host.as_str(),
        &format!("tap{}", port.id)[..14]
    );
    assert_eq!(vif.mac.octets(), port.mac_address.octets());
    assert_eq!(vif.mtu, 1442);
    assert_eq!(container.interface.mac, Some(port.mac_address));
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_for_one_exchange_and_a_stop_for_none() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    world.run(&made).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    // Whatever follows in the background does not get through: nobody waits for it.
    world.wire.plan(|number, _| {
        if number == 0 {
            Fate::Pass
        } else {
            Fate::LoseRequest
        }
    });
    let container = world.run(&made).await.unwrap();
    world.wire.plan(|_, _| Fate::LoseRequest);
    world.stop(&made, &container).await;
}

#[tokio::test(start_paused = true)]
async fn creating_twice_is_creating_once() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let container = world.run(&made).await.unwrap();
    let new = NewEndpoint {
        network: made.id.clone(),
        id: container.id.clone(),
        addresses: container.addresses.clone(),
        mac: None,
        options: BTreeMap::new(),
    };
    for _ in 0..2 {
        let again = world
            .kuryr
            .create_endpoint(new.clone(), soon())
            .await
            .unwrap();
        assert_eq!(again, container.interface);
        assert!(world.kuryr.settled(soon()).await);
    }
    assert_eq!(world.all::<Port>().await.len(), 1);
    assert_eq!(world.host.plugged().len(), 1);
    for _ in 0..2 {
        world.stop(&made, &container).await;
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after everything twice").await;
}

#[tokio::test(start_paused = true)]
async fn a_mac_address_of_choice_is_the_ports() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let mac = "02:42:ac:11:00:99".parse().unwrap();
    let container = world.run_with(&made, None, Some(mac)).await.unwrap();
    let port = world.port_of(&container).await;
    assert_eq!(
        (port.mac_address, port.host_id.as_deref()),
        (mac, Some("host1"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_gets_its_own_subnets_gateways_and_routes() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let container = world.run(&made).await.unwrap();
    let joined = world
        .kuryr
        .join(&made.id, &container.id, &[], soon())
        .await
        .unwrap();
    let gateways: Vec<String> = joined.gateways.iter().map(ToString::to_string).collect();
    assert_eq!(gateways, ["10.20.0.1", "fd20::1"]);
    assert!(joined.interface.as_str().starts_with("t_c"));
    assert_eq!(joined.prefix, "eth");
    assert!(joined.routes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_neutron_does_not_know_is_named_and_nothing_stays() {
    let hosts = Hosts::These(vec!["another".into()]);
    let world = World::with(EmbeddedSettings {
        hosts,
        ..EmbeddedSettings::default()
    });
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let error = world.run(&made).await.unwrap_err().to_string();
    assert!(
        error.contains("host1") && error.contains("agent"),
        "{error}"
    );
    world.delete_network(&made).await;
    world.assert_nothing_left("after a failed binding").await;
}

#[tokio::test(start_paused = true)]
async fn addresses_that_another_ipam_driver_chose_become_a_port() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let new = NewEndpoint {
        network: made.id.clone(),
        id: random_id().parse().unwrap(),
        addresses: vec![
            "10.20.0.50/24".parse().unwrap(),
            "fd20::50/64".parse().unwrap(),
        ],
        mac: None,
        options: BTreeMap::new(),
    };
    let interface = world
        .kuryr
        .create_endpoint(new.clone(), soon())
        .await
        .unwrap();
    assert_eq!(interface.addresses, new.addresses);
    assert_eq!(world.all::<Port>().await.len(), 1);
    let other = NewEndpoint {
        id: random_id().parse().unwrap(),
        ..new
    };
    assert!(world.kuryr.settled(soon()).await);
    let error = world
        .kuryr
        .create_endpoint(other, soon())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("in use by port"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn crossed_requests_of_two_containers_are_sorted_out() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let any = AddressRequest::default();
    let mut addresses = Vec::new();
    for pool in [0, 0, 1, 1] {
        let pool = &made.pools[pool].id;
        addresses.push(
            world
                .kuryr
                .reserve_address(pool, any, soon())
                .await
                .unwrap(),
        );
    }
    // The youngest port's IPv6 address came first: the two containers have each other's.
    let mut made_endpoints = Vec::new();
    for pair in [[addresses[0], addresses[2]], [addresses[1], addresses[3]]] {
        let new = NewEndpoint {
            network: made.id.clone(),
            id: random_id().parse().unwrap(),
            addresses: pair.to_vec(),
            mac: None,
            options: BTreeMap::new(),
        };
        let interface = world
            .kuryr
            .create_endpoint(new.clone(), soon())
            .await
            .unwrap();
        assert_eq!(interface.addresses, pair);
        made_endpoints.push(new);
    }
    assert_eq!(world.all::<Port>().await.len(), 2);
    for new in made_endpoints {
        world
            .kuryr
            .delete_endpoint(&made.id, &new.id, soon())
            .await
            .unwrap();
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after crossed requests").await;
}

#[tokio::test(start_paused = true)]
async fn one_failed_start_leaves_the_addresses_of_another_whose_requests_crossed_its_own() {
    let world = World::new();
    let made = world.create_network(&dual_stack()).await.unwrap();
    let mut addresses = Vec::new();
    for pool in [0, 0, 1, 1] {
        let any = AddressRequest::default();
        let reserved = world
            .kuryr
            .reserve_address(&made.pools[pool].id, any, soon());
        addresses.push(reserved.await.unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for (pool, failed) in [(0, addresses[0]), (1, addresses[2])] {
        let (pool, address) = (&made.pools[pool].id, failed.addr());
        world
            .kuryr
            .release_address(pool, address, soon())
            .await
            .unwrap();
    }
    assert!(world.kuryr.settled(soon()).await);
    let ports = world.all::<Port>().await;
    let ips = || ports.iter().flat_map(|port| &port.fixed_ips);
    for held in [addresses[1], addresses[3]] {
        assert!(
            ips().any(|ip| ip.ip_address == held.addr()),
            "{held} is lost"
        );
    }
    let new = endpoint(&made.id, &[addresses[1], addresses[3]]);
    world
        .kuryr
        .create_endpoint(new.clone(), soon())
        .await
        .unwrap();
    assert!(world.kuryr.settled(soon()).await);
    let [port] = <[Port; 1]>::try_from(world.all().await).unwrap();
    assert_eq!(port.device_id, new.id.as_str());
    assert_eq!(port.fixed_ips.len(), 2);
    world
        .kuryr
        .delete_endpoint(&made.id, &new.id, soon())
        .await
        .unwrap();
    world.delete_network(&made).await;
    world.assert_nothing_left("after a failed start").await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_not_made_of_a_port_that_is_about_to_go() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let addresses = ["10.20.0.50/24".parse().unwrap()];
    let [old, new] = [
        endpoint(&made.id, &addresses),
        endpoint(&made.id, &addresses),
    ];
    world
        .kuryr
        .create_endpoint(old.clone(), soon())
        .await
        .unwrap();
    world
        .kuryr
        .delete_endpoint(&made.id, &old.id, soon())
        .await
        .unwrap();
    world
        .kuryr
        .create_endpoint(new.clone(), soon())
        .await
        .unwrap();
    assert!(world.kuryr.settled(soon()).await);
    let [port] = <[Port; 1]>::try_from(world.all().await).unwrap();
    assert_eq!(port.device_id, new.id.as_str());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_another_host_has_reserved_is_not_taken_over() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let [network] = <[neutron_api::Network; 1]>::try_from(world.all().await).unwrap();
    let [subnet] = <[Subnet; 1]>::try_from(world.all().await).unwrap();
    let theirs = neutron_api::NewPort {
        name: "kuryr-unbound-port".into(),
        network_id: Some(network.id),
        fixed_ips: Some(vec![neutron_api::WantedIp {
            subnet_id: subnet.id,
            ip_address: Some("10.20.0.50".parse().unwrap()),
        }]),
        device_owner: "compute:kuryr".into(),
        host_id: Some("host2".into()),
        ..Default::default()
    };
    let theirs = world
        .neutron
        .create(&theirs, &Default::default())
        .await
        .unwrap();
    let new = endpoint(&made.id, &["10.20.0.50/24".parse().unwrap()]);
    let error = world.kuryr.create_endpoint(new, soon()).await.unwrap_err();
    assert!(error.to_string().contains("in use by port"), "{error}");
    let still = world
        .neutron
        .find::<Port>(theirs.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(still.host_id.as_deref(), Some("host2"));
}

fn endpoint(network: &kuryr_core::NetworkId, addresses: &[kuryr_core::IpNet]) -> NewEndpoint {
    NewEndpoint {
        network: network.clone(),
        id: random_id().parse().unwrap(),
        addresses: addresses.to_vec(),
        mac: None,
        options: BTreeMap::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_subnet_that_was_changed_in_neutron_is_seen() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let [subnet] = <[Subnet; 1]>::try_from(world.all().await).unwrap();
    let change = neutron_api::SubnetChange {
        gateway_ip: Some(None),
        ..Default::default()
    };
    world.neutron.update(subnet.id, &change).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    let container = world.run(&made).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let joined = world
        .kuryr
        .join(&made.id, &container.id, &[], soon())
        .await
        .unwrap();
    assert!(joined.gateways.is_empty());
}

/// A deployer ships just these two settings.
#[tokio::test(start_paused = true)]
async fn where_no_time_is_given_for_plugging_it_is_waited_for_all_the_same() {
    let mut world = World::new();
    world.restart_with(|settings| {
        settings.plugging_is_fatal = true;
        settings.plugging_timeout = Duration::ZERO;
    });
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    // No agent here ever says that it has wired the port.
    let error = world.run(&made).await.unwrap_err();
    let kuryr_core::Error::NotWired { waited, .. } = error else {
        panic!("{error:?}");
    };
    assert!(waited.as_secs() > 10, "{waited:?}");
    world.delete_network(&made).await;
    world.assert_nothing_left("after a failed start").await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_interface_of_a_container_that_ends_but_its_next_owner() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let container = world.run(&made).await.unwrap();
    world
        .host
        .meet(Some(Trouble::Delay(Duration::from_secs(10))));
    let begun = tokio::time::Instant::now();
    world.stop(&made, &container).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(world.host.plugged().len(), 1);
    let again = world.kuryr.delete_endpoint(&made.id, &container.id, soon());
    again.await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(10));
    assert_eq!(world.host.plugged(), []);
    world.host.meet(None);
    world.delete_network(&made).await;
    world.assert_nothing_left("after a slow interface").await;
}

/// Its port has gone by then, and Neutron has given the address to the next one.
#[tokio::test(start_paused = true)]
async fn the_release_of_an_address_takes_nothing_from_who_has_been_given_it_meanwhile() {
    let world = World::new();
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let gone = world.run(&made).await.unwrap();
    let delete = world.kuryr.delete_endpoint(&made.id, &gone.id, soon());
    delete.await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    let next = world.reserve(&made).await;
    assert_eq!(next.addresses, gone.addresses);
    let port = world.all::<Port>().await;
    let (pool, address) = (&made.pools[0].id, gone.addresses[0].addr());
    world
        .kuryr
        .release_address(pool, address, soon())
        .await
        .unwrap();
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.all::<Port>().await, port);
    world.kuryr.create_endpoint(next, soon()).await.unwrap();
}
