//! Agents: Neutron's hands on hosts.

use serde::{Deserialize, Serialize};

use crate::Resource;

/// A program of Neutron's, or OVN's chassis, on a host.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Agent {
    /// The host that it is on, by the name that ports are bound with.
    #[serde(default)]
    pub host: String,
    /// Whether it was heard of lately.
    #[serde(default)]
    pub alive: bool,
}

/// To be listed by host: a host has few, so no list of them goes over several pages.
impl Resource for Agent {
    /// None is kept: that of OVN's chassis is no UUID but a name.
    type Id = &'static str;
    const ONE: &'static str = "agent";
    const MANY: &'static str = "agents";
    const FIELDS: &'static [&'static str] = &["host", "alive"];
    fn id(&self) -> &'static str {
        ""
    }
}
