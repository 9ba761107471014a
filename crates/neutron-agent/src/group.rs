//! Security groups: the rules of each, and the sets of groups that ports have.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use neutron_api::{
    Direction, IpVersion, Protocol, SecurityGroup, SecurityGroupId, SecurityGroupRule,
};

use crate::element::{Set, plain};

/// The security groups of a port. Ports with the same ones share their chains.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Groups(Arc<[SecurityGroupId]>);

impl Groups {
    pub(crate) fn new(ids: &[SecurityGroupId]) -> Self {
        let sorted: BTreeSet<SecurityGroupId> = ids.iter().copied().collect();
        Self(sorted.into_iter().collect())
    }

    /// Which they are.
    pub fn ids(&self) -> impl Iterator<Item = SecurityGroupId> {
        self.0.iter().copied()
    }

    /// The group, if it is one alone.
    pub(crate) fn only(&self) -> Option<SecurityGroupId> {
        let mut ids = self.ids();
        ids.next().filter(|_| ids.next().is_none())
    }

    /// The name of their chain. No name is long enough for all ids that a port may have.
    pub(crate) fn chain(&self, direction: Direction) -> String {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        format!("{direction}_ports_{:016x}", hasher.finish())
    }

    /// The rules of their chain: what no group lets pass is dropped.
    pub(crate) fn rules(&self, direction: Direction) -> Vec<String> {
        let groups = self
            .ids()
            .map(|id| format!("jump {}", chain(id, direction)));
        groups.chain(["drop".to_owned()]).collect()
    }
}

/// The name of a group's chain.
pub(crate) fn chain(group: SecurityGroupId, direction: Direction) -> String {
    format!("{direction}_{}", plain(group))
}

/// The rules of one security group, in nft's words.
#[derive(Clone, Debug, Default)]
pub struct GroupPart {
    /// What they were made from; none if there is no such group.
    pub(crate) source: Option<Arc<SecurityGroup>>,
    pub(crate) ingress: Vec<String>,
    pub(crate) egress: Vec<String>,
    /// The groups whose members the rules name.
    pub(crate) remotes: BTreeSet<SecurityGroupId>,
}

impl GroupPart {
    pub(crate) fn of(source: Option<&Arc<SecurityGroup>>) -> Self {
        let mut part = Self {
            source: source.cloned(),
            ..Self::default()
        };
        for rule in source.iter().flat_map(|group| &group.rules) {
            part.remotes.extend(rule.remote_group_id);
            let Some(text) = Rule(rule).text() else {
                continue;
            };
            match rule.direction {
                Direction::Ingress => part.ingress.push(text),
                Direction::Egress => part.egress.push(text),
            }
        }
        part
    }

    pub(crate) fn rules(&self, direction: Direction) -> &[String] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

struct Rule<'a>(&'a SecurityGroupRule);

impl Rule<'_> {
    /// None when no packet can match.
    fn text(&self) -> Option<String> {
        let rule = self.0;
        let (family, header) = match rule.ethertype {
            IpVersion::V4 => ("ipv4", "ip"),
            IpVersion::V6 => ("ipv6", "ip6"),
        };
        let remote = match rule.direction {
            Direction::Ingress => "saddr",
            Direction::Egress => "daddr",
        };
        let mut words = vec![format!("meta nfproto {family}")];
        if let Some(prefix) = rule.remote_ip_prefix {
            if IpVersion::of(prefix.addr()) != rule.ethertype {
                return None;
            }
            // Any address: nothing to compare.
            if prefix.prefix_len() > 0 {
                words.push(format!("{header} {remote} {}", prefix.trunc()));
            }
        }
        if let Some(group) = rule.remote_group_id {
            let members = Set::Members(group, rule.ethertype);
            words.push(format!("{header} {remote} @{members}"));
        }
        words.extend(self.protocol());
        words.push("accept".to_owned());
        Some(words.join(" "))
    }

    fn protocol(&self) -> Option<String> {
        let rule = self.0;
        // 0 is "ip": any.
        let number = rule.protocol.as_ref().map(Protocol::number)?;
        let number = match (number, rule.ethertype) {
            (0, _) => return None,
            // Neutron takes "icmp" for the version's own.
            (Protocol::ICMP, IpVersion::V6) => Protocol::ICMP_V6,
            (other, _) => other,
        };
        let ports = match (rule.port_range_min, rule.port_range_max) {
            (None, None) => return Some(format!("meta l4proto {number}")),
            (Some(min), max) => (min, max),
            (None, Some(max)) => (0, Some(max)),
        };
        Some(match number {
            Protocol::ICMP => icmp("icmp", ports),
            Protocol::ICMP_V6 => icmp("icmpv6", ports),
            _ => Range {
                number,
                min: ports.0,
                max: ports.1.unwrap_or(ports.0),
            }
            .to_string(),
        })
    }
}

/// Neutron keeps ICMP's type and code where others have the range of ports.
fn icmp(header: &str, (kind, code): (u16, Option<u16>)) -> String {
    let code = code.map(|code| format!(" {header} code {code}"));
    format!("{header} type {kind}{}", code.unwrap_or_default())
}

struct Range {
    number: u8,
    min: u16,
    max: u16,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "meta l4proto {} th dport ", self.number)?;
        match (self.min, self.max) {
            (min, max) if min == max => write!(f, "{min}"),
            (min, max) => write!(f, "{min}-{max}"),
        }
    }
}
