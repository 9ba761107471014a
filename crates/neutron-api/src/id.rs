//! Identifiers, one type for each kind of object, so that none is taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(id: &str) -> Result<Self, Self::Err> {
                id.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// A floating IP.
    FloatingIpId,
    /// A network.
    NetworkId,
    /// A port.
    PortId,
    /// A QoS policy.
    QosPolicyId,
    /// A security group.
    SecurityGroupId,
    /// A rule of a security group.
    SecurityGroupRuleId,
    /// A subnet.
    SubnetId,
    /// A subnet pool.
    SubnetPoolId,
    /// A trunk.
    TrunkId,
}
