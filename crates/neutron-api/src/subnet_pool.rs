//! Subnet pools.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{IpVersion, Resource, SubnetPoolId};

/// Ranges that subnets are taken from, without overlap.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SubnetPool {
    /// Its identifier.
    pub id: SubnetPoolId,
    /// Its name, not unique.
    #[serde(default)]
    pub name: String,
    /// The project that it belongs to.
    #[serde(default)]
    pub project_id: String,
    /// The ranges.
    #[serde(default)]
    pub prefixes: Vec<IpNet>,
    /// The version of its addresses.
    pub ip_version: IpVersion,
    /// How long the prefix of a subnet is that does not say, in bits.
    #[serde(default, deserialize_with = "number_or_text")]
    pub default_prefixlen: Option<u8>,
    /// Whether other projects may use it.
    #[serde(default)]
    pub shared: bool,
    /// Whether it is the default for its IP version.
    #[serde(default)]
    pub is_default: bool,
    /// Labels.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl Resource for SubnetPool {
    type Id = SubnetPoolId;
    const ONE: &'static str = "subnetpool";
    const MANY: &'static str = "subnetpools";
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "project_id",
        "prefixes",
        "ip_version",
        "default_prefixlen",
        "shared",
        "is_default",
        "tags",
    ];
    fn id(&self) -> SubnetPoolId {
        self.id
    }
}

/// A subnet pool to be made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NewSubnetPool {
    /// Its name.
    pub name: String,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The ranges.
    pub prefixes: Vec<IpNet>,
    /// How long the prefix of a subnet is that does not say, in bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_prefixlen: Option<u8>,
    /// The shortest prefix that a subnet may have, in bits: the largest subnet.
    ///
    /// Neutron's own default is 8 or 64, which a wider range than that would not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_prefixlen: Option<u8>,
}

/// What to change in a subnet pool.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SubnetPoolChange {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Neutron has written prefix lengths as numbers and as strings.
fn number_or_text<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u8>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u8),
        Text(String),
    }
    match Option::<Either>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Either::Number(length)) => Ok(Some(length)),
        Some(Either::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_length_is_read_as_a_number_or_a_string() {
        for length in ["24", "\"24\""] {
            let text = format!(
                r#"{{"id": "00000000-0000-0000-0000-000000000001", "ip_version": 4, "default_prefixlen": {length}}}"#
            );
            let pool: SubnetPool = serde_json::from_str(&text).unwrap();
            assert_eq!(pool.default_prefixlen, Some(24));
        }
    }
}
