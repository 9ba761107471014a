//! Containers in guests: what a guest's own port lets through is what its containers have.

use std::sync::Arc;
use std::time::Duration;

use kuryr_core::{Driver, Drivers, Error};
use kuryr_testkit::faulty::Fate;
use kuryr_vif::{Sharing, Switch};
use neutron_api::{AddressPair, MacAddress, Network, NewPort, Port, PortChange, PortId};
use tokio::task::JoinSet;

use crate::adopt::{plan, theirs};
use crate::world::{Container, Made, Want, World, soon};

/// The `number`th guest's hardware address.
fn mac(number: u8) -> MacAddress {
    [0xfa, 0x16, 0x3e, 0xff, 0, number].into()
}

fn drivers(number: u8, default: Driver) -> Drivers {
    Drivers {
        default,
        enabled: vec![default],
        interfaces: vec![
            ("lo0".parse().unwrap(), [2, 0, 0, 0, 0, 1].into()),
            ("ens3".parse().unwrap(), mac(number)),
        ],
        cards: vec![],
    }
}

/// The guest's port, which has a pair of its user's already.
async fn port_of_guest(world: &World, network: &Network, number: u8) -> PortId {
    let new = NewPort {
        network_id: Some(network.id),
        mac_address: Some(mac(number)),
        device_owner: "compute:nova".into(),
        admin_state_up: true,
        allowed_address_pairs: Some(vec![users()]),
        ..NewPort::default()
    };
    world.make(&new).await.id
}

fn users() -> AddressPair {
    AddressPair {
        ip_address: "192.0.2.0/24".into(),
        mac_address: Some([2, 0, 0, 0, 0, 0x99].into()),
    }
}

/// What a guest's port lets through beside what its user has it let through.
async fn let_through(world: &World, port: PortId) -> Vec<AddressPair> {
    let port = world.neutron.find::<Port>(port).await.unwrap().unwrap();
    let mut pairs = port.allowed_address_pairs;
    let before = pairs.len();
    pairs.retain(|pair| *pair != users());
    assert_eq!(pairs.len() + 1, before, "the user's own pair is left alone");
    pairs
}

async fn guest(driver: Driver) -> (World, Network, PortId) {
    let mut world = World::new();
    world.restart_with(|settings| settings.drivers = drivers(1, driver));
    let (network, _) = theirs(&world).await;
    let port = port_of_guest(&world, &network, 1).await;
    (world, network, port)
}

