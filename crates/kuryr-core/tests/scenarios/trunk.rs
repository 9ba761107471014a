//! Containers in guests, as subports of the trunks that the guests' own ports carry.

mod warm;

use std::collections::BTreeSet;
use std::time::Duration;

use kuryr_core::{Driver, Drivers, Orphan};
use kuryr_testkit::faulty::Fate;
use kuryr_vif::{Sharing, Switch};
use neutron_api::{
    MacAddress, Network, NewPort, NewTrunk, Port, PortId, PortStatus, Subport, Trunk, TrunkChange,
    TrunkId,
};
use neutron_embedded::EmbeddedSettings;
use serde_json::json;
use tokio::task::JoinSet;

use crate::adopt::plan;
use crate::guest::{start_fifty, stop_all};
use crate::world::{Container, Made, World, soon, subnet};

/// The `number`th guest's hardware address.
fn mac(number: u8) -> MacAddress {
    [0xfa, 0x16, 0x3e, 0xee, 0, number].into()
}

fn drivers(number: u8) -> Drivers {
    Drivers {
        default: Driver::Vlan,
        enabled: vec![Driver::Vlan],
        interfaces: vec![
            ("lo0".parse().unwrap(), [2, 0, 0, 0, 0, 1].into()),
            ("ens3".parse().unwrap(), mac(number)),
        ],
        cards: vec![],
    }
}

/// A Neutron with trunks, whose agents are quick.
fn world() -> World {
    let mut settings = EmbeddedSettings {
        active_when_bound: true,
        ..EmbeddedSettings::default()
    };
    let trunks = ["trunk", "trunk-details"];
    settings.extensions.extend(trunks.map(str::to_owned));
    World::with(settings)
}

/// The guest's own port.
async fn port_of_guest(world: &World, network: &Network, number: u8) -> Port {
    let new = NewPort {
        network_id: Some(network.id),
        mac_address: Some(mac(number)),
        device_id: format!("vm{number}"),
        device_owner: "compute:nova".into(),
        admin_state_up: true,
        host_id: Some("compute1".into()),
        ..NewPort::default()
    };
    world.make(&new).await
}

async fn trunk_on(world: &World, port: &Port) -> TrunkId {
    let new = NewTrunk {
        name: "vm".into(),
        port_id: port.id,
        sub_ports: vec![],
    };
    world.make(&new).await.id
}

/// A guest whose user has a subport already, and a container network of another tenant's network.
async fn guest() -> (World, Made, TrunkId) {
    guest_in(world()).await
}

async fn guest_in(mut world: World) -> (World, Made, TrunkId) {
    world.restart_as("vm1", drivers(1));
    let network = world.network_of("guests", "10.70.0.0/24").await;
    let port = port_of_guest(&world, &network, 1).await;
    let trunk = trunk_on(&world, &port).await;
    others_subport(&world, trunk, 100).await;
    let tenants = world.network_of("tenant", "10.50.0.0/24").await;
    let made = world
        .create_network(&plan("neutron.net.uuid", &tenants))
        .await;
    (world, made.unwrap(), trunk)
}

/// Docker asks for a container's endpoint once more.
async fn create_again(world: &World, made: &Made, container: &Container) {
    let again = kuryr_core::NewEndpoint {
        network: made.id.clone(),
        id: container.id.clone(),
        addresses: container.addresses.clone(),
        mac: None,
        options: std::collections::BTreeMap::new(),
    };
    world.kuryr.create_endpoint(again, soon()).await.unwrap();
}

/// A subport of the user's own.
async fn others_subport(world: &World, trunk: TrunkId, vlan: u16) -> Port {
    let network = world.network_of("user", "10.72.0.0/24").await;
    let new = NewPort {
        name: "users".into(),
        network_id: Some(network.id),
        admin_state_up: true,
        ..NewPort::default()
    };
    let port = world.make(&new).await;
    let subport = [Subport::tagged(port.id, vlan)];
    world.neutron.add_subports(trunk, &subport).await.unwrap();
    port
}

