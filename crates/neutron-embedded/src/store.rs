//! How objects are kept: in memory, by identifier and by what they are looked up by.
//!
//! What a verb changes is on record until it is withdrawn or applied: see `Change`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use neutron_api::{
    AllocationPool, MacAddress, NetworkId, PortId, SecurityGroupId, SubnetId, SubnetPoolId,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::network::Network;
use crate::port::Port;
use crate::qos_policy::QosPolicy;
use crate::quota::Quota;
use crate::security_group::SecurityGroup;
use crate::security_group_rule::SecurityGroupRule;
use crate::subnet::Subnet;
use crate::subnet_pool::SubnetPool;
use crate::time::Moment;
use crate::trunk::Trunk;

/// What every object has.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Common {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) project_id: String,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) revision_number: u64,
    pub(crate) created_at: Moment,
    pub(crate) updated_at: Moment,
}

impl Common {
    /// What a new object has.
    pub(crate) fn new(name: &str, description: &str, project_id: &str) -> Self {
        let now = Moment::now();
        Self {
            id: Uuid::new_v4(),
            name: name.to_owned(),
            description: description.to_owned(),
            project_id: project_id.to_owned(),
            tags: BTreeSet::new(),
            revision_number: 1,
            created_at: now,
            updated_at: now,
        }
    }
}

/// What objects are looked up by, beside their identifier; the fewest objects have what is first.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Key {
    /// A network by its name, in lower case: Neutron's database compares like that.
    Name(String),
    /// A port by the device that uses it.
    Device(String),
    /// A port by its hardware address.
    Mac(MacAddress),
    /// A port by one of its addresses.
    Address(IpAddr),
    /// A port by one of its addresses in its subnet.
    Allocation(SubnetId, IpAddr),
    /// A subnet by its network.
    SubnetOn(NetworkId),
    /// A rule by its group.
    RuleOf(SecurityGroupId),
    /// A rule by the group that the other end is in.
    RuleFrom(SecurityGroupId),
    /// A subnet by the pool that its range is from.
    RangeFrom(SubnetPoolId),
    /// A port by its network.
    PortOn(NetworkId),
    /// A port by one of its groups.
    Member(SecurityGroupId),
    /// A port by the host that it is bound to.
    Host(String),
    /// The trunk that a port carries.
    TrunkOn(PortId),
    /// The trunk that a port is reached by way of.
    TrunkTo(PortId),
    /// The quotas of a project.
    QuotaOf(String),
}

impl Key {
    pub(crate) fn named(name: &str) -> Self {
        Self::Name(name.to_ascii_lowercase())
    }
}

/// An object as it is kept.
pub(crate) trait Row: Clone + PartialEq + Serialize + DeserializeOwned + 'static {
    /// The name under which the kind is kept on disk.
    const TABLE: &'static str;
    fn common(&self) -> &Common;
    fn common_mut(&mut self) -> &mut Common;
    fn keys(&self) -> Vec<Key>;
    fn rows(store: &Store) -> &BTreeMap<Uuid, Arc<Self>>;
    fn rows_mut(store: &mut Store) -> &mut BTreeMap<Uuid, Arc<Self>>;
    fn object(row: Arc<Self>) -> Object;
}

/// What a verb did to one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) before: Option<Object>,
    pub(crate) after: Option<Object>,
}

