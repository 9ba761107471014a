//! What is to be on this host, from what the embedded Neutron has: a pure function.

mod network;
mod port;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use neutron_api::{NetworkId, PortId, PortStatus, SecurityGroupId};
use neutron_embedded::{Objects, Snapshot};

use crate::element::{Element, Set};
use crate::group::{GroupPart, Groups};
use crate::settings::AgentSettings;
use kuryr_vif::{Bridge, InvalidIfName};

pub(crate) use network::alias_prefix;

pub use network::NetworkPart;
pub use port::PortPart;

/// The networks that have a bridge here, with the bridge as it was made; with none where it was
/// found, or lost, and not looked at since.
pub type Bridges = Objects<NetworkId, Option<Bridge>>;

/// What is to be on this host.
///
/// A part that has not changed since the model before is the same `Arc` in both.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// What it was made from; of nothing for one that was not.
    source: Snapshot,
    /// The networks that have a bridge here.
    pub networks: Objects<NetworkId, NetworkPart>,
    /// The security groups of the ports here.
    pub groups: BTreeMap<SecurityGroupId, Arc<GroupPart>>,
    /// The groups whose members' addresses rules of those name.
    pub remotes: BTreeSet<SecurityGroupId>,
    /// The sets of groups that ports have.
    pub sets: BTreeSet<Groups>,
    /// On how many networks ports have a set of groups.
    used: BTreeMap<Groups, usize>,
    /// What more than one port may add.
    pub shared: BTreeSet<Element>,
    /// The networks with ports that add such.
    sharing: BTreeSet<NetworkId>,
    /// Of `networks` those that the Neutron has no more. While there is a bridge its rules hold: what
    /// is still in it must not get out.
    pub(crate) leaving: BTreeSet<NetworkId>,
}

impl Model {
    /// The model of `snapshot` for the host of `settings`; `bridged` networks have a bridge already
    /// and keep it while they exist.
    ///
    /// # Errors
    /// A network or port whose id makes no name of an interface.
    pub fn of(
        snapshot: &Snapshot,
        settings: &AgentSettings,
        bridged: &Bridges,
        before: &Self,
    ) -> Result<Self, InvalidIfName> {
        let touched = snapshot.touched_since(&before.source);
        let mut model = match &touched {
            Some(_) => before.with_the_same_networks(),
            None => Self::default(),
        };
        model.source = snapshot.clone();
        let here = snapshot.ports.get(&settings.host);
        let mut ids = touched.unwrap_or_else(|| {
            let with_ports = here.into_iter().flat_map(|networks| networks.keys());
            with_ports.chain(bridged.keys()).copied().collect()
        });
        ids.extend(&before.leaving);
        for id in ids {
            let ports = here.and_then(|networks| networks.get(&id)).cloned();
            let is_wanted = ports.is_some() || bridged.contains_key(&id);
            let known = before.networks.get(&id);
            let source = match snapshot.networks.get(&id).filter(|_| is_wanted) {
                Some(network) => Some(network::Source {
                    network: Arc::clone(network),
                    subnets: snapshot.subnets.get(&id).cloned(),
                    ports,
                }),
                None if bridged.contains_key(&id) => known.map(|part| part.without_ports()),
                None => None,
            };
            if source.is_some() && !snapshot.networks.contains_key(&id) {
                model.leaving.insert(id);
            }
            let part = source.map(|source| NetworkPart::of(source, settings, known));
            model.put(id, part.transpose()?);
        }
        model.sets = model.used.keys().cloned().collect();
        if !model.networks.is_empty() {
            model.keep_sets(snapshot, before);
        }
        model.add_groups(snapshot, before);
        model.share();
        Ok(model)
    }

    fn with_the_same_networks(&self) -> Self {
        Self {
            networks: self.networks.clone(),
            used: self.used.clone(),
            sharing: self.sharing.clone(),
            ..Self::default()
        }
    }

    /// Puts a network in the place of the one that there was, or takes it away.
    fn put(&mut self, id: NetworkId, part: Option<Arc<NetworkPart>>) {
        let before = self.networks.get(&id).cloned();
        for set in before.iter().flat_map(|part| &part.sets) {
            if let Some(count) = self.used.get_mut(set) {
                *count -= 1;
            }
        }
        for set in part.iter().flat_map(|part| &part.sets) {
            *self.used.entry(set.clone()).or_default() += 1;
        }
        for set in before.iter().flat_map(|part| &part.sets) {
            if self.used.get(set) == Some(&0) {
                self.used.remove(set);
            }
        }
        self.sharing.remove(&id);
        match part {
            Some(part) => {
                if part.shares {
                    self.sharing.insert(id);
                }
                self.networks.insert_mut(id, part);
            }
            None => drop(self.networks.remove_mut(&id)),
        }
    }

