//! Devices of SR-IOV cards: those that ports name which were there before, and those that are chosen.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use kuryr_core::{Driver, Drivers, Kind};
use kuryr_testkit::faulty::Fate;
use kuryr_vif::{Device, FreeFunction, FunctionSettings, Part, Rates, Switch, Vif};
use neutron_api::{NewPort, NewQosPolicy, Port};
use neutron_embedded::EmbeddedSettings;
use serde_json::json;
use tokio::task::JoinSet;

use crate::ports::{ADDRESS, adopted_with, now, port};
use crate::world::{Made, Plan, World, soon, subnet};

/// A Neutron whose networks are on a card, the first with VLAN 100.
pub(crate) fn neutron() -> EmbeddedSettings {
    EmbeddedSettings {
        network_type: "vlan".into(),
        physical_network: Some("physnet2".into()),
        cards: vec!["physnet2".into()],
        ..EmbeddedSettings::default()
    }
}

/// A port of an administrator's for the virtual function at `slot`.
async fn port_at(slot: &str) -> (World, Made, Port) {
    let (world, made) = adopted_with(neutron(), &["10.50.0.0/24"]).await;
    let port = port(&world, &made, |_| {}).await;
    let profile = json!({
        "pci_slot": slot,
        "pci_vendor_info": "8086:10ca",
        "physical_network": "physnet1",
        "trusted": "true",
    });
    let change = json!({"port": {"binding:vnic_type": "direct", "binding:profile": profile}});
    world.put(&format!("ports/{}", port.id), &change).await;
    (world, made, port)
}

fn devices(world: &World) -> Vec<Device> {
    let plugged = world.host.plugged().into_iter();
    let device = |vif: Vif| {
        let Switch::Device(device) = vif.attachment.switch else {
            return None;
        };
        Some(device)
    };
    plugged.filter_map(device).collect()
}

