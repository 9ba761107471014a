//! Security groups and their rules.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{IpVersion, Protocol, Resource, SecurityGroupId, SecurityGroupRuleId};

/// A set of rules for what may pass a port: what no rule allows is dropped.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SecurityGroup {
    /// Its identifier.
    pub id: SecurityGroupId,
    /// Its name, not unique.
    #[serde(default)]
    pub name: String,
    /// What it is for, for people.
    #[serde(default)]
    pub description: String,
    /// The project that it belongs to.
    #[serde(default)]
    pub project_id: String,
    /// Whether replies to what may pass may pass, too.
    #[serde(default = "yes")]
    pub stateful: bool,
    /// Its rules.
    #[serde(default, rename = "security_group_rules")]
    pub rules: Vec<SecurityGroupRule>,
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

impl Resource for SecurityGroup {
    type Id = SecurityGroupId;
    const ONE: &'static str = "security_group";
    const MANY: &'static str = "security_groups";
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "description",
        "project_id",
        "stateful",
        "security_group_rules",
        "tags",
        "revision_number",
    ];
    fn id(&self) -> SecurityGroupId {
        self.id
    }
}

/// A security group to be made. It comes with the rules that the cloud gives to every new group.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NewSecurityGroup {
    /// Its name.
    pub name: String,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// What to change in a security group.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SecurityGroupChange {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A new description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Which way a packet goes, as a port sees it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the port.
    Ingress,
    /// From the port.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// Something that may pass: a packet for which all that the rule names holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SecurityGroupRule {
    /// Its identifier.
    pub id: SecurityGroupRuleId,
    /// The group that it is in.
    pub security_group_id: SecurityGroupId,
    /// Which way the packet goes.
    pub direction: Direction,
    /// The version of IP that it is.
    #[serde(with = "ethertype")]
    pub ethertype: IpVersion,
    /// The protocol above IP; none means any.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// The lowest destination port; with ICMP the type. None means any.
    #[serde(default)]
    pub port_range_min: Option<u16>,
    /// The highest destination port; with ICMP the code. None means any.
    #[serde(default)]
    pub port_range_max: Option<u16>,
    /// Where the other end is; none means anywhere.
    #[serde(default)]
    pub remote_ip_prefix: Option<IpNet>,
    /// The other end is a port in this group; none means anything.
    #[serde(default)]
    pub remote_group_id: Option<SecurityGroupId>,
    /// What it is for, for people.
    #[serde(default)]
    pub description: Option<String>,
}

impl Resource for SecurityGroupRule {
    type Id = SecurityGroupRuleId;
    const ONE: &'static str = "security_group_rule";
    const MANY: &'static str = "security_group_rules";
    const FIELDS: &'static [&'static str] = &[
        "id",
        "security_group_id",
        "direction",
        "ethertype",
        "protocol",
        "port_range_min",
        "port_range_max",
        "remote_ip_prefix",
        "remote_group_id",
        "description",
    ];
    fn id(&self) -> SecurityGroupRuleId {
        self.id
    }
}

/// A rule to be made. A second one that says the same is refused (409).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NewSecurityGroupRule {
    /// The group that it is to be in.
    pub security_group_id: SecurityGroupId,
    /// Which way the packet goes.
    pub direction: Direction,
    /// The version of IP that it is; Neutron's own default is IPv4, whatever else the rule says.
    #[serde(with = "ethertype")]
    pub ethertype: IpVersion,
    /// The protocol above IP; none means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The lowest destination port; with ICMP the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_range_min: Option<u16>,
    /// The highest destination port; with ICMP the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_range_max: Option<u16>,
    /// Where the other end is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip_prefix: Option<IpNet>,
    /// The other end is a port in this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_group_id: Option<SecurityGroupId>,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// `IPv4` or `IPv6`.
mod ethertype {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::IpVersion;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(super) fn serialize<S: Serializer>(
        version: &IpVersion,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(version)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<IpVersion, D::Error> {
        let text = String::deserialize(deserializer)?;
        [IpVersion::V4, IpVersion::V6]
            .into_iter()
            .find(|version| version.to_string().eq_ignore_ascii_case(&text))
            .ok_or_else(|| de::Error::custom(format!("ethertype {text:?}, expected IPv4 or IPv6")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_group_is_read_with_its_rules() {
        let group: SecurityGroup = serde_json::from_value(json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "security_group_rules": [{
                "id": "00000000-0000-0000-0000-000000000002",
                "security_group_id": "00000000-0000-0000-0000-000000000001",
                "direction": "ingress",
                "ethertype": "IPv6",
                "protocol": "tcp",
                "port_range_min": 80,
                "port_range_max": 81,
                "remote_ip_prefix": "fd00::/64",
                "remote_group_id": null,
                "description": null,
            }],
        }))
        .unwrap();
        let [rule] = group.rules.as_slice() else {
            panic!("one rule")
        };
        assert!(group.stateful);
        assert_eq!(rule.ethertype, IpVersion::V6);
        assert_eq!(rule.protocol.as_ref().map(Protocol::number), Some(6));
        assert_eq!(
            (rule.port_range_min, rule.port_range_max),
            (Some(80), Some(81))
        );
    }
}
