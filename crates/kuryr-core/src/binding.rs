//! From a Neutron port to an interface on this host: a function of the two alone.

mod device;
mod python;

use kuryr_vif::{Attachment, Binding, Datapath, Filter, Switch, Vif};
use neutron_api::{Port, VifDetails};

use crate::error::Error;
use crate::names;

pub(crate) use device::SLOT;

/// The switch that Neutron's Open vSwitch agents and OVN manage, unless Neutron says otherwise.
const INTEGRATION_BRIDGE: &str = "br-int";

/// The interface that realises `port` for `owner` on `host`.
///
/// # Errors
/// The port is not bound to the host in a way that an interface can be made for.
pub(crate) fn vif(port: &Port, host: &str, owner: &str, mtu: u32) -> Result<Vif, Error> {
    let interface_id = port.id.to_string();
    let attachment = Attachment::of_port(&interface_id, owner, switch(port, host)?)
        .map_err(|_| Error::Bug("a port's id makes no interface name"))?;
    Ok(Vif {
        attachment,
        mac: port.mac_address.octets().into(),
        mtu,
    })
}

/// What the port is to be plugged into.
///
/// What kind of interface it is for (`binding:vnic_type`) counts more than what it could be plugged into:
/// an Open vSwitch that offloads to a card says `ovs` of the card's own interfaces, too, and a pair in
/// place of one would not be what was asked for. A program may know the kind.
pub(crate) fn switch(port: &Port, host: &str) -> Result<Switch, Error> {
    let Some(kind) = special_kind(port) else {
        return by_vif_type(port, host);
    };
    if let Some(device) = device::of(port, kind) {
        return device.map(Switch::Device).map_err(|hint| Error::Binding {
            port: port.id,
            host: host.to_owned(),
            hint,
        });
    }
    match by_vif_type(port, host) {
        Ok(Switch::Program(binding)) => Ok(Switch::Program(binding)),
        Ok(_) | Err(_) => Err(no_such_kind(port, host, kind)),
    }
}

/// The kind of interface that the port is for, if that is none of the kernel's usual ones.
pub(crate) fn special_kind(port: &Port) -> Option<&str> {
    port.vnic_type.as_deref().filter(|kind| *kind != "normal")
}

/// That the port is for a kind of interface that can't be made.
fn no_such_kind(port: &Port, host: &str, kind: &str) -> Error {
    let hint = match (device::is_of_card(kind), port.vif_type.as_deref()) {
        (true, Some("binding_failed" | "unbound")) => format!(
            "it is for a device of an SR-IOV card (binding:vnic_type is {kind}), and Neutron could not bind it: is \
             sriovnicswitch among ML2's mechanism_drivers, is a NIC Switch agent alive on a host of just this name \
             (openstack network agent list --agent-type nic), and is the network of type flat or vlan, on a physical \
             network that this agent's physical_device_mappings have?"
        ),
        (true, _) | (false, _) => format!(
            "it is for an interface of kind {kind} (binding:vnic_type), which this version can't make where Neutron \
             binds it as {}, whatever driver is configured: take a port of kind normal (openstack port set --vnic-type \
             normal {}), or a host where a program in bindir plugs what Neutron binds such ports to",
            port.vif_type.as_deref().unwrap_or("nothing that it shows"),
            port.id
        ),
    };
    Error::Binding {
        port: port.id,
        host: host.to_owned(),
        hint,
    }
}

