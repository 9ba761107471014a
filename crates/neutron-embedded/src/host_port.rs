//! What the agent of a host must know of a port.

use std::net::IpAddr;

use neutron_api::{AddressPair, MacAddress, NetworkId, PortId, PortStatus, SecurityGroupId};
use serde_json::{Map, Value};

/// A port as the agent of its host sees it: what decides how it is plugged and what it may send.
///
/// Nothing else of it, such as its name: a host may have ten thousand, and the store has that already.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPort {
    /// Its identifier.
    pub id: PortId,
    /// The network that it is on.
    pub network_id: NetworkId,
    /// Its hardware address.
    pub mac_address: MacAddress,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it is plugged into its network's Linux bridge.
    pub is_bridged: bool,
    /// Whether it forwards.
    pub status: PortStatus,
    /// Whether it is meant to forward.
    pub admin_state_up: bool,
    /// Its security groups.
    pub security_groups: Vec<SecurityGroupId>,
    /// Addresses beside its own that it may send from.
    pub allowed_address_pairs: Vec<AddressPair>,
    /// Whether it is held to its addresses and its security groups.
    pub port_security_enabled: bool,
    /// What the host's side is told about it.
    pub binding_profile: Map<String, Value>,
}
