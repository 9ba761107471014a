//! Networks.

use serde::{Deserialize, Serialize};

use crate::{NetworkId, Resource};

/// A network: one broadcast domain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Network {
    /// Its identifier.
    pub id: NetworkId,
    /// Its name, not unique.
    #[serde(default)]
    pub name: String,
    /// The project that it belongs to.
    #[serde(default)]
    pub project_id: String,
    /// The largest IP packet that fits, in bytes; absent where the extension `net-mtu` is.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Whether it is meant to forward.
    #[serde(default = "yes")]
    pub admin_state_up: bool,
    /// Whether other projects may use it.
    #[serde(default)]
    pub shared: bool,
    /// Labels.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Counts changes, for `If-Match`.
    #[serde(default)]
    pub revision_number: Option<u64>,
}

fn yes() -> bool {
    true
}

impl Resource for Network {
    type Id = NetworkId;
    const ONE: &'static str = "network";
    const MANY: &'static str = "networks";
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "project_id",
        "mtu",
        "admin_state_up",
        "shared",
        "tags",
        "revision_number",
    ];
    fn id(&self) -> NetworkId {
        self.id
    }
}

/// What a network is on, as administrators see it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProviderNetwork {
    /// Its identifier.
    pub id: NetworkId,
    /// How it is told from others, such as `vlan`; not there if policy hides it from us.
    #[serde(default, rename = "provider:network_type")]
    pub network_type: Option<String>,
    /// The physical network that it is on; none where it is on none, or if policy hides it from us.
    #[serde(default, rename = "provider:physical_network")]
    pub physical_network: Option<String>,
}

impl Resource for ProviderNetwork {
    type Id = NetworkId;
    const ONE: &'static str = "network";
    const MANY: &'static str = "networks";
    const FIELDS: &'static [&'static str] =
        &["id", "provider:network_type", "provider:physical_network"];
    fn id(&self) -> NetworkId {
        self.id
    }
}

/// A network to be made. Neutron refuses tags here: they are set afterwards.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it forwards packets.
    pub admin_state_up: bool,
    /// Whether other projects may use it; only administrators may say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

/// What to change in a network.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NetworkChange {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A new description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether other projects may use it from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
}
