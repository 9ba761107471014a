//! Security group rules: what they are, and the ones of a new group. How they are read: `read`; what
//! they must be like: `check`.

mod check;
mod read;

use ipnet::IpNet;
use neutron_api::{Direction, IpVersion, Protocol, SecurityGroupId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::body::{Attribute, Body, fixed, moment, settable, shown};
use crate::cloud::Cloud;
use crate::refusal::Refusal;
use crate::resource::{Resource, View};
use crate::security_group::SecurityGroup;
use crate::store::{Common, Key};

/// A rule as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct SecurityGroupRule {
    #[serde(flatten)]
    pub(crate) common: Common,
    pub(crate) security_group_id: SecurityGroupId,
    pub(crate) direction: Direction,
    pub(crate) ethertype: Ethertype,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) port_range_min: Option<u16>,
    pub(crate) port_range_max: Option<u16>,
    pub(crate) remote_ip_prefix: Option<IpNet>,
    pub(crate) remote_group_id: Option<SecurityGroupId>,
    /// Whether the group was made with it: Neutron gives such a rule no description at all.
    #[serde(default)]
    is_template: bool,
}

/// The version of IP, as rules spell it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Ethertype {
    IPv4,
    IPv6,
}

impl From<Ethertype> for IpVersion {
    fn from(ethertype: Ethertype) -> Self {
        match ethertype {
            Ethertype::IPv4 => Self::V4,
            Ethertype::IPv6 => Self::V6,
        }
    }
}

impl SecurityGroupRule {
    pub(crate) fn looked_up_by(&self) -> Vec<Key> {
        let remote = self.remote_group_id.map(Key::RuleFrom);
        [Key::RuleOf(self.security_group_id)]
            .into_iter()
            .chain(remote)
            .collect()
    }

    /// As clients read it.
    pub(crate) fn shown(&self) -> neutron_api::SecurityGroupRule {
        neutron_api::SecurityGroupRule {
            id: self.common.id.into(),
            security_group_id: self.security_group_id,
            direction: self.direction,
            ethertype: self.ethertype.into(),
            protocol: self.protocol.clone(),
            port_range_min: self.port_range_min,
            port_range_max: self.port_range_max,
            remote_ip_prefix: self.remote_ip_prefix,
            remote_group_id: self.remote_group_id,
            description: Some(self.common.description.clone()),
        }
    }

    /// The rules that a new group has: everything out, and into the default group what its members
    /// send each other.
    pub(crate) fn template(group: &SecurityGroup) -> Vec<Self> {
        let id = group.id();
        let from_members = group.is_default().then_some((Direction::Ingress, Some(id)));
        [Some((Direction::Egress, None)), from_members]
            .into_iter()
            .flatten()
            .flat_map(|(direction, remote_group_id)| {
                [Ethertype::IPv4, Ethertype::IPv6].map(|ethertype| Self {
                    common: Common::new("", "", &group.common.project_id),
                    security_group_id: id,
                    direction,
                    ethertype,
                    protocol: None,
                    port_range_min: None,
                    port_range_max: None,
                    remote_ip_prefix: None,
                    remote_group_id,
                    is_template: true,
                })
            })
            .collect()
    }
}

impl Resource for SecurityGroupRule {
    const ONE: &'static str = "security_group_rule";
    const MANY: &'static str = "security_group_rules";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("description").unsorted(),
        fixed("project_id"),
        fixed("tenant_id"),
        fixed("security_group_id"),
        fixed("direction"),
        fixed("ethertype"),
        fixed("protocol"),
        fixed("port_range_min"),
        fixed("port_range_max"),
        fixed("remote_ip_prefix"),
        fixed("remote_group_id"),
        shown("normalized_cidr")
            .of("security-groups-normalized-cidr")
            .unsorted(),
        shown("belongs_to_default_sg")
            .of("security-groups-rules-belongs-to-default-sg")
            .truth()
            .unsorted(),
        shown("tags").of("standard-attr-tag").unsorted(),
        moment("created_at"),
        moment("updated_at"),
        shown("revision_number")
            .of("standard-attr-revisions")
            .number()
            .unsorted(),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Security group rule {id} does not exist");
        Refusal::not_found("SecurityGroupRuleNotFound", message)
    }

    fn check_many(bodies: &[Body]) -> Result<(), Refusal> {
        let mut groups = bodies.iter().map(|body| body.sent("security_group_id"));
        let first = groups.next();
        if groups.all(|group| Some(group) == first) {
            return Ok(());
        }
        Err(Refusal::invalid(
            "SecurityGroupNotSingleGroupRules",
            "Only allowed to update rules for one security profile at a time",
        ))
    }

    fn create(cloud: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        let rule = Self {
            common,
            security_group_id: body.need("security_group_id")?,
            direction: read::direction(&mut body)?,
            ethertype: read::ethertype(&mut body)?,
            protocol: read::protocol(&mut body)?,
            port_range_min: read::port(&mut body, "port_range_min")?,
            port_range_max: read::port(&mut body, "port_range_max")?,
            remote_ip_prefix: read::prefix(&mut body)?,
            remote_group_id: body.or("remote_group_id", None)?,
            is_template: false,
        };
        let rule = rule.in_canonical_form()?;
        rule.check_ports()?;
        rule.check_ip_version()?;
        if rule.remote_ip_prefix.is_some() && rule.remote_group_id.is_some() {
            return Err(Refusal::invalid(
                "SecurityGroupMultipleRemoteEntites",
                "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
            ));
        }
        let groups = rule
            .remote_group_id
            .into_iter()
            .chain([rule.security_group_id]);
        for group in groups {
            if cloud.store.find::<SecurityGroup>(group).is_none() {
                return Err(SecurityGroup::missing(&group.to_string()));
            }
        }
        rule.check_duplicate(cloud)?;
        cloud.store.touch::<SecurityGroup>(rule.security_group_id);
        Ok(rule)
    }

    fn update(self, _: &Cloud, _: Body) -> Result<Self, Refusal> {
        Ok(self)
    }

    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal> {
        cloud.store.touch::<SecurityGroup>(self.security_group_id);
        Ok(())
    }

    fn key(attribute: &str, value: &str) -> Option<Key> {
        match attribute {
            "security_group_id" => value.parse().ok().map(Key::RuleOf),
            "remote_group_id" => value.parse().ok().map(Key::RuleFrom),
            _ => None,
        }
    }

    fn decorate(&self, cloud: &Cloud, view: &mut View) {
        view.remove("name");
        view.remove("is_template");
        if self.is_template && self.common.description.is_empty() {
            view.insert("description".into(), Value::Null);
        }
        let normalized = self.remote_ip_prefix.map(|prefix| prefix.trunc());
        view.insert("normalized_cidr".into(), json!(normalized));
        let group: Option<&SecurityGroup> = cloud.store.find(self.security_group_id);
        let in_default = group.is_some_and(SecurityGroup::is_default);
        view.insert("belongs_to_default_sg".into(), json!(in_default));
        view.insert("remote_address_group_id".into(), Value::Null);
    }
}
