//! Ports.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{MacAddress, NetworkId, PortId, QosPolicyId, Resource, SecurityGroupId, SubnetId};

/// A place on a network: what a container's interface is plugged into.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Port {
    /// Its identifier.
    pub id: PortId,
    /// Its name, not unique.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The network that it is on.
    pub network_id: NetworkId,
    /// The project that it belongs to.
    #[serde(default)]
    pub project_id: String,
    /// Its hardware address.
    pub mac_address: MacAddress,
    /// Its addresses.
    #[serde(default)]
    pub fixed_ips: Vec<FixedIp>,
    /// Who uses it, such as an endpoint's identifier.
    #[serde(default)]
    pub device_id: String,
    /// What uses it, such as `compute:kuryr` or `network:dhcp`.
    #[serde(default)]
    pub device_owner: String,
    /// Whether it forwards.
    #[serde(default)]
    pub status: PortStatus,
    /// Whether it is meant to forward.
    #[serde(default)]
    pub admin_state_up: bool,
    /// The host that it is bound to; not there if policy hides it from us.
    #[serde(
        default,
        rename = "binding:host_id",
        skip_serializing_if = "Option::is_none"
    )]
    pub host_id: Option<String>,
    /// How it is to be plugged, such as `ovs`; not there if policy hides it from us.
    #[serde(
        default,
        rename = "binding:vif_type",
        skip_serializing_if = "Option::is_none"
    )]
    pub vif_type: Option<String>,
    /// More on how it is to be plugged.
    #[serde(
        default,
        rename = "binding:vif_details",
        skip_serializing_if = "Option::is_none"
    )]
    pub vif_details: Option<VifDetails>,
    /// What kind of interface it is meant for, such as `normal` or `direct`.
    #[serde(
        default,
        rename = "binding:vnic_type",
        skip_serializing_if = "Option::is_none"
    )]
    pub vnic_type: Option<String>,
    /// What the host's side is told about it; not there if policy hides it from us.
    #[serde(
        default,
        rename = "binding:profile",
        deserialize_with = "none_as_empty",
        skip_serializing_if = "Map::is_empty"
    )]
    pub binding_profile: Map<String, Value>,
    /// Its security groups.
    #[serde(default)]
    pub security_groups: Vec<SecurityGroupId>,
    /// Addresses beside its own that it may send from.
    #[serde(default)]
    pub allowed_address_pairs: Vec<AddressPair>,
    /// Whether it is held to its addresses and its security groups; absent where the extension
    /// `port-security` is, which means that it is.
    #[serde(default)]
    pub port_security_enabled: Option<bool>,
    /// Its name in DNS; absent where the extension `dns-integration` is, and null where that is
    /// listed and nothing does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
    /// Its own QoS policy; absent where the extension `qos` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_policy_id: Option<QosPolicyId>,
    /// Its network's QoS policy, which counts where it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_network_policy_id: Option<QosPolicyId>,
    /// Labels.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Counts changes, for `If-Match`.
    #[serde(default)]
    pub revision_number: Option<u64>,
}

impl Resource for Port {
    type Id = PortId;
    const ONE: &'static str = "port";
    const MANY: &'static str = "ports";
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "description",
        "network_id",
        "project_id",
        "mac_address",
        "fixed_ips",
        "device_id",
        "device_owner",
        "status",
        "admin_state_up",
        "binding:host_id",
        "binding:vif_type",
        "binding:vif_details",
        "binding:vnic_type",
        "binding:profile",
        "security_groups",
        "allowed_address_pairs",
        "port_security_enabled",
        "dns_name",
        "qos_policy_id",
        "qos_network_policy_id",
        "tags",
        "revision_number",
    ];
    fn id(&self) -> PortId {
        self.id
    }
}

fn none_as_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An address that a port has.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct FixedIp {
    /// The subnet that it is from.
    pub subnet_id: SubnetId,
    /// The address.
    pub ip_address: IpAddr,
}

/// An address, or a range of them, that a port may send from beside its own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AddressPair {
    /// The address or the range, as it was written: an address or a CIDR.
    pub ip_address: String,
    /// The hardware address that goes with it; none means the port's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<MacAddress>,
}

impl AddressPair {
    /// The range; none if it is no range at all.
    pub fn range(&self) -> Option<IpNet> {
        let address = || self.ip_address.parse::<IpAddr>().ok().map(IpNet::from);
        self.ip_address.parse().ok().or_else(address)
    }
}