macro_rules! tables {
    ($($row:ident: $rows:ident, $table:literal);+ $(;)?) => {
        /// All objects. Lists come by identifier, as they come from Neutron.
        #[derive(Debug, Default)]
        pub(crate) struct Store {
            $($rows: BTreeMap<Uuid, Arc<$row>>,)+
            index: BTreeSet<(Key, Uuid)>,
            /// How many objects of a kind a project has.
            counts: BTreeMap<(&'static str, String), usize>,
            changes: Vec<Change>,
        }

        /// An object of any kind.
        #[derive(Clone, Debug)]
        pub(crate) enum Object {
            $($row(Arc<$row>),)+
        }

        $(impl Row for $row {
            const TABLE: &'static str = $table;
            fn common(&self) -> &Common {
                &self.common
            }
            fn common_mut(&mut self) -> &mut Common {
                &mut self.common
            }
            fn keys(&self) -> Vec<Key> {
                self.looked_up_by()
            }
            fn rows(store: &Store) -> &BTreeMap<Uuid, Arc<Self>> {
                &store.$rows
            }
            fn rows_mut(store: &mut Store) -> &mut BTreeMap<Uuid, Arc<Self>> {
                &mut store.$rows
            }
            fn object(row: Arc<Self>) -> Object {
                Object::$row(row)
            }
        })+

        impl Object {
            /// The names under which the kinds are kept on disk.
            pub(crate) const TABLES: &[&str] = &[$($table),+];

            pub(crate) fn table(&self) -> &'static str {
                match self {
                    $(Self::$row(_) => $table,)+
                }
            }

            pub(crate) fn id(&self) -> Uuid {
                match self {
                    $(Self::$row(row) => row.common.id,)+
                }
            }

            pub(crate) fn write(&self) -> Result<String, serde_json::Error> {
                match self {
                    $(Self::$row(row) => serde_json::to_string(row.as_ref()),)+
                }
            }

            /// What `write` has written; none if there is no such table.
            pub(crate) fn read(table: &str, text: &str) -> Option<Result<Self, serde_json::Error>> {
                match table {
                    $($table => Some(serde_json::from_str(text).map(|row| Self::$row(Arc::new(row)))),)+
                    _ => None,
                }
            }

            fn put_into(self, store: &mut Store) {
                match self {
                    $(Self::$row(row) => drop(store.set(row.common.id, Some(row))),)+
                }
            }

            fn take_from(&self, store: &mut Store) {
                match self {
                    $(Self::$row(row) => drop(store.set::<$row>(row.common.id, None)),)+
                }
            }
        }
    };
}

tables! {
    Network: networks, "network";
    Subnet: subnets, "subnet";
    SubnetPool: pools, "subnetpool";
    Port: ports, "port";
    QosPolicy: policies, "qos_policy";
    SecurityGroup: groups, "security_group";
    SecurityGroupRule: rules, "security_group_rule";
    Quota: quotas, "quota";
    Trunk: trunks, "trunk";
}

impl Store {
    pub(crate) fn find<R: Row>(&self, id: impl Into<Uuid>) -> Option<&R> {
        R::rows(self).get(&id.into()).map(Arc::as_ref)
    }

    pub(crate) fn all<R: Row>(&self) -> impl Iterator<Item = &R> + use<'_, R> {
        R::rows(self).values().map(Arc::as_ref)
    }

    pub(crate) fn count<R: Row>(&self) -> usize {
        R::rows(self).len()
    }

    /// The identifiers of the objects that are looked up by `key`, in order.
    pub(crate) fn ids(&self, key: Key) -> impl Iterator<Item = Uuid> + use<'_> {
        let last = (key.clone(), Uuid::max());
        self.index
            .range((key, Uuid::nil())..=last)
            .map(|(_, id)| *id)
    }

    fn by<R: Row>(&self, key: Key) -> impl Iterator<Item = &R> + use<'_, R> {
        self.ids(key).filter_map(|id| self.find(id))
    }

    pub(crate) fn insert<R: Row>(&mut self, row: R) {
        self.put(row.common().id, Some(Arc::new(row)));
    }

    /// Puts a new version in the place of the old one and counts it, if it differs.
    pub(crate) fn replace<R: Row>(&mut self, mut row: R) -> R {
        let id = row.common().id;
        if self.find(id) != Some(&row) {
            let common = row.common_mut();
            common.revision_number += 1;
            common.updated_at = Moment::now();
            self.put(id, Some(Arc::new(row.clone())));
        }
        row
    }

    /// Counts a change of what belongs to an object.
    pub(crate) fn touch<R: Row>(&mut self, id: impl Into<Uuid>) {
        if let Some(mut row) = self.find::<R>(id).cloned() {
            let common = row.common_mut();
            common.revision_number += 1;
            common.updated_at = Moment::now();
            self.insert(row);
        }
    }

    pub(crate) fn remove<R: Row>(&mut self, id: impl Into<Uuid>) {
        self.put::<R>(id.into(), None);
    }

    fn put<R: Row>(&mut self, id: Uuid, row: Option<Arc<R>>) {
        let before = self.set(id, row.clone()).map(R::object);
        let after = row.map(R::object);
        self.changes.push(Change { before, after });
    }

    fn set<R: Row>(&mut self, id: Uuid, row: Option<Arc<R>>) -> Option<Arc<R>> {
        let keys = row.iter().flat_map(|row| row.keys());
        let entries: Vec<(Key, Uuid)> = keys.map(|key| (key, id)).collect();
        if let Some(row) = &row {
            *self.counter::<R>(row) += 1;
        }
        let before = match row {
            Some(row) => R::rows_mut(self).insert(id, row),
            None => R::rows_mut(self).remove(&id),
        };
        for key in before.iter().flat_map(|row| row.keys()) {
            self.index.remove(&(key, id));
        }
        if let Some(before) = &before {
            *self.counter::<R>(before) -= 1;
        }
        self.index.extend(entries);
        before
    }

    fn counter<R: Row>(&mut self, row: &R) -> &mut usize {
        let project = row.common().project_id.clone();
        self.counts.entry((R::TABLE, project)).or_default()
    }

    /// How many objects of a kind a project has.
    pub(crate) fn count_of(&self, table: &'static str, project: &str) -> usize {
        let count = self.counts.get(&(table, project.to_owned()));
        count.copied().unwrap_or_default()
    }

    /// Takes back what has changed since the last time, and says what it was.
    pub(crate) fn withdraw(&mut self) -> Vec<Change> {
        let changes = std::mem::take(&mut self.changes);
        for change in changes.iter().rev() {
            match (&change.before, &change.after) {
                (Some(before), _) => before.clone().put_into(self),
                (None, Some(after)) => after.take_from(self),
                (None, None) => {}
            }
        }
        changes
    }

    /// Does what was withdrawn.
    pub(crate) fn apply(&mut self, changes: &[Change]) {
        for Change { before, after } in changes {
            match (before, after) {
                (_, Some(after)) => after.clone().put_into(self),
                (Some(before), None) => before.take_from(self),
                (None, None) => {}
            }
        }
    }
}

