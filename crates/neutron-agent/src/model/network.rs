//! What one network adds: its bridge, and its ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use kuryr_vif::{Bridge, IfName, InvalidIfName};
use neutron_api::{Network, NetworkId, PortId, Subnet};
use neutron_embedded::{HostPort, Objects, bridge_name};

use super::{PortPart, same};
use crate::element::{Element, Set};
use crate::group::Groups;
use crate::settings::AgentSettings;

/// What a part is made from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) network: Arc<Network>,
    /// None: it has no subnets.
    pub(crate) subnets: Option<Arc<Vec<Arc<Subnet>>>>,
    /// None: no port of it is here.
    pub(crate) ports: Option<Arc<Objects<PortId, HostPort>>>,
}

impl Source {
    fn is_same(&self, other: &Self) -> bool {
        self.is_same_but_for_ports(other) && same(self.ports.as_ref(), other.ports.as_ref())
    }

    fn is_same_but_for_ports(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.network, &other.network)
            && same(self.subnets.as_ref(), other.subnets.as_ref())
    }

    fn subnets(&self) -> impl Iterator<Item = &Arc<Subnet>> {
        self.subnets.iter().flat_map(|subnets| subnets.iter())
    }
}

/// What one network adds.
#[derive(Clone, Debug)]
pub struct NetworkPart {
    source: Source,
    /// Its bridge.
    pub bridge: Bridge,
    /// What the network itself adds to the tables.
    pub(crate) own: BTreeSet<Element>,
    /// Its ports here.
    pub(crate) ports: BTreeMap<PortId, Arc<PortPart>>,
    /// The sets of security groups that its ports have.
    pub(crate) sets: BTreeSet<Groups>,
    /// Whether a port of it adds what others may add, too.
    pub(crate) shares: bool,
}

impl NetworkPart {
    pub(crate) fn of(
        source: Source,
        settings: &AgentSettings,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, InvalidIfName> {
        if let Some(before) = before.filter(|before| before.source.is_same(&source)) {
            return Ok(Arc::clone(before));
        }
        let before = before.filter(|before| before.source.is_same_but_for_ports(&source));
        let bridge = bridge(&source, settings)?;
        let mut ports = BTreeMap::new();
        let of_network = source.ports.iter().flat_map(|ports| ports.values());
        for port in of_network.filter(|port| port.is_bridged) {
            let known = before.and_then(|before| before.ports.get(&port.id));
            let part = match known.filter(|part| Arc::ptr_eq(&part.source, port)) {
                Some(part) => Arc::clone(part),
                None => {
                    let up = source.network.admin_state_up;
                    Arc::new(PortPart::of(port, &bridge.name, up)?)
                }
            };
            ports.insert(port.id, part);
        }
        // Most ports have the same ones.
        let groups = ports.values().filter_map(|part| part.groups.as_ref());
        let groups: BTreeSet<&Groups> = groups.collect();
        Ok(Arc::new(Self {
            sets: groups.into_iter().cloned().collect(),
            own: elements(&source, &bridge.name),
            shares: ports.values().any(|part| !part.shared.is_empty()),
            bridge,
            ports,
            source,
        }))
    }

    /// What it was made from, when its last port has gone.
    pub(super) fn without_ports(&self) -> Source {
        Source {
            ports: None,
            ..self.source.clone()
        }
    }

    /// The network.
    pub(crate) fn id(&self) -> NetworkId {
        self.source.network.id
    }
}

/// What the alias of a network's bridge begins with: by that it is found again.
pub(crate) fn alias_prefix(settings: &AgentSettings) -> String {
    format!("{} network ", settings.table)
}

fn bridge(source: &Source, settings: &AgentSettings) -> Result<Bridge, InvalidIfName> {
    let network = &source.network;
    let gateways = source.subnets().filter_map(|subnet| {
        let gateway = subnet.gateway_ip?;
        IpNet::new(gateway, subnet.cidr.prefix_len()).ok()
    });
    Ok(Bridge {
        name: bridge_name(network.id).parse()?,
        alias: format!("{}{}", alias_prefix(settings), network.id),
        mac: mac(network.id).into(),
        mtu: network.mtu.unwrap_or(1500),
        addresses: gateways.collect(),
    })
}

/// A MAC address that stays the same when the bridge is made again: containers remember it.
fn mac(network: NetworkId) -> [u8; 6] {
    let digits = network.to_string().replace('-', "");
    let octet = |at: usize| {
        let two = digits.get(at..at + 2).unwrap_or_default();
        u8::from_str_radix(two, 16).unwrap_or_default()
    };
    // Locally administered, unicast.
    [0x02, octet(0), octet(2), octet(4), octet(6), octet(8)]
}

fn elements(source: &Source, bridge: &IfName) -> BTreeSet<Element> {
    let mut elements = BTreeSet::from([
        Element::new(Set::Bridges, bridge),
        Element::new(Set::Pairs, format!("{bridge} . {bridge}")),
    ]);
    for subnet in source.subnets() {
        if subnet.gateway_ip.is_some() {
            elements.insert(Element::new(Set::Routed, bridge));
            let set = Set::Subnets(subnet.ip_version());
            elements.insert(Element::new(set, subnet.cidr.trunc()));
        }
    }
    elements
}