/// Whether a port forwards.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PortStatus {
    /// It does.
    Active,
    /// It is being wired.
    Build,
    /// It does not.
    Down,
    /// It can't.
    Error,
    /// Something that we don't know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// How an interface is to be plugged; what we don't know is kept, for external programs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct VifDetails {
    /// The switch to plug into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge_name: Option<String>,
    /// `system` for the kernel's datapath, `netdev` for one in user space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datapath_type: Option<String>,
    /// Whether security groups need a Linux bridge before the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ovs_hybrid_plug: Option<bool>,
    /// The rest.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A port to be made. Most Neutrons drop tags here without a word: they are set afterwards.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct NewPort {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The network that it is to be on; must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_id: Option<NetworkId>,
    /// The addresses that it is to have; not sent means one of each of Neutron's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_ips: Option<Vec<WantedIp>>,
    /// The hardware address that it is to have; not sent means Neutron's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<MacAddress>,
    /// Who uses it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device_id: String,
    /// What uses it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device_owner: String,
    /// Whether it is meant to forward.
    pub admin_state_up: bool,
    /// The host to bind it to: the name of the agent there.
    #[serde(
        default,
        rename = "binding:host_id",
        skip_serializing_if = "Option::is_none"
    )]
    pub host_id: Option<String>,
    /// What kind of interface it is for; not sent means `normal`.
    #[serde(
        default,
        rename = "binding:vnic_type",
        skip_serializing_if = "Option::is_none"
    )]
    pub vnic_type: Option<String>,
    /// What the host's side is to be told about it.
    #[serde(
        default,
        rename = "binding:profile",
        skip_serializing_if = "Map::is_empty"
    )]
    pub binding_profile: Map<String, Value>,
    /// Its security groups; not sent means the project's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_groups: Option<Vec<SecurityGroupId>>,
    /// Addresses beside its own that it may send from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_address_pairs: Option<Vec<AddressPair>>,
    /// Whether it is held to its addresses and its security groups; refused where the extension
    /// `port-security` is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_security_enabled: Option<bool>,
    /// Its QoS policy; refused where the extension `qos` is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_policy_id: Option<QosPolicyId>,
    /// Its name in DNS; refused where the extension `dns-integration` is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
}

/// An address that a port is to have: any of a subnet, or this one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WantedIp {
    /// The subnet.
    pub subnet_id: SubnetId,
    /// The address, if it is to be a certain one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<IpAddr>,
}

impl From<FixedIp> for WantedIp {
    fn from(ip: FixedIp) -> Self {
        Self {
            subnet_id: ip.subnet_id,
            ip_address: Some(ip.ip_address),
        }
    }
}

/// What to change in a port; what is not set stays.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct PortChange {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New addresses, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_ips: Option<Vec<WantedIp>>,
    /// A new hardware address; refused while the port is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<MacAddress>,
    /// A new user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// A new kind of user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_owner: Option<String>,
    /// Whether it is meant to forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_state_up: Option<bool>,
    /// The host to bind it to; empty unbinds it.
    #[serde(
        default,
        rename = "binding:host_id",
        skip_serializing_if = "Option::is_none"
    )]
    pub host_id: Option<String>,
    /// New security groups, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_groups: Option<Vec<SecurityGroupId>>,
    /// Addresses beside its own that it may send from, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_address_pairs: Option<Vec<AddressPair>>,
    /// Whether it is held to its addresses and its security groups; refused where the extension
    /// `port-security` is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_security_enabled: Option<bool>,
    /// Its QoS policy; refused where the extension `qos` is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos_policy_id: Option<QosPolicyId>,
    /// Its name in DNS; refused where the extension `dns-integration` is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_whose_binding_is_hidden_is_still_a_port() {
        let text = r#"{
            "id": "00000000-0000-0000-0000-000000000001",
            "network_id": "00000000-0000-0000-0000-000000000002",
            "mac_address": "FA:16:3E:00:00:01",
            "status": "SOMETHING"
        }"#;
        let port: Port = serde_json::from_str(text).unwrap();
        assert_eq!((port.vif_type, port.status), (None, PortStatus::Unknown));
    }

    #[test]
    fn a_binding_profile_is_read_where_there_is_one() {
        let port = |profile: &str| -> Port {
            let text = format!(
                r#"{{
                    "id": "00000000-0000-0000-0000-000000000001",
                    "network_id": "00000000-0000-0000-0000-000000000002",
                    "mac_address": "fa:16:3e:00:00:01",
                    "binding:profile": {profile}
                }}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        assert!(port("null").binding_profile.is_empty());
        assert_eq!(port(r#"{"a": [1]}"#).binding_profile["a"][0], 1);
    }

    #[test]
    fn what_is_not_set_is_not_sent() {
        let change = PortChange {
            name: Some("a".into()),
            ..PortChange::default()
        };
        assert_eq!(serde_json::to_string(&change).unwrap(), r#"{"name":"a"}"#);
    }

    #[test]
    fn unknown_vif_details_are_kept() {
        let text = r#"{"bridge_name":"br-int","bound_drivers":{"0":"ovn"}}"#;
        let details: VifDetails = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&details).unwrap(), text);
    }
}