/// What the kinds of objects ask of each other.
impl Store {
    pub(crate) fn subnets_on(&self, network: NetworkId) -> impl Iterator<Item = &Subnet> {
        self.by(Key::SubnetOn(network))
    }

    pub(crate) fn ports_on(&self, network: NetworkId) -> impl Iterator<Item = &Port> {
        self.by(Key::PortOn(network))
    }

    pub(crate) fn ports_in(&self, subnet: &Subnet) -> Vec<&Port> {
        let mut ids: Vec<Uuid> = self
            .allocations(subnet.id(), subnet.everything())
            .map(|(_, port)| port.into())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|id| self.find(id)).collect()
    }

    /// The ranges that subnets have taken from a pool.
    pub(crate) fn ranges_from(&self, pool: SubnetPoolId) -> Vec<IpNet> {
        self.subnets_from(pool).map(|subnet| subnet.cidr).collect()
    }

    pub(crate) fn subnets_from(&self, pool: SubnetPoolId) -> impl Iterator<Item = &Subnet> {
        self.by(Key::RangeFrom(pool))
    }

    /// The addresses that ports have of a part of a subnet, in order.
    pub(crate) fn allocations(
        &self,
        subnet: SubnetId,
        part: AllocationPool,
    ) -> impl Iterator<Item = (IpAddr, PortId)> + use<'_> {
        let first = (Key::Allocation(subnet, part.start), Uuid::nil());
        let last = (Key::Allocation(subnet, part.end), Uuid::max());
        // A range that ends before it starts has nothing in it.
        let range = (first <= last).then(|| self.index.range(first..=last));
        range.into_iter().flatten().filter_map(|(key, port)| {
            let Key::Allocation(_, address) = key else {
                return None;
            };
            Some((*address, (*port).into()))
        })
    }

    /// The trunk that a port carries.
    pub(crate) fn trunk_on(&self, port: PortId) -> Option<&Trunk> {
        self.by(Key::TrunkOn(port)).next()
    }

    /// The trunk that a port is reached by way of.
    pub(crate) fn trunk_to(&self, port: PortId) -> Option<&Trunk> {
        self.by(Key::TrunkTo(port)).next()
    }

    pub(crate) fn is_group_used(&self, group: SecurityGroupId) -> bool {
        self.ids(Key::Member(group)).next().is_some()
    }

    pub(crate) fn rules_of(
        &self,
        group: SecurityGroupId,
    ) -> impl Iterator<Item = &SecurityGroupRule> {
        self.by(Key::RuleOf(group))
    }

    /// Whether a port other than `except` has this hardware address on the network.
    pub(crate) fn has_mac(&self, network: NetworkId, mac: MacAddress, except: PortId) -> bool {
        self.by(Key::Mac(mac))
            .any(|port: &Port| port.network_id == network && port.id() != except)
    }
}
