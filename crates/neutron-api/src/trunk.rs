//! Trunks: a port that carries other networks beside its own, told apart by VLAN ids.

use serde::{Deserialize, Serialize};

use crate::{PortId, Resource, TrunkId};

/// A port, such as a virtual machine's, with the ports that are reached by way of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trunk {
    /// Its identifier.
    pub id: TrunkId,
    /// Its name, not unique.
    #[serde(default)]
    pub name: String,
    /// The port that carries it.
    pub port_id: PortId,
    /// Whether its subports may be changed.
    #[serde(default)]
    pub admin_state_up: bool,
    /// The ports that are reached by way of it.
    #[serde(default)]
    pub sub_ports: Vec<Subport>,
}

impl Resource for Trunk {
    type Id = TrunkId;
    const ONE: &'static str = "trunk";
    const MANY: &'static str = "trunks";
    const FIELDS: &'static [&'static str] =
        &["id", "name", "port_id", "admin_state_up", "sub_ports"];
    fn id(&self) -> TrunkId {
        self.id
    }
}

/// A port that is reached by way of a trunk.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Subport {
    /// The port.
    pub port_id: PortId,
    /// How its packets are told from others: so far `vlan` alone.
    pub segmentation_type: String,
    /// The VLAN id of its packets on the trunk.
    pub segmentation_id: u16,
}

impl Subport {
    /// The VLAN ids that there are.
    pub const IDS: std::ops::RangeInclusive<u16> = 1..=4094;

    /// A subport that is told from others by a VLAN id.
    pub fn tagged(port_id: PortId, vlan: u16) -> Self {
        Self {
            port_id,
            segmentation_type: "vlan".to_owned(),
            segmentation_id: vlan,
        }
    }
}

/// A trunk to be made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NewTrunk {
    /// Its name.
    pub name: String,
    /// The port that is to carry it.
    pub port_id: PortId,
    /// The ports that are to be reached by way of it from the start.
    #[serde(default)]
    pub sub_ports: Vec<Subport>,
}

/// What to change in a trunk; what is not set stays.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrunkChange {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether its subports may be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_state_up: Option<bool>,
}
