//! What one object adds to the tables: elements of sets and maps.

use std::fmt;

use neutron_api::{IpVersion, SecurityGroupId};

/// The family of a table of ours.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// Sees frames, and which port of the bridge they come from.
    Bridge,
    /// Sees packets of both versions of IP, and of a bridged frame the bridge only.
    Inet,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Inet => "inet",
        })
    }
}

/// A set or a map of our tables; `script/tables.rs` declares them and uses them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Set {
    /// Taps that are held to their addresses.
    Taps,
    /// Taps that may advertise any address: they have a range of them.
    AnyTarget,
    /// Tap, MAC address (of the frame and of what it says), address: what ARP may say.
    Senders,
    /// The same with ranges.
    SenderRanges,
    /// Tap, MAC address, address: what may be sent from.
    Sources(IpVersion),
    /// The same with ranges.
    SourceRanges(IpVersion),
    /// Tap, address: what neighbour advertisements may be about.
    Targets,
    /// Our bridges.
    Bridges,
    /// Our bridges, each twice: a packet that stays on its bridge.
    Pairs,
    /// Our bridges with a gateway.
    Routed,
    /// Bridge, MAC address: ports with this one security group.
    From(SecurityGroupId),
    /// Bridge, address: the same ports.
    To(SecurityGroupId, IpVersion),
    /// Bridge, MAC address: where packets from another port go on.
    Egress,
    /// Bridge, address: where packets to another port go on.
    Ingress(IpVersion),
    /// The same with ranges.
    IngressRanges(IpVersion),
    /// Bridge, MAC address: ports that get whatever is sent to them on their bridge.
    Open,
    /// Ranges that are not known outside of this host.
    Subnets(IpVersion),
    /// Protocol, port of any address of this host: address and port of a container.
    Published(IpVersion),
    /// The same for one address of this host.
    PublishedAt(IpVersion),
    /// A container's address, twice: what it sends to itself by way of a published port.
    Hairpin(IpVersion),
    /// The addresses of a security group's ports.
    Members(SecurityGroupId, IpVersion),
}

impl Set {
    /// The table that it is in.
    pub fn family(self) -> Family {
        match self {
            Self::Taps
            | Self::AnyTarget
            | Self::Senders
            | Self::SenderRanges
            | Self::Sources(_)
            | Self::SourceRanges(_)
            | Self::Targets => Family::Bridge,
            Self::Bridges
            | Self::Pairs
            | Self::Routed
            | Self::From(_)
            | Self::To(..)
            | Self::Egress
            | Self::Ingress(_)
            | Self::IngressRanges(_)
            | Self::Open
            | Self::Subnets(_)
            | Self::Published(_)
            | Self::PublishedAt(_)
            | Self::Hairpin(_)
            | Self::Members(..) => Family::Inet,
        }
    }
}

impl Set {
    /// The group whose members it has; such a set is there only while a rule names the group.
    pub(crate) fn group(self) -> Option<SecurityGroupId> {
        if let Self::Members(group, _) = self {
            Some(group)
        } else {
            None
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taps => f.write_str("taps"),
            Self::AnyTarget => f.write_str("any_target"),
            Self::Senders => f.write_str("senders"),
            Self::SenderRanges => f.write_str("sender_ranges"),
            Self::Sources(ip) => write!(f, "sources{}", u8::from(*ip)),
            Self::SourceRanges(ip) => write!(f, "source_ranges{}", u8::from(*ip)),
            Self::Targets => f.write_str("targets"),
            Self::Bridges => f.write_str("bridges"),
            Self::Pairs => f.write_str("pairs"),
            Self::Routed => f.write_str("routed"),
            Self::From(group) => write!(f, "from_{}", plain(*group)),
            Self::To(group, ip) => write!(f, "to{}_{}", u8::from(*ip), plain(*group)),
            Self::Egress => f.write_str("from_port"),
            Self::Ingress(ip) => write!(f, "to_port{}", u8::from(*ip)),
            Self::IngressRanges(ip) => write!(f, "to_ranges{}", u8::from(*ip)),
            Self::Open => f.write_str("open"),
            Self::Subnets(ip) => write!(f, "subnets{}", u8::from(*ip)),
            Self::Published(ip) => write!(f, "published{}", u8::from(*ip)),
            Self::PublishedAt(ip) => write!(f, "published_at{}", u8::from(*ip)),
            Self::Hairpin(ip) => write!(f, "hairpin{}", u8::from(*ip)),
            Self::Members(group, ip) => {
                write!(f, "members{}_{}", u8::from(*ip), plain(*group))
            }
        }
    }
}

/// A group's id as nft's names may contain it.
pub(crate) fn plain(group: SecurityGroupId) -> String {
    group.to_string().replace('-', "")
}

/// An element of a set, or with a value of a map.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Element {
    /// The set or map.
    pub set: Set,
    /// The key, in nft's words.
    pub key: String,
    /// The value, in nft's words; empty in a set.
    pub value: String,
}

impl Element {
    pub(crate) fn new(set: Set, key: impl fmt::Display) -> Self {
        Self::valued(set, key, "")
    }

    pub(crate) fn valued(set: Set, key: impl fmt::Display, value: impl fmt::Display) -> Self {
        Self {
            set,
            key: key.to_string(),
            value: value.to_string(),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if !self.value.is_empty() {
            write!(f, " : {}", self.value)?;
        }
        Ok(())
    }
}