    /// What it was made from.
    pub(crate) fn source(&self) -> &Snapshot {
        &self.source
    }

    /// All ports here, each with its network.
    pub fn ports(&self) -> impl Iterator<Item = (&Arc<NetworkPart>, &Arc<PortPart>)> {
        let networks = self.networks.values();
        networks.flat_map(|network| network.ports.values().map(move |port| (network, port)))
    }

    /// The port, if it is here on `network`.
    pub(crate) fn port_on(&self, network: NetworkId, id: PortId) -> Option<&Arc<PortPart>> {
        self.networks.get(&network)?.ports.get(&id)
    }

    /// The networks that can differ from those of `earlier`; none if any can.
    pub(crate) fn touched_since(&self, earlier: &Self) -> Option<BTreeSet<NetworkId>> {
        let mut touched = self.source.touched_since(&earlier.source)?;
        touched.extend(earlier.leaving.difference(&self.leaving));
        Some(touched)
    }

    /// The ports that forward, as the Neutron has it.
    pub(crate) fn active_ports(&self) -> impl Iterator<Item = PortId> {
        let active = self
            .ports()
            .filter(|(_, part)| part.source.status == PortStatus::Active);
        active.map(|(_, part)| part.id())
    }

    /// The chains of a group stay when its last port goes, until the group goes or the last network:
    /// the next port, often soon, is then a matter of elements only.
    fn keep_sets(&mut self, snapshot: &Snapshot, before: &Self) {
        let is_kept = |set: &&Groups| {
            let only = set.only();
            only.is_some_and(|id| snapshot.security_groups.contains_key(&id))
        };
        self.sets
            .extend(before.sets.iter().filter(is_kept).cloned());
    }

    fn add_groups(&mut self, snapshot: &Snapshot, before: &Self) {
        for id in self.sets.iter().flat_map(Groups::ids) {
            if self.groups.contains_key(&id) {
                continue;
            }
            let source = snapshot.security_groups.get(&id);
            let part = match before.groups.get(&id) {
                Some(part) if same(part.source.as_ref(), source) => Arc::clone(part),
                Some(_) | None => Arc::new(GroupPart::of(source)),
            };
            self.remotes.extend(part.remotes.iter().copied());
            self.groups.insert(id, part);
        }
    }

    /// Ports may share what pairs of addresses add, but what one port has of its own comes first.
    fn share(&mut self) {
        let with_pairs = self.sharing.iter().filter_map(|id| self.networks.get(id));
        let with_pairs = with_pairs.flat_map(|part| part.ports.values());
        let mut wanted = BTreeMap::<(Set, &str), &Element>::new();
        for element in with_pairs.flat_map(|part| &part.shared) {
            let key = (element.set, element.key.as_str());
            wanted.entry(key).or_insert(element);
        }
        if wanted.is_empty() {
            return;
        }
        let is_wanted = |element: &Element| wanted.contains_key(&(element.set, &element.key));
        let own = self.ports().flat_map(|(_, part)| part.own());
        let own = own.filter(is_wanted);
        let own: BTreeSet<(Set, String)> = own.map(|own| (own.set, own.key)).collect();
        let is_free = |element: &&&Element| !own.contains(&(element.set, element.key.clone()));
        let free = wanted
            .values()
            .filter(is_free)
            .map(|element| (*element).clone());
        self.shared = without_overlaps(&free.collect());
    }
}

/// Ranges in a set may not overlap: the widest stays.
fn without_overlaps(elements: &BTreeSet<Element>) -> BTreeSet<Element> {
    let range = |element: &Element| {
        let (bridge, range) = element.key.split_once(" . ")?;
        let range: ipnet::IpNet = range.parse().ok()?;
        matches!(element.set, Set::IngressRanges(_)).then(|| (bridge.to_owned(), range))
    };
    let ranges: Vec<_> = elements.iter().filter_map(range).collect();
    let is_in_another = |element: &Element| {
        range(element).is_some_and(|(bridge, net)| {
            let mut others = ranges.iter();
            others.any(|(on, wider)| *on == bridge && *wider != net && wider.contains(&net))
        })
    };
    let kept = elements.iter().filter(|element| !is_in_another(element));
    kept.cloned().collect()
}

/// Whether both are the same object, unchanged.
fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
