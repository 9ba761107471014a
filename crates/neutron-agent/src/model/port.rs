//! What one port adds to the tables.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use kuryr_vif::{Attachment, IfName, InvalidIfName, Switch, Vif};
use neutron_api::{Direction, IpVersion, MacAddress, PortId};
use neutron_embedded::HostPort;

use super::NetworkPart;
use crate::element::{Element, Set};
use crate::group::Groups;
use crate::published;

/// What one port adds to the tables.
#[derive(Clone, Debug)]
pub struct PortPart {
    /// What it was made from.
    pub(crate) source: Arc<HostPort>,
    bridge: IfName,
    /// Whether it and its network are to forward.
    up: bool,
    /// What others may add, too: allowed address pairs may be on many ports.
    pub(crate) shared: BTreeSet<Element>,
    /// Its security groups; none for a port that is not held to any.
    pub(crate) groups: Option<Groups>,
}

impl PortPart {
    /// Its interface on the bridge of `network`, for `owner`.
    ///
    /// # Errors
    /// A port whose id makes no name of an interface.
    pub fn vif(&self, network: &NetworkPart, owner: &str) -> Result<Vif, InvalidIfName> {
        Ok(Vif {
            attachment: attachment(&self.source, owner, &network.bridge.name)?,
            mac: self.source.mac_address.octets().into(),
            mtu: network.bridge.mtu,
        })
    }

    /// Which port it is.
    pub fn id(&self) -> PortId {
        self.source.id
    }

    /// Its addresses.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.source.addresses.clone()
    }
}

/// The attachment of a port to its bridge.
///
/// # Errors
/// A port's id that makes no name.
fn attachment(port: &HostPort, owner: &str, bridge: &IfName) -> Result<Attachment, InvalidIfName> {
    let switch = Switch::LinuxBridge {
        bridge: bridge.clone(),
    };
    Attachment::of_port(&port.id.to_string(), owner, switch)
}

impl PortPart {
    pub(crate) fn of(
        port: &Arc<HostPort>,
        bridge: &IfName,
        up: bool,
    ) -> Result<Self, InvalidIfName> {
        // Later on it is known to be one.
        attachment(port, "", bridge)?;
        let up = up && port.admin_state_up;
        let mut part = Self {
            source: Arc::clone(port),
            bridge: bridge.clone(),
            up,
            shared: BTreeSet::new(),
            groups: (port.port_security_enabled && up).then(|| Groups::new(&port.security_groups)),
        };
        part.shared = part.elements().shared;
        Ok(part)
    }

    /// What no other port adds. Not kept: of ten thousand ports it would be most of the memory.
    pub(crate) fn own(&self) -> BTreeSet<Element> {
        self.elements().own
    }

    fn elements(&self) -> Written {
        let Ok(attachment) = attachment(&self.source, "", &self.bridge) else {
            return Written::default();
        };
        let mut writer = Writer {
            port: &self.source,
            tap: attachment.host,
            bridge: &self.bridge,
            groups: self.groups.as_ref(),
            written: Written::default(),
        };
        let secured = self.source.port_security_enabled;
        if secured || !self.up {
            writer.own(Set::Taps, &writer.tap.to_string(), "");
        }
        // A port that is down is held to addresses that it has none of.
        if self.up {
            writer.verdicts();
            if secured {
                writer.sources();
                writer.pairs();
            }
            writer.published();
        }
        writer.written
    }
}

#[derive(Default)]
struct Written {
    own: BTreeSet<Element>,
    shared: BTreeSet<Element>,
}

struct Writer<'a> {
    port: &'a HostPort,
    tap: IfName,
    bridge: &'a IfName,
    groups: Option<&'a Groups>,
    written: Written,
}

