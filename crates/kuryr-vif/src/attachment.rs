//! What is plugged, and what shall be.

use crate::{IfName, InvalidIfName, MacAddress};

/// What is plugged, enough to unplug it; it can be found again from the host alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attachment {
    /// What the switch's controller knows the interface by: the Neutron port's id (OVS `iface-id`).
    pub interface_id: String,
    /// Whom it is plugged for: the endpoint's id (OVS `vm-uuid`).
    pub owner: String,
    /// The end that stays in this namespace.
    pub host: IfName,
    /// The name that the other end has until the container runtime moves and renames it.
    pub container: IfName,
    /// What the host end is wired into.
    pub switch: Switch,
}

impl Attachment {
    /// The attachment of a Neutron port: its two names are `tap` and `t_c` plus the port's id, cut
    /// to 14 characters, as every Kuryr before this one named them.
    pub fn of_port(port: &str, owner: &str, switch: Switch) -> Result<Self, InvalidIfName> {
        Ok(Self {
            interface_id: port.to_owned(),
            owner: owner.to_owned(),
            host: IfName::of_port("tap", port)?,
            container: IfName::of_port("t_c", port)?,
            switch,
        })
    }
}

/// What a host end is wired into.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Switch {
    /// A bridge of Open vSwitch.
    OpenVSwitch {
        /// The bridge's name, `br-int` on most hosts.
        bridge: String,
        /// Who moves the bridge's packets.
        datapath: Datapath,
    },
}

/// Who moves an Open vSwitch bridge's packets (`datapath_type`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Datapath {
    /// The kernel module (`system`).
    Kernel,
    /// ovs-vswitchd itself (`netdev`): checksums left to the device are then never computed.
    Userspace,
}

/// An interface to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vif {
    /// Its names and its switch.
    pub attachment: Attachment,
    /// The container end's address.
    pub mac: MacAddress,
    /// Both ends' MTU, in bytes.
    pub mtu: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_names_both_ends_in_14_characters() {
        let switch = Switch::OpenVSwitch {
            bridge: "br-int".into(),
            datapath: Datapath::Kernel,
        };
        let port = "0b1f2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
        let made = Attachment::of_port(port, "endpoint", switch).unwrap();
        assert_eq!(made.host.as_str(), "tap0b1f2c3d-4e");
        assert_eq!(made.container.as_str(), "t_c0b1f2c3d-4e");
    }
}