fn by_vif_type(port: &Port, host: &str) -> Result<Switch, Error> {
    let hint = |hint| Error::Binding {
        port: port.id,
        host: host.to_owned(),
        hint,
    };
    let details = port.vif_details.as_ref();
    match port.vif_type.as_deref() {
        Some("ovs") if details.and_then(|details| details.ovs_hybrid_plug) == Some(true) => {
            hybrid(port, details)
        }
        Some("ovs") => {
            let (bridge, datapath) = open_vswitch(details);
            Ok(Switch::OpenVSwitch { bridge, datapath })
        }
        Some("bridge") => linux_bridge(port, details).map_err(hint),
        Some("tap") => Ok(Switch::Tap),
        Some("binding_failed") => Err(hint(format!(
            "no mechanism driver could bind it: is an agent alive on a host of just this name (openstack network agent list), \
             and does it serve the network's type? If the agent has another name, set host in [DEFAULT] to it (now {host:?})"
        ))),
        Some("unbound") => Err(hint(
            "Neutron has not bound it to any host: has ML2 a mechanism driver for this host (mechanism_drivers), \
             and is its agent alive here (openstack network agent list)?"
                .to_owned(),
        )),
        // What we can't do, a program may.
        Some(other) => program(port, other).map_err(hint),
        None => Err(hint(
            "Neutron does not show us how to plug it: Kuryr's user needs a role that may see and set binding:* \
             (role service, or admin)".to_owned(),
        )),
    }
}

fn open_vswitch(details: Option<&VifDetails>) -> (String, Datapath) {
    let bridge = details.and_then(|details| details.bridge_name.clone());
    let userspace = details.and_then(|details| details.datapath_type.as_deref()) == Some("netdev");
    let datapath = if userspace {
        Datapath::Userspace
    } else {
        Datapath::Kernel
    };
    (
        bridge.unwrap_or_else(|| INTEGRATION_BRIDGE.to_owned()),
        datapath,
    )
}

fn hybrid(port: &Port, details: Option<&VifDetails>) -> Result<Switch, Error> {
    let (bridge, datapath) = open_vswitch(details);
    let filter = Filter::of_port(&port.id.to_string());
    Ok(Switch::Hybrid {
        bridge,
        datapath,
        filter: filter.map_err(|_| Error::Bug("a port's id makes no interface name"))?,
    })
}

/// A bridge that Neutron names is there; where it names none, its Linux bridge agent makes one, and
/// names it after the network.
fn linux_bridge(port: &Port, details: Option<&VifDetails>) -> Result<Switch, String> {
    let parse = |name: &str| {
        name.parse()
            .map_err(|error| format!("Neutron names a bridge that can't be: {error}"))
    };
    match details.and_then(|details| details.bridge_name.as_deref()) {
        Some(name) => Ok(Switch::LinuxBridge {
            bridge: parse(name)?,
        }),
        None => {
            let network = port.network_id.to_string();
            Ok(Switch::AgentBridge {
                bridge: parse(&format!("brq{}", names::head(&network, 11)))?,
            })
        }
    }
}

fn program(port: &Port, vif_type: &str) -> Result<Switch, String> {
    let program = vif_type.parse();
    Ok(Switch::Program(Binding {
        program: program.map_err(|error| {
            format!("Neutron wants it plugged in a way that Kuryr does not know, and {error}")
        })?,
        mac: port.mac_address.octets().into(),
        network: port.network_id.to_string(),
        project: port.project_id.clone(),
        details: python::details(port.vif_details.as_ref()),
    }))
}

#[cfg(test)]
mod tests {
    use kuryr_vif::{Device, FunctionSettings, Part, PciSlot};
    use serde_json::json;

    use super::*;

    #[test]
    fn neutron_names_the_bridge_and_the_datapath() {
        let port = port(&json!({
            "binding:vif_type": "ovs",
            "binding:vif_details": {"bridge_name": "br-x", "datapath_type": "netdev"},
        }));
        let want = Switch::OpenVSwitch {
            bridge: "br-x".into(),
            datapath: Datapath::Userspace,
        };
        assert_eq!(switch(&port, "h").unwrap(), want);
    }

    #[test]
    fn the_bridge_is_br_int_where_neutron_does_not_say() {
        let port = port(&json!({"binding:vif_type": "ovs"}));
        let want = Switch::OpenVSwitch {
            bridge: "br-int".into(),
            datapath: Datapath::Kernel,
        };
        assert_eq!(switch(&port, "h").unwrap(), want);
    }

