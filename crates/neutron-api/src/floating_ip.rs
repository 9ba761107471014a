//! Floating IPs: addresses outside that lead to ports.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{FloatingIpId, PortId, Resource};

/// An address outside, and the port that it leads to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FloatingIp {
    /// Its identifier.
    pub id: FloatingIpId,
    /// The port that it leads to, if any.
    #[serde(default)]
    pub port_id: Option<PortId>,
    /// Where single ports of it lead; absent where the extension `expose-port-forwarding-in-fip` is.
    #[serde(default)]
    pub port_forwardings: Vec<PortForwarding>,
}

/// Where a port of a floating IP leads.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PortForwarding {
    /// The address of a Neutron port.
    pub internal_ip_address: IpAddr,
}

impl Resource for FloatingIp {
    type Id = FloatingIpId;
    const ONE: &'static str = "floatingip";
    const MANY: &'static str = "floatingips";
    const FIELDS: &'static [&'static str] = &["id", "port_id", "port_forwardings"];
    fn id(&self) -> FloatingIpId {
        self.id
    }
}