#[tokio::test(start_paused = true)]
async fn a_port_that_names_a_function_has_that_whatever_driver_is_configured() {
    for driver in [Driver::Veth, Driver::Ipvlan, Driver::Vlan] {
        let (mut world, made, port) = port_at("0000:01:10.0").await;
        world.restart_with(|settings| settings.drivers.default = driver);
        let before = world.whole(port.id).await;
        let container = world.run_with(&made, Some(ADDRESS), None).await.unwrap();
        let settings = FunctionSettings {
            vlan: 100,
            spoof_check: true,
            trusted: true,
            rates: None,
        };
        let device = Device {
            slot: "0000:01:10.0".parse().unwrap(),
            part: Part::Function(settings),
        };
        assert_eq!(devices(&world), [device]);
        assert_eq!(container.interface.mac, Some(port.mac_address));
        assert_eq!(now(&world, &port).await.host_id.as_deref(), Some("host1"));
        // Another run finds it again by what is plugged.
        world.restart_with(|settings| settings.drivers.default = driver);
        world.stop(&made, &container).await;
        assert!(world.kuryr.settled(soon()).await);
        assert_eq!(world.whole(port.id).await, before);
        assert!(world.host.plugged().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_whose_function_has_no_place_that_can_be_is_refused_and_afterwards_as_before() {
    let (world, made, port) = port_at("01:10.0").await;
    let before = world.whole(port.id).await;
    let error = world
        .run_with(&made, Some(ADDRESS), None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("0000:01:10.0"), "{error}");
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(world.whole(port.id).await, before);
    assert!(world.host.plugged().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_function_is_held_to_its_ports_qos_policy() {
    let mut settings = neutron();
    settings.extensions.push("qos".into());
    let mut world = host(settings, 1);
    world.restart_as("host1", drivers(Driver::HwVeb));
    let policy = NewQosPolicy {
        name: "slow".into(),
    };
    let policy = world.make(&policy).await.id;
    let rule = json!({"bandwidth_limit_rule": {"max_kbps": 200_000, "direction": "egress"}});
    let rules = format!("qos/policies/{policy}/bandwidth_limit_rules");
    world.send(Method::POST, &rules, &rule).await;
    let plan = Plan {
        options: vec![("neutron.port.qos_policy", "slow".to_owned())],
        ..subnet("10.20.0.0/24")
    };
    let made = world.create_network(&plan).await.unwrap();
    world.run(&made).await.unwrap();
    let [device] = <[_; 1]>::try_from(devices(&world)).unwrap();
    let Part::Function(settings) = device.part else {
        panic!("{device:?}");
    };
    let rates = Rates {
        least: 0,
        most: 200,
    };
    assert_eq!(settings.rates, Some(rates));
}

/// The virtual functions of a card, of which there are so many.
fn functions(card: u8, count: u8) -> Vec<FreeFunction> {
    let function = |number| FreeFunction {
        slot: format!("0000:{card:02x}:10.{number}").parse().unwrap(),
        kind: "8086:10ca".into(),
    };
    (0..count).map(function).collect()
}

fn drivers(default: Driver) -> Drivers {
    let card = |on: &str, card: &str| (on.to_owned(), card.parse().unwrap());
    Drivers {
        default,
        enabled: vec![Driver::Veth, Driver::HwVeb],
        interfaces: vec![],
        cards: vec![
            card("physnet1", "ens0f0"),
            card("physnet2", "ens1f0"),
            card("physnet2", "ens2f0"),
        ],
    }
}

/// A host with a card on another physical network, and two on the network's, of so many functions each.
fn host(settings: EmbeddedSettings, count: u8) -> World {
    let mut world = World::with(settings);
    for card in 0..3 {
        let name = format!("ens{card}f0").parse().unwrap();
        world.host.put_card(name, functions(card, count));
    }
    world.restart_as("host1", drivers(Driver::HwVeb));
    world
}

fn slots(world: &World) -> BTreeSet<String> {
    let devices = devices(world).into_iter();
    devices.map(|device| device.slot.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_container_without_a_port_gets_a_free_function_which_its_port_names() {
    let world = host(neutron(), 2);
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let container = world.run(&made).await.unwrap();
    let port = world.port_of(&container).await;
    assert_eq!(port.vnic_type.as_deref(), Some("direct"));
    let profile = json!({
        "pci_slot": "0000:01:10.0",
        "pci_vendor_info": "8086:10ca",
        "physical_network": "physnet2",
    });
    assert_eq!(json!(port.binding_profile), profile);
    assert_eq!(slots(&world), ["0000:01:10.0".to_owned()].into());
    world.stop(&made, &container).await;
    world.delete_network(&made).await;
    world.assert_nothing_left("after the container").await;
}

#[tokio::test(start_paused = true)]
async fn containers_that_start_at_once_have_a_function_each_and_the_next_waits_for_none() {
    let world = Arc::new(host(neutron(), 4));
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let mut starts = JoinSet::new();
    for _ in 0..8 {
        let (world, made) = (Arc::clone(&world), made.clone());
        starts.spawn(async move { world.run(&made).await.unwrap() });
    }
    let running = starts.join_all().await;
    assert_eq!(slots(&world).len(), 8);
    assert!(
        slots(&world)
            .iter()
            .all(|slot| !slot.starts_with("0000:00"))
    );
    let error = world.run(&made).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let said = error.to_string();
    assert!(
        said.contains("ens1f0, ens2f0") && said.contains("host1"),
        "{said}"
    );
    assert_eq!(world.all::<Port>().await.len(), 8);
    // One that ends makes room for the next, which comes before its port has gone.
    world.stop(&made, &running[3]).await;
    let next = world.run(&made).await.unwrap();
    assert_eq!(slots(&world).len(), 8);
    world.stop(&made, &next).await;
    for (number, container) in running.iter().enumerate() {
        if number != 3 {
            world.stop(&made, container).await;
        }
    }
    world.delete_network(&made).await;
    world.assert_nothing_left("after all").await;
}

#[tokio::test(start_paused = true)]
async fn a_function_that_somebody_elses_port_names_is_not_chosen() {
    let world = host(neutron(), 1);
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let network = world.all::<neutron_api::Network>().await[0].id;
    let profile = json!({"pci_slot": "0000:01:10.0"});
    let theirs = NewPort {
        network_id: Some(network),
        device_owner: "compute:nova".into(),
        host_id: Some("host1".into()),
        vnic_type: Some("direct".into()),
        binding_profile: profile.as_object().unwrap().clone(),
        admin_state_up: true,
        ..NewPort::default()
    };
    world.make(&theirs).await;
    world.run(&made).await.unwrap();
    assert_eq!(slots(&world), ["0000:02:10.0".to_owned()].into());
    assert!(world.run(&made).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_function_stays_its_containers_when_the_program_starts_again() {
    let mut world = host(neutron(), 1);
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let one = world.run(&made).await.unwrap();
    // The next is promised an address, and the program is killed before it has an endpoint.
    world.reserve(&made).await;
    world.restart_as("host1", drivers(Driver::HwVeb));
    let error = world.run(&made).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert_eq!(slots(&world), ["0000:01:10.0".to_owned()].into());
    world.stop(&made, &one).await;
    assert!(world.kuryr.settled(soon()).await);
    world.run(&made).await.unwrap();
    assert_eq!(slots(&world), ["0000:01:10.0".to_owned()].into());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_anywhere_leaves_no_function_in_use() {
    for number in 0.. {
        let world = host(neutron(), 1);
        let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
        assert!(world.kuryr.settled(soon()).await);
        world
            .wire
            .plan(move |exchange, _| match exchange == number {
                true => Fate::Answer(409),
                false => Fate::Pass,
            });
        let started = world.run(&made).await;
        let came = world.wire.log().len() > number;
        world.wire.plan(|_, _| Fate::Pass);
        if let Ok(container) = &started {
            world.stop(&made, container).await;
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        let both = [world.run(&made).await, world.run(&made).await];
        assert!(
            both.iter().all(Result::is_ok),
            "exchange {number}: {both:?}"
        );
        if !came {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_that_no_card_is_on_is_refused() {
    for (settings, said) in [
        (
            EmbeddedSettings {
                physical_network: Some("physnet9".into()),
                ..neutron()
            },
            "physnet2:ens1f0",
        ),
        (
            EmbeddedSettings {
                network_type: "geneve".into(),
                physical_network: None,
                ..neutron()
            },
            "type geneve",
        ),
    ] {
        let world = host(settings, 1);
        let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
        let error = world.run(&made).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(world.all::<Port>().await, []);
    }
}

/// As Neutron does to all but administrators.
#[tokio::test(start_paused = true)]
async fn where_it_is_not_shown_what_a_network_is_on_the_cards_must_be_on_one() {
    let mut settings = neutron();
    settings
        .extensions
        .retain(|extension| extension != "provider");
    let mut world = host(settings, 1);
    let made = world.create_network(&subnet("10.20.0.0/24")).await.unwrap();
    let error = world.run(&made).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("does not show"), "{error}");
    assert_eq!(world.all::<Port>().await, []);
    let mut of_one = drivers(Driver::HwVeb);
    of_one.cards.retain(|(on, _)| on == "physnet2");
    world.restart_as("host1", of_one);
    world.run(&made).await.unwrap();
    assert_eq!(slots(&world), ["0000:01:10.0".to_owned()].into());
}

#[tokio::test(start_paused = true)]
async fn a_network_may_have_functions_where_the_host_has_pairs() {
    for name in ["hw_veb", "sriov"] {
        let mut world = host(neutron(), 1);
        world.restart_as("host1", drivers(Driver::Veth));
        let plan = Plan {
            options: vec![("kuryr.driver", name.to_owned())],
            ..subnet("10.20.0.0/24")
        };
        let made = world.create_network(&plan).await.unwrap();
        world.run(&made).await.unwrap();
        assert_eq!(slots(&world), ["0000:01:10.0".to_owned()].into());
    }
}
