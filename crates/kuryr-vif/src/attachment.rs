//! What is plugged, and what shall be.

use ipnet::IpNet;

use crate::{Device, IfName, InvalidIfName, MacAddress, ProgramName};

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
            container: IfName::of_port(IfName::CONTAINER, port)?,
            switch,
        })
    }

    /// The interface that is a port of Open vSwitch, if any is.
    pub(crate) fn in_ovs(&self) -> &IfName {
        match &self.switch {
            Switch::Hybrid { filter, .. } => &filter.far,
            Switch::OpenVSwitch { .. }
            | Switch::LinuxBridge { .. }
            | Switch::AgentBridge { .. }
            | Switch::Tap
            | Switch::Program(_)
            | Switch::Parent { .. }
            | Switch::Device(_) => &self.host,
        }
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
    /// A bridge of Open vSwitch, behind a Linux bridge of the interface's own on which Neutron's agent
    /// filters (`ovs_hybrid_plug`).
    Hybrid {
        /// The bridge's name.
        bridge: String,
        /// Who moves the bridge's packets.
        datapath: Datapath,
        /// What is between the host end and the bridge.
        filter: Filter,
    },
    /// A bridge of the kernel that is there.
    LinuxBridge {
        /// The bridge's name.
        bridge: IfName,
    },
    /// A bridge of the kernel that an agent makes, and wires the host end into.
    AgentBridge {
        /// The bridge's name.
        bridge: IfName,
    },
    /// Nothing: an agent finds the host end by its name and routes to it.
    Tap,
    /// What a program of the operator's makes of it.
    Program(Binding),
    /// An interface of this machine, which is shared: the machine is a guest, and what its own port may
    /// send is what the interface may. There is no host end.
    Parent {
        /// The interface.
        parent: IfName,
        /// How it is shared.
        sharing: Sharing,
    },
    /// Nothing: a device of an SR-IOV card goes into the container itself, and the card is the switch.
    /// There is no host end.
    Device(Device),
}

/// How an interface of this machine is shared with containers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sharing {
    /// Each container has a hardware address of its own.
    Macvlan,
    /// Containers have the interface's hardware address, and are told apart by their IP addresses.
    Ipvlan,
    /// Likewise, and this machine routes for them: neighbours must be told the way by their routes, as
    /// nobody answers for the containers' addresses.
    IpvlanL3,
    /// Each container's frames bear a VLAN id of its own on the interface: the switch beyond knows it as
    /// a port of its own.
    Vlan(u16),
}

impl Switch {
    /// The kernel's bridge that the host end is to be made a port of.
    pub(crate) fn joined(&self) -> Option<&IfName> {
        match self {
            Self::LinuxBridge { bridge } => Some(bridge),
            Self::Hybrid { filter, .. } => Some(&filter.bridge),
            Self::OpenVSwitch { .. }
            | Self::AgentBridge { .. }
            | Self::Tap
            | Self::Program(_)
            | Self::Parent { .. }
            | Self::Device(_) => None,
        }
    }

    /// The bridge's name; nothing where there is none that we know of.
    pub(crate) fn bridge(&self) -> &str {
        match self {
            Self::OpenVSwitch { bridge, .. } | Self::Hybrid { bridge, .. } => bridge,
            Self::LinuxBridge { bridge } | Self::AgentBridge { bridge } => bridge.as_str(),
            Self::Parent { parent, .. } => parent.as_str(),
            Self::Tap | Self::Program(_) | Self::Device(_) => "",
        }
    }
}

/// What is between a host end and Open vSwitch where an agent filters with iptables: a Linux bridge
/// for this interface alone, and a veth pair from it to the switch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter {
    /// The bridge.
    pub bridge: IfName,
    /// The pair's end that is a port of the bridge.
    pub near: IfName,
    /// The pair's end that is a port of Open vSwitch.
    pub far: IfName,
}

impl Filter {
    /// That of a Neutron port: `qbr`, `qvb` and `qvo` plus the port's id, cut to 14 characters. The
    /// agent's rules name these.
    pub fn of_port(port: &str) -> Result<Self, InvalidIfName> {
        Ok(Self {
            bridge: IfName::of_port("qbr", port)?,
            near: IfName::of_port("qvb", port)?,
            far: IfName::of_port("qvo", port)?,
        })
    }
}

/// What a program of the operator's is told of an interface that it is to bind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// The program's name: the port's `binding:vif_type`.
    pub program: ProgramName,
    /// The container end's address.
    pub mac: MacAddress,
    /// The Neutron network's id.
    pub network: String,
    /// The Neutron project's id.
    pub project: String,
    /// The port's `binding:vif_details`, as the programs have always been told them.
    pub details: String,
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

/// A bridge of the kernel to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bridge {
    /// Its name.
    pub name: IfName,
    /// What it is for, by which it is found again (`IFLA_IFALIAS`, at most 255 bytes).
    pub alias: String,
    /// Its own address: that of the gateway on it.
    pub mac: MacAddress,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// The gateways' addresses, each with its network's prefix; without one of IPv6, IPv6 is off.
    pub addresses: Vec<IpNet>,
}

/// A range of addresses that this host knows a way to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostRoute {
    /// The range.
    pub range: IpNet,
    /// The interface that the way begins with; none for ways by several.
    pub interface: Option<String>,
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
