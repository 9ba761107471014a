//! All that an agent must know, as it is at one moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use neutron_api::{Network, NetworkId, PortId, SecurityGroup, SecurityGroupId, Subnet, SubnetId};
use rpds::RedBlackTreeMapSync;

use crate::host_port::HostPort;
use crate::port::Port;
use crate::security_group;
use crate::store::{Change, Object, Store};

/// Objects of one kind, by their identifiers.
///
/// What has not changed from one snapshot to the next is the same `Arc` in both.
pub type Objects<I, T> = RedBlackTreeMapSync<I, Arc<T>>;

/// The subnets of each network, in the order of their identifiers; a network without any is not there.
pub type Subnets = RedBlackTreeMapSync<NetworkId, Arc<Vec<Arc<Subnet>>>>;

/// The ports of one host, by their network; a network without ports is not there.
///
/// Where none has changed from one snapshot to the next, all are the same `Arc` in both.
pub type HostPorts = RedBlackTreeMapSync<NetworkId, Arc<Objects<PortId, HostPort>>>;

/// Everything that there is at one moment. Taking and keeping one costs next to nothing, however
/// much there is: it shares with the next one what has not changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The networks.
    pub networks: Objects<NetworkId, Network>,
    /// Their subnets.
    pub subnets: Subnets,
    /// By their host and network, the ports that are bound to a host or were to be.
    pub ports: BTreeMap<String, HostPorts>,
    /// The security groups, with their rules.
    pub security_groups: Objects<SecurityGroupId, SecurityGroup>,
    touched: Touched,
}

/// The networks that the latest changes were about, theirs and those of their subnets and ports;
/// of what a port is to its host.
#[derive(Clone, Debug, Default)]
struct Touched {
    /// How many changes there have been.
    count: u64,
    latest: Arc<VecDeque<NetworkId>>,
}

/// How many of the latest changes are remembered.
const REMEMBERED: usize = 256;

impl PartialEq for Touched {
    /// How it came about is no part of what there is.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Touched {
    fn note(&mut self, network: NetworkId) {
        self.count += 1;
        let latest = Arc::make_mut(&mut self.latest);
        if latest.len() == REMEMBERED {
            latest.pop_front();
        }
        latest.push_back(network);
    }
}

impl Snapshot {
    /// The networks that have changed since `earlier`, themselves, their subnets or their ports;
    /// none if too much has changed to know.
    pub fn touched_since(&self, earlier: &Self) -> Option<BTreeSet<NetworkId>> {
        let changes = self.touched.count.checked_sub(earlier.touched.count)?;
        let changes = usize::try_from(changes).ok()?;
        let known = earlier.touched.count > 0 && changes <= self.touched.latest.len();
        let latest = self.touched.latest.iter().rev().take(changes);
        known.then(|| latest.copied().collect())
    }

    /// The ports that are bound to a host, or were to be.
    pub fn ports_on(&self, host: &str) -> impl Iterator<Item = &Arc<HostPort>> {
        let networks = self.ports.get(host).into_iter();
        networks
            .flat_map(|networks| networks.values())
            .flat_map(|ports| ports.values())
    }

    /// Takes over what has changed; `store` has changed already.
    pub(crate) fn note(&mut self, changes: &[Change], store: &Store) {
        // A group has its rules in it: it is read once, however many of them have changed.
        let mut groups = BTreeSet::new();
        for change in changes {
            let is_there = change.after.is_some();
            let Some(object) = change.after.as_ref().or(change.before.as_ref()) else {
                continue;
            };
            match object {
                Object::Network(network) => {
                    self.touched.note(network.id());
                    let shown = is_there.then(|| network.shown());
                    put(&mut self.networks, network.id(), shown);
                }
                Object::Subnet(subnet) => {
                    self.touched.note(subnet.network_id);
                    let shown = is_there.then(|| subnet.shown());
                    self.put_subnet((subnet.network_id, subnet.id()), shown);
                }
                Object::Port(port) => {
                    if let Some(Object::Port(before)) = &change.before {
                        if is_there && before.is_same_on_host(port) {
                            continue;
                        }
                        self.drop_port(before);
                    }
                    self.touched.note(port.network_id);
                    if is_there {
                        self.take_port(port);
                    }
                }
                Object::SecurityGroup(group) => drop(groups.insert(group.id())),
                Object::SecurityGroupRule(rule) => drop(groups.insert(rule.security_group_id)),
                Object::SubnetPool(_)
                | Object::QosPolicy(_)
                | Object::Quota(_)
                | Object::Trunk(_) => {}
            }
        }
        for id in groups {
            let group = store.find::<security_group::SecurityGroup>(id);
            let shown = group.map(|group| group.shown(store));
            put(&mut self.security_groups, id, shown);
        }
    }

    fn put_subnet(&mut self, (network, id): (NetworkId, SubnetId), shown: Option<Subnet>) {
        let mut subnets = self.subnets.get(&network).cloned().unwrap_or_default();
        let kept = Arc::make_mut(&mut subnets);
        kept.retain(|subnet| subnet.id != id);
        if let Some(shown) = shown {
            let at = kept.partition_point(|subnet| subnet.id < id);
            kept.insert(at, Arc::new(shown));
        }
        if kept.is_empty() {
            self.subnets.remove_mut(&network);
        } else {
            self.subnets.insert_mut(network, subnets);
        }
    }

    fn take_port(&mut self, port: &Port) {
        if port.host().is_empty() {
            return;
        }
        let networks = self.ports.entry(port.host().to_owned()).or_default();
        let mut ports = networks.get(&port.network_id).cloned().unwrap_or_default();
        let part = Some(port.on_host());
        put(Arc::make_mut(&mut ports), port.id(), part);
        networks.insert_mut(port.network_id, ports);
    }

    fn drop_port(&mut self, port: &Port) {
        let Some(networks) = self.ports.get_mut(port.host()) else {
            return;
        };
        let Some(mut ports) = networks.get(&port.network_id).cloned() else {
            return;
        };
        put(Arc::make_mut(&mut ports), port.id(), None);
        if ports.is_empty() {
            networks.remove_mut(&port.network_id);
        } else {
            networks.insert_mut(port.network_id, ports);
        }
        if networks.is_empty() {
            self.ports.remove(port.host());
        }
    }
}

fn put<I: Ord, T>(objects: &mut Objects<I, T>, id: I, object: Option<T>) {
    match object {
        Some(object) => objects.insert_mut(id, Arc::new(object)),
        None => {
            objects.remove_mut(&id);
        }
    }
}