    #[test]
    fn a_linux_bridge_is_the_one_that_neutron_names() {
        let port = port(&json!({
            "binding:vif_type": "bridge",
            "binding:vif_details": {"bridge_name": "brq01234567-89"},
        }));
        let bridge = "brq01234567-89".parse().unwrap();
        assert_eq!(switch(&port, "h").unwrap(), Switch::LinuxBridge { bridge });
    }

    #[test]
    fn a_linux_bridge_that_neutron_does_not_name_is_its_agents() {
        let port = port(
            &json!({"binding:vif_type": "bridge", "binding:vif_details": {"port_filter": true}}),
        );
        let bridge = "brq00000000-00".parse().unwrap();
        assert_eq!(switch(&port, "h").unwrap(), Switch::AgentBridge { bridge });
    }

    #[test]
    fn what_a_port_is_for_counts_more_than_how_it_is_bound() {
        for kind in ["direct", "macvtap", "direct-physical", "vdpa"] {
            for vif_type in ["ovs", "bridge", "tap", "binding_failed"] {
                let port = port(&json!({"binding:vif_type": vif_type, "binding:vnic_type": kind}));
                let error = switch(&port, "h").unwrap_err().to_string();
                assert!(error.contains(kind), "{error}");
            }
            let port = port(&json!({"binding:vif_type": "hw_veb", "binding:vnic_type": kind}));
            let made = switch(&port, "h").unwrap();
            assert!(matches!(made, Switch::Program(_)), "{made:?}");
        }
        let port = port(&json!({"binding:vif_type": "tap", "binding:vnic_type": "normal"}));
        assert_eq!(switch(&port, "h").unwrap(), Switch::Tap);
    }

    #[test]
    fn a_port_that_names_a_device_of_a_card_has_that() {
        let port = |kind: &str, vif_type: &str, more: &serde_json::Value| {
            let mut all = json!({
                "binding:vnic_type": kind,
                "binding:vif_type": vif_type,
                "binding:profile": {"pci_slot": "0000:01:10.0", "trusted": "true"},
                "binding:vif_details": {"port_filter": false, "vlan": "100"},
            });
            let more = more.as_object().unwrap().clone();
            all.as_object_mut().unwrap().extend(more);
            port(&all)
        };
        let slot: PciSlot = "0000:01:10.0".parse().unwrap();
        let settings = FunctionSettings {
            vlan: 100,
            spoof_check: true,
            trusted: true,
            rates: None,
        };
        let made = |port: &Port| {
            let Switch::Device(device) = switch(port, "h").unwrap() else {
                panic!("it is plugged otherwise");
            };
            device
        };
        let device = |part| Device {
            slot: slot.clone(),
            part,
        };
        let part = Part::Function(settings);
        assert_eq!(made(&port("direct", "hw_veb", &json!({}))), device(part));
        let part = Part::Macvtap(settings);
        assert_eq!(made(&port("macvtap", "hw_veb", &json!({}))), device(part));
        let plain = FunctionSettings {
            vlan: 0,
            spoof_check: false,
            trusted: false,
            rates: None,
        };
        let more = json!({
            "binding:profile": {"pci_slot": "0000:01:10.0"},
            "binding:vif_details": {"vlan": 0},
            "port_security_enabled": false,
        });
        let part = Part::Function(plain);
        assert_eq!(made(&port("direct", "hw_veb", &more)), device(part));
        let whole = port("direct-physical", "hostdev_physical", &more);
        assert_eq!(made(&whole), device(Part::Card));
    }

