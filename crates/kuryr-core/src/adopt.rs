//! Container networks on Neutron networks that were there before: used, never changed, left.
//!
//! Which one it is stands in the journal and not in Neutron: a network has room for 50 tags, and
//! any number of hosts may share it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use neutron_api::{Network, NetworkId as NeutronNetworkId, Subnet, SubnetId, SubnetPool};
use neutron_client::{Filter, Neutron};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ask::{NetworkId, NewNetwork, PoolId, Range};
use crate::debt::{Debt, MadePool};
use crate::error::{Error, told};
use crate::journal::Journal;
use crate::kuryr::Kuryr;
use crate::lease::{Lease, Source};
use crate::view::Net;

/// A container network that is somebody else's Neutron network.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Adoption {
    pub(crate) network: NeutronNetworkId,
    /// The subnets, by the pools that the runtime knows them by.
    subnets: Vec<(Uuid, SubnetId)>,
    /// The pools, which are ours.
    pools: Vec<MadePool>,
}

/// All adoptions of this host.
pub(crate) struct Adoptions {
    all: Mutex<HashMap<String, Adoption>>,
    journal: Journal,
}

impl Adoptions {
    pub(crate) fn new(journal: Journal) -> Self {
        let all = journal
            .read::<Adoption>(PREFIX)
            .into_iter()
            .map(|(key, adoption)| (key[PREFIX.len()..].to_owned(), adoption))
            .collect();
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
        if let Err(error) = self.journal.erase(&format!("{PREFIX}{id}")) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an old note is left"
            );
        }
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
        // Only these: the network may have subnets that are none of ours.
        net.subnets
            .retain(|subnet| self.subnets.iter().any(|(_, used)| *used == subnet.id));
        net
    }
}

/// Which of Neutron's networks the user wants.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Id(NeutronNetworkId),
    Name(String),
}

const BY_ID: &str = "neutron.net.uuid";
const BY_NAME: &str = "neutron.net.name";
/// The prefix of options that are for us.
const OURS: &str = "neutron.";

/// The network that the options name, if they name one.
pub(crate) fn wanted(options: &BTreeMap<String, String>) -> Result<Option<Wanted>, Error> {
    let known = [BY_ID, BY_NAME, "neutron.net.shared"];
    if let Some(option) = options
        .keys()
        .find(|key| key.starts_with(OURS) && !known.contains(&key.as_str()))
    {
        return Err(Error::UnknownOption {
            option: option.clone(),
            known: vec![BY_ID, BY_NAME],
        });
    }
    match (options.get(BY_ID), options.get(BY_NAME)) {
        (Some(id), _) => id
            .parse()
            .map(|id| Some(Wanted::Id(id)))
            .map_err(|_| Error::BadOption {
                option: BY_ID,
                value: id.clone(),
                expected: "a UUID",
            }),
        (None, Some(name)) => Ok(Some(Wanted::Name(name.clone()))),
        (None, None) => Ok(None),
    }
}

impl Kuryr {
    /// Makes a container network of a network that is there.
    pub(crate) async fn adopt_network(
        &self,
        wanted: Wanted,
        new: &NewNetwork,
        leases: &[Option<(PoolId, Lease)>],
        by: Instant,
    ) -> Result<(), Error> {
        if self.adoptions.get(&new.id).is_some() {
            return Ok(());
        }
        let neutron = self.neutron.by(by);
        let network = existing(&neutron, &wanted).await?;
        let act = || told(format!("look up the subnets of network {}", network.id));
        let filter = Filter::new().with("network_id", network.id);
        let subnets = neutron.list::<Subnet>(&filter).await.map_err(act())?;
        let mut adoption = Adoption {
            network: network.id,
            subnets: Vec::new(),
            pools: Vec::new(),
        };
        for (range, lease) in new.ranges.iter().zip(leases) {
            let subnet = subnet_of(&network, &subnets, range)?;
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
            adoption.pools.push(pool.clone());
        }
        self.view
            .insert(adoption.net(new.id.clone(), &network, subnets));
        self.adoptions.insert(&new.id, adoption)
    }

    /// Ends an adoption: our pools go, the network stays as it was.
    pub(crate) async fn abandon_network(&self, id: &NetworkId, adoption: Adoption, by: Instant) {
        let debts: Vec<Debt> = adoption.pools.into_iter().map(Debt::DeletePool).collect();
        for debt in &debts {
            self.debts.owe(debt.clone()).await;
        }
        self.adoptions.remove(id);
        self.debts.settled(by, |open| debts.contains(open)).await;
    }
}

async fn existing(neutron: &Neutron, wanted: &Wanted) -> Result<Network, Error> {
    let (what, found) = match wanted {
        Wanted::Id(id) => (
            id.to_string(),
            neutron.find::<Network>(*id).await.map(Vec::from_iter),
        ),
        Wanted::Name(name) => (
            name.clone(),
            neutron.list(&Filter::new().with("name", name)).await,
        ),
    };
    let found = found.map_err(told(format!("look up Neutron network {what}")))?;
    match <[Network; 1]>::try_from(found) {
        Ok([network]) => Ok(network),
        Err(found) if found.is_empty() => Err(Error::NoSuchNetwork(what)),
        Err(found) => Err(Error::Ambiguous {
            what: format!("Neutron network {what}"),
            candidates: found.iter().map(|network| network.id.to_string()).collect(),
        }),
    }
}

/// The subnet that has just this range.
fn subnet_of<'a>(
    network: &Network,
    subnets: &'a [Subnet],
    range: &Range,
) -> Result<&'a Subnet, Error> {
    let subnet = subnets.iter().find(|subnet| subnet.cidr == range.cidr);
    let subnet = subnet.ok_or_else(|| Error::NoSuchRange {
        network: network.id,
        range: range.cidr,
        has: subnets.iter().map(|subnet| subnet.cidr).collect(),
    })?;
    match (range.gateway, subnet.gateway_ip) {
        (Some(wanted), Some(gateway)) if wanted != gateway => Err(Error::OtherGateway {
            wanted,
            gateway,
            range: range.cidr,
        }),
        _ => Ok(subnet),
    }
}

const PREFIX: &str = "adoption-";
