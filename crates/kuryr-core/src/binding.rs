//! From a Neutron port to an interface on this host: a function of the two alone.

use kuryr_vif::{Attachment, Datapath, Switch, Vif};
use neutron_api::{Port, VifDetails};

use crate::error::Error;

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
pub(crate) fn switch(port: &Port, host: &str) -> Result<Switch, Error> {
    let hint = |hint| Error::Binding {
        port: port.id,
        host: host.to_owned(),
        hint,
    };
    let details = port.vif_details.as_ref();
    match port.vif_type.as_deref() {
        Some("ovs") if details.and_then(|details| details.ovs_hybrid_plug) == Some(true) => {
            Err(hint(
                "its security groups need a Linux bridge before Open vSwitch (ovs_hybrid_plug), which Kuryr does not make yet: \
                 use the agent's firewall driver openvswitch".to_owned(),
            ))
        }
        Some("ovs") => Ok(open_vswitch(details)),
        Some("binding_failed") => Err(hint(format!(
            "no mechanism driver could bind it: is an agent alive on a host of just this name (openstack network agent list), \
             and does it serve the network's type? If the agent has another name, set host in [DEFAULT] to it (now {host:?})"
        ))),
        Some("unbound") => Err(hint("Neutron has not bound it to any host".to_owned())),
        Some(other) => Err(hint(format!(
            "Neutron wants it plugged as {other:?}, and Kuryr can do only \"ovs\" so far"
        ))),
        None => Err(hint(
            "Neutron does not show us how to plug it: Kuryr's user needs a role that may see and set binding:* \
             (role service, or admin)".to_owned(),
        )),
    }
}

fn open_vswitch(details: Option<&VifDetails>) -> Switch {
    let bridge = details.and_then(|details| details.bridge_name.clone());
    let userspace = details.and_then(|details| details.datapath_type.as_deref()) == Some("netdev");
    Switch::OpenVSwitch {
        bridge: bridge.unwrap_or_else(|| INTEGRATION_BRIDGE.to_owned()),
        datapath: if userspace {
            Datapath::Userspace
        } else {
            Datapath::Kernel
        },
    }
}

#[cfg(test)]
mod tests {
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
    fn what_cannot_be_plugged_says_what_to_look_at() {
        for (binding, hint) in [
            (
                json!({"binding:vif_type": "binding_failed"}),
                "openstack network agent list",
            ),
            (json!({"binding:vif_type": "unbound"}), "not bound"),
            (json!({"binding:vif_type": "vhostuser"}), "vhostuser"),
            (json!({}), "role service"),
            (
                json!({"binding:vif_type": "ovs", "binding:vif_details": {"ovs_hybrid_plug": true}}),
                "firewall driver openvswitch",
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
