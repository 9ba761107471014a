//! Devices of SR-IOV cards: what is made of how Neutron binds their ports.

use std::collections::BTreeSet;

use kuryr_core::{Driver, IfName};
use kuryr_vif::{
    Attachment, Device, FreeFunction, FunctionSettings, MacAddress, Part, Switch, Vif,
};
use neutron_api::{NewPort, Port};
use serde_json::json;

use crate::ground::{CARDS, Ground};
use crate::host::{Host, start, stop};

const RANGE: &str = "10.72.0.0/24";

/// Two start at once on a card with two, and each has its own.
pub(crate) async fn containers_get_functions_as_neutron_binds_them(ground: Ground) {
    let (network, vlan) = ground.network_on_cards(RANGE).await;
    let card: IfName = "ens1f0".parse().unwrap();
    let host = Host::with_card(&ground, "host1", CARDS, &card);
    let function = |slot: &str| FreeFunction {
        slot: slot.parse().unwrap(),
        kind: "8086:10ca".into(),
    };
    let slots = ["0000:01:10.0", "0000:01:10.2"];
    host.notes.put_card(card, slots.map(function).into());
    let on = host.adopt(network, RANGE).await;
    let hosts = [(host, on)];
    let running = start(&hosts, &[0, 0]).await;
    let host = &hosts[0].0;
    let settings = FunctionSettings {
        vlan,
        spoof_check: true,
        trusted: false,
        rates: None,
    };
    let mut seen = BTreeSet::new();
    for port in ground.ports().await {
        assert_eq!(port.vif_type.as_deref(), Some("hw_veb"));
        let slot = port.binding_profile["pci_slot"].as_str().unwrap();
        let made = plugged(host, &port);
        assert_eq!(made.1, device(slot, Part::Function(settings)));
        assert_eq!(made.0.octets(), port.mac_address.octets());
        seen.insert(slot.to_owned());
    }
    assert_eq!(seen, BTreeSet::from(slots.map(str::to_owned)));
    stop(&hosts, &running).await;
    assert_eq!(ground.ports().await, []);
    assert_eq!(hosts[0].0.notes.plugged(), []);
}

/// Whatever driver is configured.
pub(crate) async fn a_port_of_an_administrators_is_bound_to_its_device_and_afterwards_as_before(
    ground: Ground,
) {
    let (network, vlan) = ground.network_on_cards(RANGE).await;
    let host = Host::new(&ground, "host1", Driver::Veth);
    let on = host.adopt(network, RANGE).await;
    let settings = FunctionSettings {
        vlan,
        spoof_check: true,
        trusted: true,
        rates: None,
    };
    for (kind, part) in [
        ("direct", Part::Function(settings)),
        ("macvtap", Part::Macvtap(settings)),
    ] {
        let profile = json!({
            "pci_slot": "0000:01:10.0",
            "pci_vendor_info": "8086:10ca",
            "physical_network": CARDS,
            "trusted": "true",
        });
        let new = NewPort {
            vnic_type: Some(kind.to_owned()),
            binding_profile: profile.as_object().unwrap().clone(),
            ..NewPort::default()
        };
        let port = ground.port(network, new).await;
        let before = ground.whole(port.id).await;
        let address = port.fixed_ips[0].ip_address.to_string();
        let container = host.run(&on, Some(&address)).await;
        let mac = container.interface.mac;
        assert_eq!(mac, Some(port.mac_address));
        assert_eq!(plugged(&host, &port).1, device("0000:01:10.0", part));
        host.stop(&on, &container).await;
        host.settle().await;
        assert_eq!(ground.whole(port.id).await, before, "{kind}");
    }
    host.leave(&on).await;
    assert_eq!(host.notes.plugged(), []);
}

fn device(slot: &str, part: Part) -> Device {
    Device {
        slot: slot.parse().unwrap(),
        part,
    }
}

/// What is plugged for a port.
fn plugged(host: &Host, port: &Port) -> (MacAddress, Device) {
    let all = host.notes.plugged().into_iter();
    let mut its = all.filter(|vif| vif.attachment.interface_id == port.id.to_string());
    match its.next() {
        Some(Vif {
            attachment:
                Attachment {
                    switch: Switch::Device(device),
                    ..
                },
            mac,
            ..
        }) => (mac, device),
        other => panic!("port {} is plugged as {other:?}", port.id),
    }
}
