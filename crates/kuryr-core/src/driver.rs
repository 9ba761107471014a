//! The ways in which this host plugs ports, of which a network may have another than the host.

use std::fmt;
use std::str::FromStr;

use kuryr_vif::{IfName, Sharing};
use neutron_api::MacAddress;
use serde::{Deserialize, Serialize};

/// How a port is plugged.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// As Neutron binds it to this host.
    Veth,
    /// By way of the port of the guest that this host is, with a hardware address of its own.
    Macvlan,
    /// Likewise, with the guest's hardware address.
    Ipvlan,
    /// Likewise, on a network that is routed to the guest.
    #[serde(rename = "ipvlan_l3")]
    IpvlanL3,
    /// As a subport of the trunk that the guest's port carries.
    Vlan,
    /// As Neutron binds it to this host, and it binds it to a virtual function of a card.
    #[serde(rename = "hw_veb")]
    HwVeb,
}

/// The drivers of this host.
#[derive(Clone, Debug)]
pub struct Drivers {
    /// Where a network names none.
    pub default: Driver,
    /// Those that a network may name.
    pub enabled: Vec<Driver>,
    /// The interfaces by which a guest may reach its networks.
    pub interfaces: Vec<(IfName, MacAddress)>,
    /// The cards whose virtual functions are ours to give, with the physical networks that they are on.
    pub cards: Vec<(String, IfName)>,
}

impl Default for Drivers {
    fn default() -> Self {
        Self {
            default: Driver::Veth,
            enabled: vec![Driver::Veth],
            interfaces: Vec::new(),
            cards: Vec::new(),
        }
    }
}

impl Driver {
    const ALL: [Self; 6] = [
        Self::Veth,
        Self::Macvlan,
        Self::Ipvlan,
        Self::IpvlanL3,
        Self::Vlan,
        Self::HwVeb,
    ];

    /// Whether it goes by way of the port of the guest that this host is.
    pub fn is_in_guest(self) -> bool {
        match self {
            Self::Veth | Self::HwVeb => false,
            Self::Macvlan | Self::Ipvlan | Self::IpvlanL3 | Self::Vlan => true,
        }
    }

    /// How containers share what the guest's port may send; none where they have ports that count.
    pub(crate) fn sharing(self) -> Option<Sharing> {
        match self {
            Self::Veth | Self::Vlan | Self::HwVeb => None,
            Self::Macvlan => Some(Sharing::Macvlan),
            Self::Ipvlan => Some(Sharing::Ipvlan),
            Self::IpvlanL3 => Some(Sharing::IpvlanL3),
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Veth => "veth",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::IpvlanL3 => "ipvlan_l3",
            Self::Vlan => "vlan",
            Self::HwVeb => "hw_veb",
        })
    }
}

impl FromStr for Driver {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        // What the port driver is called.
        let name = if name == "sriov" { "hw_veb" } else { name };
        Self::ALL
            .into_iter()
            .find(|driver| driver.to_string() == name)
            .ok_or(UnknownDriver)
    }
}

/// There is no such driver.
#[derive(Debug)]
pub struct UnknownDriver;