/// The subports of a trunk that are not its user's.
async fn subports(world: &World, trunk: TrunkId) -> Vec<Subport> {
    let trunk = world.neutron.find::<Trunk>(trunk).await.unwrap().unwrap();
    let mut ours = Vec::new();
    for subport in trunk.sub_ports {
        let port = world.neutron.find::<Port>(subport.port_id).await.unwrap();
        if port.unwrap().name != "users" {
            ours.push(subport);
        }
    }
    ours
}

/// What is ours in Neutron.
async fn ports(world: &World) -> Vec<Port> {
    let mut ports = world.all::<Port>().await;
    ports.retain(|port| port.name != "users" && port.device_owner != "compute:nova");
    ports
}

/// The VLAN ids that are plugged, in order of plugging.
fn vlans_plugged(world: &World) -> Vec<u16> {
    let plugged = world.host.plugged().into_iter();
    let vlan = |vif: kuryr_vif::Vif| {
        let Switch::Parent {
            parent,
            sharing: Sharing::Vlan(vlan),
        } = vif.attachment.switch
        else {
            return None;
        };
        (parent.as_str() == "ens3").then_some(vlan)
    };
    plugged.map(|vif| vlan(vif).unwrap()).collect()
}

fn vlan_plugged(world: &World) -> u16 {
    let [vlan] = <[_; 1]>::try_from(vlans_plugged(world)).unwrap();
    vlan
}

#[tokio::test(start_paused = true)]
async fn a_container_is_a_subport_of_its_guests_trunk_until_it_goes() {
    let (mut world, made, trunk) = guest().await;
    let container = world.run(&made).await.unwrap();
    let port = world.port_of(&container).await;
    let vlan = vlan_plugged(&world);
    assert_ne!(vlan, 100);
    assert_eq!(
        subports(&world, trunk).await,
        [Subport::tagged(port.id, vlan)]
    );
    assert_eq!(port.device_owner, "trunk:subport");
    assert_eq!(port.name, format!("{}-port", container.id));
    assert_eq!(
        (port.host_id.as_deref(), port.admin_state_up),
        (Some(""), true)
    );
    assert_eq!(container.interface.mac, Some(port.mac_address));
    // Also by a run that did not start it.
    world.restart_as("vm1", drivers(1));
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(subports(&world, trunk).await, []);
    assert_eq!(ports(&world).await, []);
    assert!(world.host.plugged().is_empty());
    let whole = world.neutron.find::<Trunk>(trunk).await.unwrap().unwrap();
    assert_eq!(whole.sub_ports.len(), 1, "the user's own stays");
}

