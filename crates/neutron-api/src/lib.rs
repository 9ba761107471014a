//! What Neutron says on the wire: types, no I/O.
//!
//! Replies are read leniently: a field that the caller may not see (policy hides `binding:*` from
//! ordinary users) or that an old Neutron does not have is `None` or empty, never an error.
//! Requests are written strictly: a field that is not set is not sent, so Neutron's defaults hold.

mod agent;
mod fault;
mod floating_ip;
mod id;
mod mac;
mod network;
mod port;
mod protocol;
mod qos;
mod security;
mod subnet;
mod subnet_pool;
mod trunk;

pub use agent::Agent;
pub use fault::Fault;
pub use floating_ip::{FloatingIp, PortForwarding};
pub use id::{
    FloatingIpId, NetworkId, PortId, QosPolicyId, SecurityGroupId, SecurityGroupRuleId, SubnetId,
    SubnetPoolId, TrunkId,
};
pub use mac::{InvalidMacAddress, MacAddress};
pub use network::{Network, NetworkChange, NewNetwork, ProviderNetwork};
pub use port::{AddressPair, FixedIp, NewPort, Port, PortChange, PortStatus, VifDetails, WantedIp};
pub use protocol::{Protocol, UnknownProtocol};
pub use qos::{NewQosPolicy, QosPolicy, QosPolicyChange, QosRule};
pub use security::{
    Direction, NewSecurityGroup, NewSecurityGroupRule, SecurityGroup, SecurityGroupChange,
    SecurityGroupRule,
};
pub use subnet::{AllocationPool, HostRoute, IpVersion, NewSubnet, Subnet, SubnetChange};
pub use subnet_pool::{NewSubnetPool, SubnetPool, SubnetPoolChange};
pub use trunk::{NewTrunk, Subport, Trunk, TrunkChange};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind of object that Neutron keeps.
pub trait Resource: Serialize + DeserializeOwned {
    /// The identifier's type.
    type Id: std::fmt::Display + Copy + PartialEq + Send + Sync;
    /// The key that one object stands under in a body, such as `port`.
    const ONE: &'static str;
    /// The key that a list stands under, and the last part of its path, such as `ports`.
    const MANY: &'static str;
    /// What stands before that below `/v2.0/`, such as `qos/`: mostly nothing.
    const FOLDER: &'static str = "";
    /// The fields that this type reads, to be asked for by name: lists are long, objects are wide.
    const FIELDS: &'static [&'static str];
    /// The object's identifier.
    fn id(&self) -> Self::Id;
}

/// A request for an object to be made.
pub trait Create: Serialize + Sync {
    /// What is made.
    type Made: Resource;
    /// Its name, to be shown in errors.
    fn name(&self) -> &str;
}

/// A request for an object to be changed.
pub trait Change: Serialize + Sync {
    /// What is changed.
    type Changed: Resource;
}

macro_rules! requests {
    ($($new:ty, $change:ty => $resource:ty;)+) => {$(
        impl Create for $new {
            type Made = $resource;
            fn name(&self) -> &str {
                &self.name
            }
        }
        impl Change for $change {
            type Changed = $resource;
        }
    )+};
}

requests! {
    NewNetwork, NetworkChange => Network;
    NewSubnet, SubnetChange => Subnet;
    NewSubnetPool, SubnetPoolChange => SubnetPool;
    NewPort, PortChange => Port;
    NewQosPolicy, QosPolicyChange => QosPolicy;
    NewSecurityGroup, SecurityGroupChange => SecurityGroup;
    NewTrunk, TrunkChange => Trunk;
}

impl Create for NewSecurityGroupRule {
    type Made = SecurityGroupRule;
    fn name(&self) -> &str {
        &self.description
    }
}

/// An extension of Neutron's API, as `GET /v2.0/extensions` lists it.
#[derive(Clone, Debug, serde::Deserialize, Serialize)]
pub struct Extension {
    /// Its short name, such as `subnet_allocation`.
    pub alias: String,
}