impl Writer<'_> {
    fn own(&mut self, set: Set, key: &str, value: &str) {
        self.written.own.insert(Element::valued(set, key, value));
    }

    fn share(&mut self, set: Set, key: &str, value: &str) {
        self.written.shared.insert(Element::valued(set, key, value));
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.port.addresses.clone()
    }

    fn verdict(&self, direction: Direction) -> String {
        match self.groups {
            Some(groups) => format!("goto {}", groups.chain(direction)),
            None => "accept".to_owned(),
        }
    }

    fn verdicts(&mut self) {
        let (bridge, mac) = (self.bridge.clone(), self.port.mac_address);
        let mut addresses = self.addresses();
        addresses.push(link_local(mac).into());
        if let Some(group) = self.groups.and_then(Groups::only) {
            self.own(Set::From(group), &format!("{bridge} . {mac}"), "");
            for ip in addresses {
                let set = Set::To(group, IpVersion::of(ip));
                self.own(set, &format!("{bridge} . {ip}"), "");
            }
        } else {
            let egress = self.verdict(Direction::Egress);
            self.own(Set::Egress, &format!("{bridge} . {mac}"), &egress);
            let ingress = self.verdict(Direction::Ingress);
            for ip in addresses {
                let set = Set::Ingress(IpVersion::of(ip));
                self.own(set, &format!("{bridge} . {ip}"), &ingress);
            }
        }
        if self.groups.is_none() {
            self.own(Set::Open, &format!("{bridge} . {mac}"), "");
            return;
        }
        for group in &self.port.security_groups {
            for ip in self.addresses() {
                let set = Set::Members(*group, IpVersion::of(ip));
                self.own(set, &ip.to_string(), "");
            }
        }
    }

    fn sources(&mut self) {
        let mac = self.port.mac_address;
        for ip in self.addresses() {
            self.source(mac, ip);
        }
        // Looking for others that have the address, before it is its own (RFC 5227, RFC 4862).
        self.sender(mac, Ipv4Addr::UNSPECIFIED);
        let unspecified = format!("{} . {mac} . ::", self.tap);
        self.own(Set::Sources(IpVersion::V6), &unspecified, "");
        self.source(mac, link_local(mac).into());
    }

    fn source(&mut self, mac: MacAddress, ip: IpAddr) {
        let tap = self.tap.clone();
        let set = Set::Sources(IpVersion::of(ip));
        self.own(set, &format!("{tap} . {mac} . {ip}"), "");
        match ip {
            IpAddr::V4(ip) => self.sender(mac, ip),
            // nft has no name for the target of an advertisement, so that it is a number here.
            IpAddr::V6(ip) => self.own(
                Set::Targets,
                &format!("{tap} . 0x{:032x}", ip.to_bits()),
                "",
            ),
        }
    }

    fn sender(&mut self, mac: MacAddress, ip: Ipv4Addr) {
        let key = format!("{} . {mac} . {mac} . {ip}", self.tap);
        self.own(Set::Senders, &key, "");
    }

    fn pairs(&mut self) {
        let (tap, bridge) = (self.tap.clone(), self.bridge.clone());
        let (egress, ingress) = (
            self.verdict(Direction::Egress),
            self.verdict(Direction::Ingress),
        );
        let pairs: Vec<(MacAddress, IpNet)> = self
            .port
            .allowed_address_pairs
            .iter()
            .filter_map(|pair| {
                let mac = pair.mac_address.unwrap_or(self.port.mac_address);
                Some((mac, pair.range()?.trunc()))
            })
            .collect();
        for (mac, range) in &pairs {
            if *mac != self.port.mac_address {
                self.share(Set::Egress, &format!("{bridge} . {mac}"), &egress);
            }
            let (ip, version) = (range.addr(), IpVersion::of(range.addr()));
            if range.prefix_len() == range.max_prefix_len() {
                self.source(*mac, ip);
                self.share(Set::Ingress(version), &format!("{bridge} . {ip}"), &ingress);
                for group in &self.port.security_groups {
                    self.share(Set::Members(*group, version), &ip.to_string(), "");
                }
                continue;
            }
            let is_in = |(other, wider): &(MacAddress, IpNet)| {
                other == mac && wider != range && wider.contains(range)
            };
            // Ranges in a set may not overlap.
            if pairs.iter().any(is_in) {
                continue;
            }
            self.own(
                Set::SourceRanges(version),
                &format!("{tap} . {mac} . {range}"),
                "",
            );
            match version {
                IpVersion::V4 => {
                    let key = format!("{tap} . {mac} . {mac} . {range}");
                    self.own(Set::SenderRanges, &key, "");
                }
                IpVersion::V6 => self.own(Set::AnyTarget, tap.as_str(), ""),
            }
            self.share(
                Set::IngressRanges(version),
                &format!("{bridge} . {range}"),
                &ingress,
            );
        }
    }

    fn published(&mut self) {
        let addresses = self.addresses();
        for port in published::of_port(self.port) {
            let key = format!("{} . {}", port.transport, port.host_port);
            for version in [IpVersion::V4, IpVersion::V6] {
                let has = |ip: &&IpAddr| IpVersion::of(**ip) == version;
                let Some(container) = addresses.iter().find(has) else {
                    continue;
                };
                let value = format!("{container} . {}", port.container_port);
                match port.host_ip {
                    Some(ip) if IpVersion::of(ip) != version => continue,
                    Some(ip) if !ip.is_unspecified() => {
                        self.own(Set::PublishedAt(version), &format!("{ip} . {key}"), &value);
                    }
                    Some(_) | None => self.own(Set::Published(version), &key, &value),
                }
                let twice = format!("{container} . {container}");
                self.own(Set::Hairpin(version), &twice, "");
            }
        }
    }
}

/// The link-local address that a MAC address gives (RFC 4291, appendix A).
fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    let [a, b, c, d, e, f] = [a ^ 2, b, c, d, e, f].map(u16::from);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        a << 8 | b,
        c << 8 | 0xff,
        0xfe00 | d,
        e << 8 | f,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_gives_a_link_local_address() {
        let mac = "fa:16:3e:01:02:03".parse().unwrap();
        let want: Ipv6Addr = "fe80::f816:3eff:fe01:203".parse().unwrap();
        assert_eq!(link_local(mac), want);
    }
}
