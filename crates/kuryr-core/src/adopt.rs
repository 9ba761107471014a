//! Container networks on Neutron networks that were there before: used, never changed, left.
//!
//! Which one it is stands in the journal and not in Neutron: a network has room for 50 tags, and
//! any number of hosts may share it.

pub(crate) mod port;
pub(crate) mod python;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use neutron_api::{
    IpVersion, Network, NetworkId as NeutronNetworkId, Subnet, SubnetId, SubnetPool,
};
use neutron_client::{Filter, Neutron};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::address::Restriction;
use crate::ask::{NetworkId, NewNetwork, PoolId, Range};
use crate::debt::{Debt, MadePool};
use crate::error::{Error, told};
use crate::journal::Journal;
use crate::kuryr::Kuryr;
use crate::lease::{Lease, Source};
use crate::options::{Named, Wishes};
use crate::pool::{candidates, named_subnet};
use crate::view::Net;

/// A container network that is somebody else's Neutron network.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Adoption {
    pub(crate) network: NeutronNetworkId,
    /// The subnets, by the pools that the runtime knows them by.
    subnets: Vec<(Uuid, SubnetId)>,
    /// The pools, which are ours.
    pools: Vec<MadePool>,
    /// What of the subnets containers are to have addresses from, where that is not all.
    #[serde(default)]
    restrictions: Vec<Restriction>,
    /// Whether it is to have no way out (`--internal`).
    #[serde(default)]
    is_internal: bool,
}

/// All adoptions of this host.
pub(crate) struct Adoptions {
    all: Mutex<HashMap<String, Adoption>>,
    journal: Journal,
}

impl Adoptions {
    pub(crate) fn new(journal: Journal) -> Self {
        let all = journal.read(PREFIX).into_iter().collect();
        Self {
            all: Mutex::new(all),
            journal,
        }
    }

    pub(crate) fn get(&self, id: &NetworkId) -> Option<Adoption> {
        self.all().get(id.as_str()).cloned()
    }

    /// The container network that has an address pool.
    pub(crate) fn with_pool(&self, pool: Uuid) -> Option<NetworkId> {
        let all = self.all();
        let has = |adoption: &Adoption| adoption.subnets.iter().any(|(known, _)| *known == pool);
        all.iter()
            .find(|(_, adoption)| has(adoption))?
            .0
            .parse()
            .ok()
    }

    fn insert(&self, id: &NetworkId, adoption: Adoption) -> Result<(), Error> {
        self.journal
            .write(&format!("{PREFIX}{id}"), &adoption)
            .map_err(|source| Error::Journal {
                network: id.clone(),
                source,
            })?;
        self.all().insert(id.to_string(), adoption);
        Ok(())
    }