#[tokio::test(start_paused = true)]
async fn fifty_starts_at_once_beside_other_writers_have_a_vlan_id_each() {
    let (world, made, trunk) = guest().await;
    // A second program on the same machine: to Neutron it is another writer.
    let mut beside = world.beside("vm1");
    beside.restart_as("vm1", drivers(1));
    let tenants = world.network_of("other", "10.50.0.0/24").await;
    let theirs = beside
        .create_network(&plan("neutron.net.uuid", &tenants))
        .await;
    let theirs = theirs.unwrap();
    for wire in [&world.wire, &beside.wire] {
        wire.plan(|number, _| Fate::Take(Duration::from_millis(3 + (number as u64 * 7) % 11)));
    }
    let spare = others_subport(&world, trunk, 101).await;
    let neutron = world.neutron.clone();
    let mut others = JoinSet::new();
    others.spawn(async move {
        for vlan in (102..4000).cycle() {
            let _ = neutron.remove_subports(trunk, &[spare.id]).await;
            let subport = [Subport::tagged(spare.id, vlan)];
            let _ = neutron.add_subports(trunk, &subport).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let guests = [(world, made), (beside, theirs)].map(std::sync::Arc::new);
    let running = start_fifty(&guests).await;
    drop(others);
    let (world, _) = &*guests[0];
    let has: BTreeSet<u16> = subports(world, trunk)
        .await
        .iter()
        .map(|subport| subport.segmentation_id)
        .collect();
    let plugged: BTreeSet<u16> = guests
        .iter()
        .flat_map(|guest| vlans_plugged(&guest.0))
        .collect();
    assert_eq!((has.len(), &has), (50, &plugged));
    let log = world.wire.log();
    let asked = log.iter().filter(|line| line.contains("add_subports"));
    assert!(asked.count() < 20, "those that wait go along: {log:#?}");
    stop_all(&guests, running).await;
    assert_eq!(subports(world, trunk).await, []);
    assert_eq!(ports(world).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_fails_leaves_no_subport() {
    for fate in [
        Fate::LoseRequest,
        Fate::LoseReply,
        Fate::Answer(503),
        Fate::Answer(409),
        Fate::Answer(403),
    ] {
        for k in 0.. {
            let (world, made, trunk) = guest().await;
            world
                .wire
                .plan(move |number, _| if number == k { fate } else { Fate::Pass });
            if let Ok(container) = world.run(&made).await {
                assert_eq!(subports(&world, trunk).await.len(), 1);
                world.stop(&made, &container).await;
            }
            let in_a_while = soon() + Duration::from_secs(600);
            assert!(world.kuryr.settled(in_a_while).await);
            tokio::time::sleep(Duration::from_secs(70)).await;
            let log = world.wire.log();
            let when = format!("exchange {k} met {fate:?}: {log:#?}");
            assert_eq!(subports(&world, trunk).await, [], "{when}");
            assert_eq!(ports(&world).await, [], "{when}");
            assert!(world.host.plugged().is_empty(), "{when}");
            if log.len() <= k {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_to_a_trunk_outlives_the_program() {
    let (mut world, made, trunk) = guest().await;
    let container = world.run(&made).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    // Killed in between: the subport was removed, and the port not deleted.
    world.wire.plan(
        |_, request| match request.method() == http::Method::DELETE {
            true => Fate::LoseRequest,
            false => Fate::Pass,
        },
    );
    world.stop(&made, &container).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(subports(&world, trunk).await, []);
    let [left] = <[_; 1]>::try_from(ports(&world).await).unwrap();
    assert_eq!(left.device_owner, "");
    world.wire.plan(|_, _| Fate::Pass);
    world.restart_as("vm1", drivers(1));
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(ports(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_of_the_guest_containers_come_back_to_their_subports() {
    let (mut world, made, trunk) = guest().await;
    let container = world.run(&made).await.unwrap();
    let port = world.port_of(&container).await;
    let vlan = vlan_plugged(&world);
    // The links have gone, and what the trunk has stays.
    world.forget_plugged().await;
    world.restart_as("vm1", drivers(1));
    create_again(&world, &made, &container).await;
    let joined = world.kuryr.join(&made.id, &container.id, &[], soon()).await;
    joined.unwrap();
    assert_eq!(vlan_plugged(&world), vlan);
    assert_eq!(
        subports(&world, trunk).await,
        [Subport::tagged(port.id, vlan)]
    );
    // Or Docker has forgotten them.
    world.forget_plugged().await;
    world.restart_as("vm1", drivers(1));
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(subports(&world, trunk).await, []);
    assert_eq!(ports(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_subport_that_others_have_removed_is_added_again_and_goes_at_the_end() {
    let (mut world, made, trunk) = guest().await;
    let container = world.run(&made).await.unwrap();
    let port = world.port_of(&container).await;
    let vlan = vlan_plugged(&world);
    world
        .neutron
        .remove_subports(trunk, &[port.id])
        .await
        .unwrap();
    // And somebody else has its VLAN id now.
    others_subport(&world, trunk, vlan).await;
    world.forget_plugged().await;
    world.restart_as("vm1", drivers(1));
    create_again(&world, &made, &container).await;
    let now = vlan_plugged(&world);
    assert_ne!(now, vlan);
    assert_eq!(
        subports(&world, trunk).await,
        [Subport::tagged(port.id, now)]
    );
    assert_eq!(world.port_of(&container).await.id, port.id);
    world
        .neutron
        .remove_subports(trunk, &[port.id])
        .await
        .unwrap();
    world.stop(&made, &container).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(ports(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_vlan_id_that_is_still_plugged_here_is_not_chosen() {
    let (world, made, trunk) = guest().await;
    let container = world.run(&made).await.unwrap();
    let port = world.port_of(&container).await;
    let vlan = vlan_plugged(&world);
    world
        .neutron
        .remove_subports(trunk, &[port.id])
        .await
        .unwrap();
    for id in (1..=4094).filter(|id| ![vlan, 100, 4094].contains(id)) {
        let mut vif = world.host.plugged()[0].clone();
        vif.attachment.interface_id = format!("other-{id}");
        vif.attachment.switch = Switch::Parent {
            parent: "ens3".parse().unwrap(),
            sharing: Sharing::Vlan(id),
        };
        kuryr_vif::Plug::plug(&*world.host, &vif, soon())
            .await
            .unwrap();
    }
    world.run(&made).await.unwrap();
    let [other] = <[_; 1]>::try_from(subports(&world, trunk).await).unwrap();
    assert_eq!(other.segmentation_id, 4094);
    let error = world.run(&made).await.unwrap_err().to_string();
    assert!(error.contains("all VLAN ids of trunk"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_lacks_is_told_and_nothing_stays() {
    let told = |world: World, made: Made, part: &'static str| async move {
        let error = world.run(&made).await.unwrap_err();
        let mut said = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            said = format!("{said}: {error}");
            cause = error.source();
        }
        assert!(said.contains(part), "{part}: {said}");
        assert!(world.kuryr.settled(soon()).await);
        assert_eq!(ports(&world).await, []);
        assert!(world.host.plugged().is_empty());
    };
    let mut none = World::new();
    none.restart_as("vm1", drivers(1));
    let made = none.create_network(&subnet("10.74.0.0/24")).await.unwrap();
    told(none, made, "service plugin trunk").await;
    let mut elsewhere = world();
    elsewhere.restart_as("vm1", drivers(1));
    let made = elsewhere
        .create_network(&subnet("10.74.0.0/24"))
        .await
        .unwrap();
    told(elsewhere, made, "ens3 fa:16:3e:ee:00:01").await;
    let mut plain = world();
    plain.restart_as("vm1", drivers(1));
    let network = plain.network_of("guests", "10.70.0.0/24").await;
    port_of_guest(&plain, &network, 1).await;
    let made = plain.create_network(&subnet("10.74.0.0/24")).await.unwrap();
    told(plain, made, "openstack network trunk create").await;
    let (disabled, made, trunk) = guest().await;
    let change = TrunkChange {
        admin_state_up: Some(false),
        ..TrunkChange::default()
    };
    disabled.neutron.update(trunk, &change).await.unwrap();
    told(disabled, made, "currently disabled").await;
    let (small, made, trunk) = guest().await;
    let trunk = small.neutron.find::<Trunk>(trunk).await.unwrap().unwrap();
    let port = small
        .neutron
        .find::<Port>(trunk.port_id)
        .await
        .unwrap()
        .unwrap();
    let network = format!("networks/{}", port.network_id);
    small
        .put(&network, &json!({"network": {"mtu": 1280}}))
        .await;
    told(small, made, "cannot be greater than MTU 1280").await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_made_anew_takes_its_containers_along() {
    let (mut world, made, trunk) = guest().await;
    let container = world.run(&made).await.unwrap();
    let port = world.port_of(&container).await;
    let network = world.network_of("guests2", "10.75.0.0/24").await;
    let own = port_of_guest(&world, &network, 2).await;
    let new = trunk_on(&world, &own).await;
    world.forget_plugged().await;
    world.restart_as("vm1", drivers(2));
    create_again(&world, &made, &container).await;
    assert_eq!(subports(&world, trunk).await, []);
    assert_eq!(subports(&world, new).await[0].port_id, port.id);
}

#[tokio::test(start_paused = true)]
async fn a_trunk_made_anew_is_found() {
    let (world, made, trunk) = guest().await;
    let first = world.run(&made).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    let before = world.neutron.find::<Trunk>(trunk).await.unwrap().unwrap();
    world.neutron.delete::<Trunk>(trunk).await.unwrap();
    let own = world
        .neutron
        .find::<Port>(before.port_id)
        .await
        .unwrap()
        .unwrap();
    let new = trunk_on(&world, &own).await;
    world.run(&made).await.unwrap();
    assert_eq!(subports(&world, new).await.len(), 1);
    world.stop(&made, &first).await;
    assert!(world.kuryr.settled(soon()).await);
    assert_eq!(ports(&world).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_a_crash_has_left_is_an_orphan_of_this_guest_alone() {
    let (mut world, made, trunk) = guest().await;
    let mut beside = world.beside("vm2");
    beside.restart_as("vm2", drivers(2));
    let container = world.run(&made).await.unwrap();
    let running = world.run(&made).await.unwrap();
    let kept = world.port_of(&running).await;
    let orphan = world.port_of(&container).await;
    // Killed before it was a subport.
    let waiting = world.reserve(&made).await;
    let [vif] = <[_; 1]>::try_from(
        world
            .host
            .plugged()
            .into_iter()
            .filter(|vif| vif.attachment.owner == container.id.as_str())
            .collect::<Vec<_>>(),
    )
    .unwrap();
    kuryr_vif::Plug::unplug(&*world.host, &vif.attachment, soon())
        .await
        .unwrap();
    world.take_all();
    world.restart_as("vm1", drivers(1));
    assert_eq!(beside.kuryr.orphans(soon()).await.unwrap().len(), 0);
    let seen = world.kuryr.orphans(soon()).await.unwrap();
    assert_eq!(seen.len(), 2, "{seen:?} {waiting:?}");
    let found = |seen: &Orphan| matches!(seen, Orphan::Port { port, .. } if port.id == orphan.id);
    assert!(seen.iter().any(found));
    world.kuryr.release_orphans(&seen, soon()).await.unwrap();
    assert!(world.kuryr.settled(soon()).await);
    let left = subports(&world, trunk).await;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].port_id, ports(&world).await.len()), (kept.id, 1));
}

#[tokio::test(start_paused = true)]
async fn a_container_waits_until_neutron_says_that_its_subport_is_active() {
    let (mut world, made, trunk) = guest().await;
    let own = world.neutron.find::<Trunk>(trunk).await.unwrap().unwrap();
    let down = format!("ports/{}", own.port_id);
    // Unbound, so what is reached by way of it is not active.
    world
        .put(&down, &json!({"port": {"binding:host_id": ""}}))
        .await;
    let start = tokio::time::Instant::now();
    let container = world.run(&made).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_secs(9),
        "waited for the timeout"
    );
    assert_eq!(world.port_of(&container).await.status, PortStatus::Down);
    world.restart_with(|settings| {
        settings.host = "vm1".into();
        settings.drivers = drivers(1);
        settings.plugging_is_fatal = true;
    });
    let error = world.run(&made).await.unwrap_err().to_string();
    assert!(error.contains("did not become active"), "{error}");
    world
        .put(&down, &json!({"port": {"binding:host_id": "compute1"}}))
        .await;
    let start = tokio::time::Instant::now();
    world.run(&made).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_container_waits_no_longer_for_a_neutron_that_does_not_say_whether_its_subport_is_active()
{
    let (mut world, made, _) = guest().await;
    let shows_a_port = |request: &http::Request<bytes::Bytes>| {
        let path = request.uri().path();
        request.method() == http::Method::GET && path.starts_with("/v2.0/ports/")
    };
    let never = move |_, request: &http::Request<bytes::Bytes>| match shows_a_port(request) {
        true => Fate::Take(Duration::from_secs(60)),
        false => Fate::Pass,
    };
    world.wire.plan(never);
    let start = tokio::time::Instant::now();
    world.run(&made).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 10, "waited for the timeout");
    world.restart_with(|settings| {
        settings.host = "vm1".into();
        settings.drivers = drivers(1);
        settings.plugging_is_fatal = true;
    });
    world.wire.plan(never);
    let error = world.run(&made).await.unwrap_err().to_string();
    assert!(error.contains("to be ACTIVE"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_port_keeps_the_mac_address_that_the_user_wants() {
    let (world, made, _) = guest().await;
    let mac = MacAddress::from([2, 0, 0, 0, 7, 7]);
    let container = world.run_with(&made, None, Some(mac)).await.unwrap();
    assert_eq!(world.port_of(&container).await.mac_address, mac);
}