    #[test]
    fn a_device_that_can_not_be_meant_is_refused() {
        for (kind, vif_type, profile, details, said) in [
            (
                "direct",
                "hw_veb",
                json!({"pci_slot": "01:10.0"}),
                json!({}),
                "0000:01:10.0",
            ),
            (
                "direct",
                "hw_veb",
                json!({"pci_slot": 7}),
                json!({}),
                "pci_slot",
            ),
            (
                "direct",
                "hw_veb",
                json!({"pci_slot": "0000:01:10.0"}),
                json!({"vlan": "5000"}),
                "VLAN",
            ),
            (
                "direct",
                "hw_veb",
                json!({"pci_slot": "0000:01:10.0"}),
                json!({"vlan": "x"}),
                "VLAN",
            ),
            (
                "direct-physical",
                "hostdev_physical",
                json!({"pci_slot": "0000:01:00.0"}),
                json!({"vlan": "100"}),
                "type flat",
            ),
        ] {
            let port = port(&json!({
                "binding:vnic_type": kind,
                "binding:vif_type": vif_type,
                "binding:profile": profile,
                "binding:vif_details": details,
            }));
            let error = switch(&port, "h").unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_device_that_neutron_could_not_bind_says_what_neutron_needs() {
        let port = port(&json!({
            "binding:vnic_type": "direct",
            "binding:vif_type": "binding_failed",
            "binding:profile": {"pci_slot": "0000:01:10.0"},
        }));
        let error = switch(&port, "h").unwrap_err().to_string();
        assert!(error.contains("sriovnicswitch"), "{error}");
    }

    #[test]
    fn a_hybrid_plug_is_named_after_the_port_as_the_agents_rules_are() {
        let port = port(&json!({
            "binding:vif_type": "ovs",
            "binding:vif_details": {"ovs_hybrid_plug": true, "bridge_name": "br-x"},
        }));
        let want = Switch::Hybrid {
            bridge: "br-x".into(),
            datapath: Datapath::Kernel,
            filter: Filter {
                bridge: "qbr00000000-00".parse().unwrap(),
                near: "qvb00000000-00".parse().unwrap(),
                far: "qvo00000000-00".parse().unwrap(),
            },
        };
        assert_eq!(switch(&port, "h").unwrap(), want);
        let vif = vif(&port, "h", "e", 1450).unwrap();
        assert_eq!(vif.attachment.host.as_str(), "tap00000000-00");
    }

    #[test]
    fn a_tap_is_plugged_into_nothing() {
        let port = port(&json!({"binding:vif_type": "tap"}));
        assert_eq!(switch(&port, "h").unwrap(), Switch::Tap);
    }

    #[test]
    fn what_is_not_built_in_is_a_programs() {
        for kind in ["midonet", "iovisor", "vhostuser", "hw_veb"] {
            let port = port(
                &json!({"binding:vif_type": kind, "binding:vif_details": {"port_filter": true}}),
            );
            let Switch::Program(binding) = switch(&port, "h").unwrap() else {
                panic!("{kind} is plugged otherwise");
            };
            assert_eq!(binding.program.as_str(), kind);
            assert_eq!(binding.network, port.network_id.to_string());
            assert_eq!(binding.mac.to_string(), "fa:16:3e:00:00:01");
            assert_eq!(binding.details, "\"{'port_filter': True}\"");
        }
    }

    #[test]
    fn what_cannot_be_plugged_says_what_to_look_at() {
        for (binding, hint) in [
            (
                json!({"binding:vif_type": "binding_failed"}),
                "openstack network agent list",
            ),
            (json!({"binding:vif_type": "unbound"}), "mechanism_drivers"),
            (
                json!({"binding:vif_type": "../../bin/sh"}),
                "program's name",
            ),
            (json!({}), "role service"),
            (
                json!({"binding:vif_type": "bridge", "binding:vif_details": {"bridge_name": "a/b"}}),
                "not an interface name",
            ),
        ] {
            let error = switch(&port(&binding), "h").unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    fn port(binding: &serde_json::Value) -> Port {
        let mut port = json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "network_id": "00000000-0000-0000-0000-000000000002",
            "mac_address": "fa:16:3e:00:00:01",
        });
        let fields = binding.as_object().unwrap().clone();
        port.as_object_mut().unwrap().extend(fields);
        serde_json::from_value(port).unwrap()
    }
}