    fn remove(&self, id: &NetworkId) {
        self.journal.forget(&format!("{PREFIX}{id}"));
        self.all().remove(id.as_str());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Adoption>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Adoption {
    /// The adopted network as the verbs see it.
    pub(crate) fn net(&self, id: NetworkId, network: &Network, subnets: Vec<Subnet>) -> Net {
        let mut net = Net::new(id, network, subnets);
        net.is_existing = true;
        net.pools.clone_from(&self.subnets);
        net.restrictions.clone_from(&self.restrictions);
        net.is_internal = self.is_internal;
        // Only these: the network may have subnets that are none of ours.
        net.subnets
            .retain(|subnet| self.subnets.iter().any(|(_, used)| *used == subnet.id));
        net
    }
}

impl Kuryr {
    /// The network that is there and that the user names, by itself or by its subnets.
    pub(crate) async fn named_network(
        &self,
        neutron: &Neutron,
        wishes: &Wishes,
        leases: &[Option<(PoolId, Lease)>],
    ) -> Result<Option<Network>, Error> {
        if let Some(named) = &wishes.network {
            return existing(neutron, named).await.map(Some);
        }
        let of_leases = leases
            .iter()
            .flatten()
            .filter_map(|(_, lease)| lease.subnet);
        let mut id = of_leases.map(|subnet| subnet.network).next();
        for version in [IpVersion::V4, IpVersion::V6] {
            if let (None, Some(named)) = (id, &wishes.of_version(version).subnet) {
                id = Some(named_subnet(neutron, named).await?.network_id);
            }
        }
        match id {
            Some(id) => existing(neutron, &Named::Id(id)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes a container network of a network that is there.
    pub(crate) async fn adopt_network(
        &self,
        network: Network,
        wishes: &Wishes,
        new: &NewNetwork,
        leases: &[Option<(PoolId, Lease)>],
        by: Instant,
    ) -> Result<(), Error> {
        if self.adoptions.get(&new.id).is_some() {
            return Ok(());
        }
        if let Some(asked) = wishes.shared
            && asked != network.shared
        {
            let network = network.id;
            return Err(Error::OtherSharing { network, asked });
        }
        let neutron = self.neutron.by(by);
        let act = || told(format!("look up the subnets of network {}", network.id));
        let filter = Filter::new().with("network_id", network.id);
        let subnets = neutron.list::<Subnet>(&filter).await.map_err(act())?;
        let mut adoption = Adoption {
            network: network.id,
            subnets: Vec::new(),
            pools: Vec::new(),
            restrictions: Vec::new(),
            is_internal: new.internal,
        };
        for (range, lease) in new.ranges.iter().zip(leases) {
            let version = IpVersion::of(range.cidr.addr());
            if let Some(named) = &wishes.of_version(version).subnet {
                check_named(&network, range, &named_subnet(&neutron, named).await?)?;
            }
            let guessed = lease.as_ref().and_then(|(_, lease)| lease.guessed_gateway);
            let subnet = subnet_of(&network, &subnets, range, guessed)?;
            let Some((
                id,
                Lease {
                    source: Source::OwnPool(pool),
                    ..
                },
            )) = lease
            else {
                return Err(Error::AdoptionNeedsSubnet {
                    network: network.id,
                });
            };
            // The one trace of it in Neutron, on a pool of our own: Python's way to say the same.
            let tags = [subnet.id.to_string()];
            let tagged = neutron.replace_tags::<SubnetPool>(pool.id, &tags).await;
            tagged.map_err(told(format!("tag subnet pool {}", pool.id)))?;
            let id = id.as_str().parse().unwrap_or(Uuid::from(pool.id));
            adoption.subnets.push((id, subnet.id));
            let part = lease.as_ref().and_then(|(_, lease)| lease.part);
            if part.is_some() || !range.reserved.is_empty() {
                adoption.restrictions.push(Restriction {
                    subnet: subnet.id,
                    part,
                    reserved: range.reserved.clone(),
                });
            }
            adoption.pools.push(pool.clone());
        }
        self.view
            .insert(adoption.net(new.id.clone(), &network, subnets));
        self.adoptions.insert(&new.id, adoption)
    }

    /// Ends an adoption: our pools go, the network stays as it was.
    pub(crate) async fn abandon_network(&self, id: &NetworkId, adoption: Adoption, by: Instant) {
        let network = adoption.network;
        let debts: Vec<Debt> = adoption.pools.into_iter().map(Debt::DeletePool).collect();
        // Noted first: the runtime forgets the network whatever becomes of this call.
        self.debts.intend(&self.draining(id, Some(network))).await;
        for debt in &debts {
            self.debts.owe(debt.clone()).await;
        }
        self.adoptions.remove(id);
        self.drain(id, Some(network), by).await;
        self.view.remove(id);
        self.debts.addresses_freed(network, None, by).await;
        self.debts.settled(by, |open| debts.contains(open)).await;
    }
}

async fn existing(neutron: &Neutron, wanted: &Named<NeutronNetworkId>) -> Result<Network, Error> {
    let act = told(format!("look up Neutron network {wanted}"));
    let found = match wanted {
        Named::Id(id) => neutron.find::<Network>(*id).await.map(Vec::from_iter),
        Named::Name(name) => neutron.list(&Filter::new().with("name", name)).await,
    };
    match <[Network; 1]>::try_from(found.map_err(act)?) {
        Ok([network]) => Ok(network),
        Err(found) if found.is_empty() => Err(Error::NoSuchNetwork(wanted.to_string())),
        Err(found) => Err(Error::Ambiguous {
            what: format!("Neutron network {wanted}"),
            candidates: candidates(&found),
        }),
    }
}

/// Whether a subnet that the user names is the one that the range means.
fn check_named(network: &Network, range: &Range, named: &Subnet) -> Result<(), Error> {
    if named.network_id != network.id {
        return Err(Error::SubnetElsewhere {
            subnet: named.id,
            on: named.network_id,
            asked: network.id,
        });
    }
    if named.cidr != range.cidr {
        return Err(Error::OtherRange {
            subnet: named.id,
            has: named.cidr,
            asked: range.cidr,
        });
    }
    Ok(())
}

/// The subnet that has just this range: a network has one at most.
///
/// A gateway that we made up ourselves, before we knew which network it would be, is no matter.
fn subnet_of<'a>(
    network: &Network,
    subnets: &'a [Subnet],
    range: &Range,
    guessed_gateway: Option<IpAddr>,
) -> Result<&'a Subnet, Error> {
    let subnet = subnets.iter().find(|subnet| subnet.cidr == range.cidr);
    let subnet = subnet.ok_or_else(|| Error::NoSuchRange {
        network: network.id,
        range: range.cidr,
        has: subnets.iter().map(|subnet| subnet.cidr).collect(),
    })?;
    match (range.gateway, subnet.gateway_ip) {
        (None, _) => Ok(subnet),
        (wanted, has) if wanted == has || wanted == guessed_gateway => Ok(subnet),
        (Some(wanted), Some(gateway)) => Err(Error::OtherGateway {
            wanted,
            gateway,
            range: range.cidr,
        }),
        (Some(wanted), None) => Err(Error::NoGateway {
            wanted,
            range: range.cidr,
        }),
    }
}

const PREFIX: &str = "adoption-";
