//! Containers in guests: what many writers make of one list.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use kuryr_core::Driver;
use kuryr_vif::{Attachment, Plug, Sharing, Switch, Vif};
use neutron_api::{AddressPair, NewPort, NewTrunk, Port, PortChange, Subport, Trunk};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::ground::Ground;
use crate::host::{Host, OnNetwork, start, stop};

const GUESTS: &str = "10.70.0.0/24";
const TENANTS: &str = "10.71.0.0/24";

/// The first guest has two programs, which are two writers to Neutron. Ten pairs are as many as Neutron lets
/// a port have.
pub(crate) async fn fifty_starts_at_once_in_five_guests_lose_no_address(ground: Ground) {
    let network = ground.network(GUESTS, json!({})).await;
    let ports = [1, 2, 3, 4, 5].map(|number| ground.port(network, guest(number)));
    let ports = join_all(ports).await;
    let of_host = [0, 0, 1, 2, 3, 4];
    let hosts = of_host.map(async |guest| {
        let (name, mac) = (format!("vm{}", guest + 1), ports[guest].mac_address);
        let host = Host::guest(&ground, &name, Driver::Ipvlan, mac);
        let on = host.adopt(network, GUESTS).await;
        (host, on)
    });
    let hosts = join_all(hosts).await;
    let others = rename_all_the_time(&ground, &ports);
    // Ten for each guest, of which the first two programs have five each.
    let turns: Vec<usize> = (0..10).flat_map(|it| [it % 2, 2, 3, 4, 5]).collect();
    let running = start(&hosts, &turns).await;
    drop(others);
    for (guest, port) in ports.iter().enumerate() {
        let its = running.iter().zip(of_host).filter(|(_, of)| *of == guest);
        let wanted = its
            .flat_map(|(containers, _)| containers)
            .map(|container| AddressPair {
                ip_address: container.address.addr().to_string(),
                mac_address: Some(port.mac_address),
            });
        let wanted = sorted(wanted);
        assert_eq!(wanted.len(), 10);
        // What one writer has undone another does again, in a while.
        let end = Instant::now() + Duration::from_secs(30);
        let mut has = Vec::new();
        while has != wanted && Instant::now() < end {
            sleep(ground.rest).await;
            let port = ground.now::<Port>(port.id).await;
            has = sorted(port.allowed_address_pairs);
        }
        assert_eq!(has, wanted, "guest {guest}");
    }
    let [_, met] = ground.refusals();
    assert!(met > 0, "nobody has met");
    stop(&hosts, &running).await;
    for (guest, port) in ports.iter().enumerate() {
        let has = ground.now::<Port>(port.id).await.allowed_address_pairs;
        assert_eq!(has, [], "what nobody has is let through by guest {guest}");
    }
    assert_eq!(ground.ports().await, []);
}

/// So few are free that they meet: at the end each is somebody's.
pub(crate) async fn two_writers_that_choose_the_same_vlan_ids_both_get_some(ground: Ground) {
    const FREE: std::ops::RangeInclusive<u16> = 2001..=2020;
    let network = ground.network(GUESTS, json!({})).await;
    let tenants = ground.network(TENANTS, json!({})).await;
    let own = ground.port(network, guest(1)).await;
    let trunk = NewTrunk {
        name: "vm1".to_owned(),
        port_id: own.id,
        sub_ports: vec![],
    };
    let trunk = ground.make(&trunk).await;
    let hosts = [1, 2].map(async |_| {
        let host = Host::guest(&ground, "vm1", Driver::Vlan, own.mac_address);
        for id in Subport::IDS.filter(|id| !FREE.contains(id)) {
            occupy(&host, id, &own).await;
        }
        let on = host.adopt(tenants, TENANTS).await;
        (host, on)
    });
    let hosts = join_all(hosts).await;
    let turns: Vec<usize> = [0, 1].repeat(FREE.count() / 2);
    let running = start(&hosts, &turns).await;
    let has = ground.now::<Trunk>(trunk.id).await.sub_ports;
    let on_trunk: BTreeSet<u16> = has.iter().map(|it| it.segmentation_id).collect();
    assert_eq!(on_trunk, FREE.collect(), "each once");
    for (port, vlan) in plugged(&hosts) {
        let its = has.iter().find(|it| it.port_id.to_string() == port);
        assert_eq!(its.map(|it| it.segmentation_id), Some(vlan), "port {port}");
    }
    let [met, _] = ground.refusals();
    assert!(met > 0, "nobody has met");
    stop(&hosts, &running).await;
    assert_eq!(ground.now::<Trunk>(trunk.id).await.sub_ports, []);
    assert_eq!(ground.ports().await, []);
}

/// What a guest's own port would be.
fn guest(number: u8) -> NewPort {
    NewPort {
        name: format!("vm{number}"),
        device_owner: "compute:nova".to_owned(),
        host_id: Some("host1".to_owned()),
        ..NewPort::default()
    }
}

/// Somebody else changes the ports meanwhile, and with that their revisions.
fn rename_all_the_time(ground: &Ground, ports: &[Port]) -> JoinSet<()> {
    let (ground, ids): (_, Vec<_>) = (ground.clone(), ports.iter().map(|port| port.id).collect());
    let mut others = JoinSet::new();
    others.spawn(async move {
        for (number, port) in ids.iter().cycle().enumerate() {
            let change = PortChange {
                name: Some(format!("vm-{number}")),
                ..PortChange::default()
            };
            let _ = ground.neutron.update(*port, &change).await;
            sleep(ground.rest).await;
        }
    });
    others
}

/// This VLAN id is in use on the host.
async fn occupy(host: &Host, id: u16, own: &Port) {
    let switch = by_vlan(id);
    let interface = format!("{id:08}-0000-4000-8000-000000000000");
    let vif = Vif {
        attachment: Attachment::of_port(&interface, "others", switch).unwrap(),
        mac: own.mac_address.octets().into(),
        mtu: 1400,
    };
    host.notes.plug(&vif, Instant::now()).await.unwrap();
}

fn by_vlan(id: u16) -> Switch {
    Switch::Parent {
        parent: "ens3".parse().unwrap(),
        sharing: Sharing::Vlan(id),
    }
}

/// The ports that are plugged for containers, and their VLAN ids.
fn plugged(hosts: &[(Host, OnNetwork)]) -> Vec<(String, u16)> {
    let all = hosts.iter().flat_map(|(host, _)| host.notes.plugged());
    let ours = all.filter(|vif| vif.attachment.owner != "others");
    let vlan = |vif: Vif| {
        let Switch::Parent {
            sharing: Sharing::Vlan(id),
            ..
        } = vif.attachment.switch
        else {
            panic!("plugged otherwise: {vif:?}");
        };
        (vif.attachment.interface_id, id)
    };
    ours.map(vlan).collect()
}

fn sorted(pairs: impl IntoIterator<Item = AddressPair>) -> Vec<String> {
    let shown = pairs.into_iter().map(|pair| format!("{pair:?}"));
    let mut shown: Vec<String> = shown.collect();
    shown.sort_unstable();
    shown
}
