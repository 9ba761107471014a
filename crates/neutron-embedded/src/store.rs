//! How objects are kept: in memory. Whatever replaces it answers the same few questions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use neutron_api::{MacAddress, NetworkId, PortId, SecurityGroupId, SubnetId, SubnetPoolId};
use serde::Serialize;
use uuid::Uuid;

use crate::network::Network;
use crate::port::Port;
use crate::security_group::SecurityGroup;
use crate::subnet::Subnet;
use crate::subnet_pool::SubnetPool;

/// What every object has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Common {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) project_id: String,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) revision_number: u64,
}

/// An object as it is kept.
pub(crate) trait Row: Clone + PartialEq + 'static {
    fn common(&self) -> &Common;
    fn common_mut(&mut self) -> &mut Common;
    fn table(store: &Store) -> &BTreeMap<Uuid, Self>;
    fn table_mut(store: &mut Store) -> &mut BTreeMap<Uuid, Self>;
}

macro_rules! tables {
    ($($row:ty: $table:ident),+ $(,)?) => {
        /// All objects. Lists come by identifier, as they come from Neutron.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Store {
            $($table: BTreeMap<Uuid, $row>,)+
        }

        $(impl Row for $row {
            fn common(&self) -> &Common {
                &self.common
            }
            fn common_mut(&mut self) -> &mut Common {
                &mut self.common
            }
            fn table(store: &Store) -> &BTreeMap<Uuid, Self> {
                &store.$table
            }
            fn table_mut(store: &mut Store) -> &mut BTreeMap<Uuid, Self> {
                &mut store.$table
            }
        })+
    };
}

tables! {
    Network: networks,
    Subnet: subnets,
    SubnetPool: pools,
    Port: ports,
    SecurityGroup: groups,
}

impl Store {
    pub(crate) fn find<R: Row>(&self, id: impl Into<Uuid>) -> Option<&R> {
        R::table(self).get(&id.into())
    }

    pub(crate) fn all<R: Row>(&self) -> impl Iterator<Item = &R> + use<'_, R> {
        R::table(self).values()
    }

    pub(crate) fn insert<R: Row>(&mut self, row: R) {
        R::table_mut(self).insert(row.common().id, row);
    }

    /// Puts a new version in the place of the old one and counts it, if it differs.
    pub(crate) fn replace<R: Row>(&mut self, mut row: R) -> R {
        let id = row.common().id;
        if R::table(self).get(&id) != Some(&row) {
            row.common_mut().revision_number += 1;
            R::table_mut(self).insert(id, row.clone());
        }
        row
    }

    pub(crate) fn remove<R: Row>(&mut self, id: impl Into<Uuid>) {
        R::table_mut(self).remove(&id.into());
    }

    pub(crate) fn subnets_on(&self, network: NetworkId) -> impl Iterator<Item = &Subnet> {
        self.all::<Subnet>()
            .filter(move |subnet| subnet.network_id == network)
    }

    pub(crate) fn ports_on(&self, network: NetworkId) -> impl Iterator<Item = &Port> {
        self.all::<Port>()
            .filter(move |port| port.network_id == network)
    }

    pub(crate) fn ports_in(&self, subnet: SubnetId) -> impl Iterator<Item = &Port> {
        self.all::<Port>()
            .filter(move |port| port.fixed_ips.iter().any(|ip| ip.subnet_id == subnet))
    }

    /// The ranges that subnets have taken from a pool.
    pub(crate) fn ranges_from(&self, pool: SubnetPoolId) -> Vec<IpNet> {
        self.all::<Subnet>()
            .filter(|subnet| subnet.subnetpool_id == Some(pool))
            .map(|subnet| subnet.cidr)
            .collect()
    }

    /// The addresses that ports other than `except` have taken from a subnet.
    pub(crate) fn addresses_in(&self, subnet: SubnetId, except: PortId) -> BTreeSet<IpAddr> {
        self.all::<Port>()
            .filter(|port| port.id() != except)
            .flat_map(|port| &port.fixed_ips)
            .filter(|ip| ip.subnet_id == subnet)
            .map(|ip| ip.ip_address)
            .collect()
    }

    pub(crate) fn is_group_used(&self, group: SecurityGroupId) -> bool {
        self.all::<Port>()
            .any(|port| port.security_groups.contains(&group))
    }

    /// Whether a port other than `except` has this hardware address on the network.
    pub(crate) fn has_mac(&self, network: NetworkId, mac: MacAddress, except: PortId) -> bool {
        self.ports_on(network)
            .any(|port| port.mac_address == mac && port.id() != except)
    }
}
