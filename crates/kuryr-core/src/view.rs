//! What we know of Neutron's networks: fetched once, kept fresh.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use neutron_api::{
    IpVersion, Network, NetworkId as NeutronNetworkId, Subnet, SubnetId, SubnetPoolId,
};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;
use uuid::Uuid;

use crate::address::Restriction;
use crate::ask::{NetworkId, PoolId};
use crate::error::{Error, told};
use crate::kuryr::Kuryr;
use crate::names;

/// After this time a network is read again, behind the back of whoever uses it.
const FRESH: Duration = Duration::from_secs(60);
/// What Ethernet carries, for a Neutron that does not say.
const USUAL_MTU: u32 = 1500;

/// A Neutron network with its subnets, and the container network that it is.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub(crate) of: NetworkId,
    pub(crate) id: NeutronNetworkId,
    /// In bytes.
    pub(crate) mtu: u32,
    pub(crate) subnets: Vec<Subnet>,
    /// It was there before us.
    pub(crate) is_existing: bool,
    /// The subnets of address pools that Neutron does not tie to them.
    pub(crate) pools: Vec<(Uuid, SubnetId)>,
    /// What of its subnets containers are to have addresses from, where that is not all.
    pub(crate) restrictions: Vec<Restriction>,
    /// It is to have no way out, whatever it has.
    pub(crate) is_internal: bool,
    read: Instant,
}

impl Net {
    pub(crate) fn new(of: NetworkId, network: &Network, subnets: Vec<Subnet>) -> Self {
        Self {
            of,
            id: network.id,
            mtu: network.mtu.filter(|mtu| *mtu > 0).unwrap_or(USUAL_MTU),
            subnets,
            is_existing: names::is_existing(&network.tags),
            pools: Vec::new(),
            restrictions: Vec::new(),
            is_internal: false,
            read: Instant::now(),
        }
    }

    pub(crate) fn subnet(&self, id: SubnetId) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.id == id)
    }

    pub(crate) fn restriction(&self, subnet: SubnetId) -> Option<&Restriction> {
        let mut all = self.restrictions.iter();
        all.find(|restriction| restriction.subnet == subnet)
    }

    /// The subnet that a pool identifier means: the one tagged with it, or whose own or whose
    /// pool's identifier it is. Who has adopted a network knows its subnets by pools of its own alone:
    /// the tags are of whose network it is.
    fn subnet_of_pool(&self, pool: Uuid) -> Option<&Subnet> {
        if !self.pools.is_empty() {
            let (_, subnet) = self.pools.iter().find(|(id, _)| *id == pool)?;
            return self.subnet(*subnet);
        }
        let tag = pool.to_string();
        self.subnets.iter().find(|subnet| {
            subnet.tags.contains(&tag)
                || Uuid::from(subnet.id) == pool
                || subnet.subnetpool_id.map(Uuid::from) == Some(pool)
        })
    }

    /// The first subnet of the other IP version than `subnet`'s.
    pub(crate) fn other_family(&self, subnet: &Subnet) -> Option<&Subnet> {
        let version = match subnet.ip_version() {
            IpVersion::V4 => IpVersion::V6,
            IpVersion::V6 => IpVersion::V4,
        };
        self.subnets
            .iter()
            .find(|other| other.ip_version() == version)
    }
}

/// The networks that we know.
#[derive(Default)]
pub(crate) struct View(Mutex<HashMap<NetworkId, Arc<Net>>>);

impl View {
    pub(crate) fn insert(&self, net: Net) -> Arc<Net> {
        let net = Arc::new(net);
        self.nets().insert(net.of.clone(), Arc::clone(&net));
        net
    }

    pub(crate) fn remove(&self, id: &NetworkId) {
        self.nets().remove(id);
    }

    pub(crate) fn get(&self, id: &NetworkId) -> Option<Arc<Net>> {
        self.nets().get(id).cloned()
    }

    fn with_pool(&self, pool: Uuid) -> Option<Arc<Net>> {
        self.nets()
            .values()
            .find(|net| net.subnet_of_pool(pool).is_some())
            .cloned()
    }

    fn nets(&self) -> MutexGuard<'_, HashMap<NetworkId, Arc<Net>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kuryr {
    /// The Neutron network of a container network.
    pub(crate) async fn network(&self, id: &NetworkId, by: Instant) -> Result<Arc<Net>, Error> {
        self.find_network(id, by)
            .await?
            .ok_or_else(|| Error::UnknownNetwork(id.clone()))
    }

    /// The Neutron network of a container network, if there is one.
    pub(crate) async fn find_network(
        &self,
        id: &NetworkId,
        by: Instant,
    ) -> Result<Option<Arc<Net>>, Error> {
        if let Some(net) = self.view.get(id) {
            self.refresh(&net);
            return Ok(Some(net));
        }
        self.read_network(id, by).await
    }