#[tokio::test(start_paused = true)]
async fn a_guests_port_lets_a_container_through_until_it_goes() {
    for (driver, sharing) in [
        (Driver::Macvlan, Sharing::Macvlan),
        (Driver::Ipvlan, Sharing::Ipvlan),
    ] {
        let (mut world, network, own) = guest(driver).await;
        let made = world
            .create_network(&plan("neutron.net.uuid", &network))
            .await
            .unwrap();
        let container = world.run(&made).await.unwrap();
        let port = world.port_of(&container).await;
        let want = AddressPair {
            ip_address: container.addresses[0].addr().to_string(),
            mac_address: Some(match sharing {
                Sharing::Macvlan => port.mac_address,
                Sharing::Ipvlan | Sharing::IpvlanL3 | Sharing::Vlan(_) => mac(1),
            }),
        };
        assert_eq!(let_through(&world, own).await, [want]);
        assert!(!port.admin_state_up, "the switch must not send there");
        let shown = container.interface.mac;
        assert_eq!(
            shown,
            (driver == Driver::Macvlan).then_some(port.mac_address)
        );
        let [vif] = <[_; 1]>::try_from(world.host.plugged()).unwrap();
        let parent = "ens3".parse().unwrap();
        assert_eq!(vif.attachment.switch, Switch::Parent { parent, sharing });
        // Also by a run that did not start it.
        world.restart_with(|settings| settings.drivers = drivers(1, driver));
        world.stop(&made, &container).await;
        assert!(world.kuryr.settled(soon()).await);
        assert_eq!(let_through(&world, own).await, []);
        assert_eq!(world.all::<Port>().await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_starts_at_once_in_five_guests_lose_no_address() {
    let world = World::new();
    let (network, _) = theirs(&world).await;
    let mut guests = Vec::new();
    for number in 1..=5 {
        let mut guest = world.beside(&format!("vm{number}"));
        // The first two are one machine to Neutron: nothing but the revision keeps them apart.
        let number = number.max(2);
        guest.restart_as(&format!("vm{number}"), drivers(number, Driver::Macvlan));
        if guests.is_empty() || number > 2 {
            port_of_guest(&world, &network, number).await;
        }
        let made = guest
            .create_network(&plan("neutron.net.uuid", &network))
            .await
            .unwrap();
        // So that what one reads is changed by another before it writes.
        guest.wire.plan(|number, _| {
            let milliseconds = 3 + (number as u64 * 7) % 11;
            Fate::Take(Duration::from_millis(milliseconds))
        });
        guests.push(Arc::new((guest, made)));
    }
    let others = change_all_the_time(&world).await;
    let running = start_fifty(&guests).await;
    drop(others);
    let mut wanted: Vec<String> = running
        .iter()
        .map(|(_, container)| container.addresses[0].addr().to_string())
        .collect();
    let mut got = Vec::new();
    for port in world.all::<Port>().await {
        if port.device_owner == "compute:nova" {
            let pairs = let_through(&world, port.id).await;
            got.extend(pairs.into_iter().map(|pair| pair.ip_address));
        }
    }
    wanted.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, wanted);
    stop_all(&guests, running).await;
    for port in world.all::<Port>().await {
        assert_eq!(let_through(&world, port.id).await, []);
    }
}

/// Neutron tells both of two that change the list at the same moment that they have.
#[tokio::test(start_paused = true)]
async fn a_change_that_another_undoes_at_the_same_moment_is_made_again() {
    let (world, network, own) = guest(Driver::Macvlan).await;
    let made = world
        .create_network(&plan("neutron.net.uuid", &network))
        .await
        .unwrap();
    let container = world.run(&made).await.unwrap();
    let with = let_through(&world, own).await;
    assert_eq!(with.len(), 1);
    let undo = async |pairs: &[AddressPair]| {
        let change = PortChange {
            allowed_address_pairs: Some([&[users()], pairs].concat()),
            ..PortChange::default()
        };
        world.neutron.update(own, &change).await.unwrap();
    };
    undo(&[]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(let_through(&world, own).await, with);
    world.stop(&made, &container).await;
    while !let_through(&world, own).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    undo(&with).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(let_through(&world, own).await, []);
    // A container that has gone is let through by nobody who looks again.
    let container = world.run(&made).await.unwrap();
    world.stop(&made, &container).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(let_through(&world, own).await, []);
}

/// A guest, and a container network on it.
pub(crate) type GuestWith = Arc<(World, Made)>;

/// Starts fifty containers at once, in turns on these guests.
pub(crate) async fn start_fifty(guests: &[GuestWith]) -> Vec<(GuestWith, Container)> {
    let mut starts = JoinSet::new();
    for guest in guests.iter().cycle().take(50).cloned() {
        starts.spawn(async move {
            let (world, made) = &*guest;
            let container = world.run(made).await.unwrap();
            (guest.clone(), container)
        });
    }
    starts.join_all().await
}

/// Stops them all at once, and waits until nothing is owed.
pub(crate) async fn stop_all(guests: &[GuestWith], running: Vec<(GuestWith, Container)>) {
    let mut stops = JoinSet::new();
    for (guest, container) in running {
        stops.spawn(async move { guest.0.stop(&guest.1, &container).await });
    }
    stops.join_all().await;
    for guest in guests {
        assert!(guest.0.kuryr.settled(soon()).await);
    }
}

/// Somebody else changes the guests' ports meanwhile, which changes their revisions.
async fn change_all_the_time(world: &World) -> JoinSet<()> {
    let neutron = world.neutron.clone();
    let ports = world.all::<Port>().await;
    let mut others = JoinSet::new();
    others.spawn(async move {
        for name in 0.. {
            for port in &ports {
                let change = PortChange {
                    name: Some(format!("guest-{name}")),
                    ..PortChange::default()
                };
                let _ = neutron.update(port.id, &change).await;
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
        }
    });
    others
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_fails_lets_nothing_through_for_ever() {
    for fate in [
        Fate::LoseRequest,
        Fate::LoseReply,
        Fate::Answer(503),
        Fate::Answer(409),
        Fate::Answer(412),
        Fate::Answer(403),
    ] {
        for k in 0.. {
            let (world, network, own) = guest(Driver::Macvlan).await;
            let made = world
                .create_network(&plan("neutron.net.uuid", &network))
                .await
                .unwrap();
            world
                .wire
                .plan(move |number, _| if number == k { fate } else { Fate::Pass });
            if let Ok(container) = world.run(&made).await {
                let address = container.addresses[0].addr().to_string();
                let pairs = let_through(&world, own).await;
                assert!(
                    pairs.iter().any(|pair| pair.ip_address == address),
                    "{pairs:?}"
                );
                world.stop(&made, &container).await;
            }
            let in_a_while = soon() + Duration::from_secs(600);
            assert!(world.kuryr.settled(in_a_while).await);
            tokio::time::sleep(Duration::from_secs(70)).await;
            let log = world.wire.log();
            let when = format!("exchange {k} met {fate:?}: {log:#?}");
            assert_eq!(let_through(&world, own).await, [], "{when}");
            assert_eq!(world.all::<Port>().await.len(), 1, "{when}");
            assert!(world.host.plugged().is_empty(), "{when}");
            if log.len() <= k {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_is_not_on_the_network_is_told_and_nothing_stays() {
    let mut world = World::new();
    world.restart_with(|settings| settings.drivers = drivers(1, Driver::Macvlan));
    let (network, _) = theirs(&world).await;
    let made = world
        .create_network(&plan("neutron.net.uuid", &network))
        .await
        .unwrap();
    let error = world.run(&made).await.unwrap_err().to_string();
    for part in ["no port on network", "ens3 fa:16:3e:ff:00:01"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.all::<Port>().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_was_there_before_is_not_taken_into_a_guest() {
    let (world, network, own) = guest(Driver::Macvlan).await;
    let made = world
        .create_network(&plan("neutron.net.uuid", &network))
        .await
        .unwrap();
    let new = NewPort {
        network_id: Some(network.id),
        admin_state_up: true,
        ..NewPort::default()
    };
    let port = world.make(&new).await;
    let before = world.whole(port.id).await;
    let ip = port.fixed_ips[0].ip_address.to_string();
    let want = Want {
        ip: Some(&ip),
        ..Want::default()
    };
    let error = world.run_as(&made, &want).await.unwrap_err().to_string();
    assert!(error.contains("driver macvlan"), "{error}");
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, before);
    assert_eq!(let_through(&world, own).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_network_may_name_another_driver_that_is_enabled() {
    let (mut world, network, own) = guest(Driver::Macvlan).await;
    world.restart_with(|settings| {
        settings.drivers = drivers(1, Driver::Veth);
        settings.drivers.enabled = vec![Driver::Veth, Driver::Ipvlan];
    });
    let by = |driver: &str| {
        let mut plan = plan("neutron.net.uuid", &network);
        plan.options.push(("kuryr.driver", driver.to_owned()));
        plan
    };
    let made = world.create_network(&by("ipvlan")).await.unwrap();
    world.restart_with(|settings| {
        settings.drivers = drivers(1, Driver::Veth);
        settings.drivers.enabled = vec![Driver::Veth, Driver::Ipvlan];
    });
    let container = world.run(&made).await.unwrap();
    assert_eq!(let_through(&world, own).await.len(), 1);
    world.stop(&made, &container).await;
    let plain = world
        .create_network(&plan("neutron.net.uuid", &network))
        .await
        .unwrap();
    world.run(&plain).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(let_through(&world, own).await, []);
    let error = world.create_network(&by("macvlan")).await.unwrap_err();
    assert!(matches!(error, Error::DriverNotEnabled { .. }), "{error}");
    assert!(error.to_string().contains("veth, ipvlan"), "{error}");
    let error = world.create_network(&by("vlan9")).await.unwrap_err();
    assert!(
        error.to_string().contains("ipvlan_l3, vlan or hw_veb"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_guest_routes_for_containers_of_a_network_that_it_is_not_on() {
    let (mut world, _, own) = guest(Driver::Macvlan).await;
    world.restart_with(|settings| settings.drivers = drivers(1, Driver::IpvlanL3));
    let routed = world.network_of("routed", "10.50.0.0/24").await;
    let made = world
        .create_network(&plan("neutron.net.uuid", &routed))
        .await
        .unwrap();
    let container = world.run(&made).await.unwrap();
    let want = AddressPair {
        ip_address: container.addresses[0].addr().to_string(),
        mac_address: Some(mac(1)),
    };
    assert_eq!(let_through(&world, own).await, [want]);
    assert_eq!(container.interface.mac, None);
    let [vif] = <[_; 1]>::try_from(world.host.plugged()).unwrap();
    let (parent, sharing) = ("ens3".parse().unwrap(), Sharing::IpvlanL3);
    assert_eq!(vif.attachment.switch, Switch::Parent { parent, sharing });
    world.restart_with(|settings| settings.drivers = drivers(1, Driver::IpvlanL3));
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(let_through(&world, own).await, []);
    assert_eq!(world.all::<Port>().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_guest_of_several_ports_is_asked_which_one_its_networks_are_routed_to() {
    let (mut world, network, own) = guest(Driver::Macvlan).await;
    let other = world.network_of("other", "10.71.0.0/24").await;
    let second = port_of_guest(&world, &other, 2).await;
    let mut both = drivers(1, Driver::IpvlanL3);
    both.interfaces.push(("ens4".parse().unwrap(), mac(2)));
    world.restart_with(|settings| settings.drivers = both);
    let made = world
        .create_network(&plan("neutron.net.uuid", &network))
        .await
        .unwrap();
    let error = world.run(&made).await.unwrap_err().to_string();
    assert!(error.contains("link_iface"), "{error}");
    assert!(world.kuryr.settled(soon()).await);
    for port in [own, second] {
        assert_eq!(let_through(&world, port).await, []);
    }
    assert_eq!(world.all::<Port>().await.len(), 2);
}
