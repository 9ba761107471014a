//! Subnets.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{NetworkId, Resource, SubnetId, SubnetPoolId};

/// The version of the Internet Protocol; 4 or 6 on the wire.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// The version of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl TryFrom<u8> for IpVersion {
    type Error = String;

    fn try_from(version: u8) -> Result<Self, Self::Error> {
        match version {
            4 => Ok(Self::V4),
            6 => Ok(Self::V6),
            other => Err(format!("IP version {other}, expected 4 or 6")),
        }
    }
}

impl From<IpVersion> for u8 {
    fn from(version: IpVersion) -> Self {
        match version {
            IpVersion::V4 => 4,
            IpVersion::V6 => 6,
        }
    }
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IPv{}", u8::from(*self))
    }
}

/// A range of addresses on a network.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Subnet {
    /// Its identifier.
    pub id: SubnetId,
    /// Its name, not unique.
    #[serde(default)]
    pub name: String,
    /// The network that it is on.
    pub network_id: NetworkId,
    /// The project that it belongs to.
    #[serde(default)]
    pub project_id: String,
    /// Its address range.
    pub cidr: IpNet,
    /// Where packets for the rest of the world go; none for an isolated subnet.
    #[serde(default)]
    pub gateway_ip: Option<IpAddr>,
    /// Whether Neutron's DHCP serves it.
    #[serde(default)]
    pub enable_dhcp: bool,
    /// Routes that its ports should have beside the gateway.
    #[serde(default)]
    pub host_routes: Vec<HostRoute>,
    /// The ranges that addresses are taken from when none is asked for.
    #[serde(default)]
    pub allocation_pools: Vec<AllocationPool>,
    /// The pool that its range was taken from.
    #[serde(default)]
    pub subnetpool_id: Option<SubnetPoolId>,
    /// Labels.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Counts changes, for `If-Match`.
    #[serde(default)]
    pub revision_number: Option<u64>,
}

impl Subnet {
    /// The version of its addresses.
    pub fn ip_version(&self) -> IpVersion {
        IpVersion::of(self.cidr.addr())
    }
}

impl Resource for Subnet {
    type Id = SubnetId;
    const ONE: &'static str = "subnet";
    const MANY: &'static str = "subnets";
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "network_id",
        "project_id",
        "cidr",
        "gateway_ip",
        "enable_dhcp",
        "host_routes",
        "allocation_pools",
        "subnetpool_id",
        "tags",
        "revision_number",
    ];
    fn id(&self) -> SubnetId {
        self.id
    }
}

/// A route for the ports of a subnet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HostRoute {
    /// Where to.
    pub destination: IpNet,
    /// By way of.
    pub nexthop: IpAddr,
}

/// A range of addresses, both ends included.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AllocationPool {
    /// The first address.
    pub start: IpAddr,
    /// The last address.
    pub end: IpAddr,
}

/// A subnet to be made.
///
/// With a pool and no `cidr`, Neutron takes the range from the pool.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct NewSubnet {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The network that it is to be on.
    pub network_id: NetworkId,
    /// The version of its addresses.
    pub ip_version: IpVersion,
    /// Its range, if it is to be a certain one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<IpNet>,
    /// The pool to take the range from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnetpool_id: Option<SubnetPoolId>,
    /// The gateway: not sent (Neutron takes the first address), none at all, or this one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "explicit_null"
    )]
    pub gateway_ip: Option<Option<IpAddr>>,
    /// The ranges that addresses are taken from; not sent means all but the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_pools: Option<Vec<AllocationPool>>,
    /// Whether Neutron's DHCP serves it.
    pub enable_dhcp: bool,
}

/// What to change in a subnet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SubnetChange {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A new gateway, or none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "explicit_null"
    )]
    pub gateway_ip: Option<Option<IpAddr>>,
}

/// Tells "not there" from `null`.
mod explicit_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .as_ref()
            .and_then(Option::as_ref)
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_gateway_and_neutrons_choice_of_one_differ_on_the_wire() {
        let mut change = SubnetChange::default();
        assert_eq!(serde_json::to_string(&change).unwrap(), "{}");
        change.gateway_ip = Some(None);
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(text, r#"{"gateway_ip":null}"#);
        assert_eq!(serde_json::from_str::<SubnetChange>(&text).unwrap(), change);
    }
}