    /// The network and the subnet of an address pool.
    pub(crate) async fn network_of_pool(
        &self,
        pool: &PoolId,
        by: Instant,
    ) -> Result<(Arc<Net>, Subnet), Error> {
        let unknown = || Error::UnknownPool(pool.clone());
        let id: Uuid = pool.as_str().parse().map_err(|_| unknown())?;
        let net = match self.view.with_pool(id) {
            Some(net) => {
                self.refresh(&net);
                net
            }
            None => self
                .read_network_of_pool(id, by)
                .await?
                .ok_or_else(unknown)?,
        };
        let subnet = net.subnet_of_pool(id).cloned().ok_or_else(unknown)?;
        Ok((net, subnet))
    }

    /// Forgets a network that turned out to be no longer what we know of it.
    pub(crate) fn mistrust(&self, net: &Net) {
        tracing::info!(
            "reading network {} again: it has changed in Neutron",
            net.id
        );
        self.view.remove(&net.of);
    }

    async fn read_network(&self, id: &NetworkId, by: Instant) -> Result<Option<Arc<Net>>, Error> {
        let neutron = self.neutron.by(by);
        let act = || told(format!("look up the Neutron network of network {id}"));
        if let Some(adoption) = self.adoptions.get(id) {
            let found = neutron
                .find::<Network>(adoption.network)
                .await
                .map_err(act())?;
            let Some(network) = found else {
                return Ok(None);
            };
            let subnets = subnets(&neutron, network.id).await.map_err(act())?;
            return Ok(Some(self.view.insert(adoption.net(
                id.clone(),
                &network,
                subnets,
            ))));
        }
        let filter = Filter::new().tagged(&names::network_tags(id));
        let mut networks = neutron.list::<Network>(&filter).await.map_err(act())?;
        networks.retain(|network| names::is_of(&network.tags, id));
        let network = match <[Network; 1]>::try_from(networks) {
            Ok([network]) => network,
            Err(networks) if networks.is_empty() => return Ok(None),
            Err(networks) => {
                return Err(Error::Ambiguous {
                    what: format!("Neutron network of network {id}"),
                    candidates: networks
                        .iter()
                        .map(|network| network.id.to_string())
                        .collect(),
                });
            }
        };
        let subnets = subnets(&neutron, network.id).await.map_err(act())?;
        Ok(Some(self.view.insert(Net::new(
            id.clone(),
            &network,
            subnets,
        ))))
    }

    async fn read_network_of_pool(
        &self,
        pool: Uuid,
        by: Instant,
    ) -> Result<Option<Arc<Net>>, Error> {
        if let Some(id) = self.adoptions.with_pool(pool) {
            return self.read_network(&id, by).await;
        }
        let neutron = self.neutron.by(by);
        let act = || told(format!("look up the network of address pool {pool}"));
        let tagged = Filter::new().tagged(&[pool.to_string()]);
        let of_pool = Filter::new().with("subnetpool_id", SubnetPoolId::from(pool));
        let mut subnet = None;
        for filter in [tagged, of_pool] {
            if subnet.is_none() {
                subnet = neutron.list::<Subnet>(&filter).await.map_err(act())?.pop();
            }
        }
        if subnet.is_none() {
            subnet = neutron.find::<Subnet>(pool.into()).await.map_err(act())?;
        }
        let Some(subnet) = subnet else {
            return Ok(None);
        };
        let network = neutron
            .find::<Network>(subnet.network_id)
            .await
            .map_err(act())?;
        let Some(network) = network else {
            return Ok(None);
        };
        let Some(of) = names::network_of(&network.tags) else {
            return Ok(None);
        };
        let subnets = subnets(&neutron, network.id).await.map_err(act())?;
        Ok(Some(self.view.insert(Net::new(of, &network, subnets))))
    }

    /// Reads a network again if that was long ago, without making anybody wait.
    fn refresh(&self, net: &Net) {
        if net.read.elapsed() < FRESH {
            return;
        }
        let (kuryr, stale) = (self.clone(), net.clone());
        // Once a period, however many use the network meanwhile.
        self.view.insert(Net {
            read: Instant::now(),
            ..stale.clone()
        });
        self.background.spawn(async move {
            match kuryr.read_network(&stale.of, Instant::now() + FRESH).await {
                Ok(Some(_)) => {}
                Ok(None) => kuryr.view.remove(&stale.of),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "network {} stays as it was read before", stale.id);
                }
            }
        });
    }
}

async fn subnets(
    neutron: &Neutron,
    network: NeutronNetworkId,
) -> Result<Vec<Subnet>, neutron_client::Error> {
    neutron
        .list(&Filter::new().with("network_id", network))
        .await
}
