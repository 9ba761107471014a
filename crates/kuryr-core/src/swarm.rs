//! What the manager of a swarm asks for on behalf of all of its nodes: a network that they adopt, and
//! addresses whose ports they adopt.
//!
//! The manager's network is another container network than the nodes': what one of them adopts, and
//! leaves again, is its own affair, on the manager's host as on any other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use neutron_api::{Subnet, WantedIp};
use tokio::time::{Instant, sleep};

use crate::address::{ports_at, removal};
use crate::ask::{AddressRequest, Caller, NetworkId, NewNetwork};
use crate::debt::Debt;
use crate::error::{Error, PortError, told};
use crate::kuryr::Kuryr;
use crate::lease::Source;
use crate::names;
use crate::options;
use crate::view::Net;

/// How often it is looked whether nodes have left a network.
const PAUSE: Duration = Duration::from_millis(500);

impl Kuryr {
    /// Makes the Neutron network of a swarm's network, or finds it; returns the options with which each
    /// node is to create its part: they adopt it.
    ///
    /// # Errors
    /// As of [`Kuryr::create_network`].
    pub async fn allocate_network(
        &self,
        caller: &Caller,
        mut new: NewNetwork,
        by: Instant,
    ) -> Result<BTreeMap<String, String>, Error> {
        let id = names::of_manager(&new.id)?;
        new.id = id.clone();
        let options = new.options.clone();
        let ranges: Vec<_> = new.ranges.iter().map(|range| range.cidr).collect();
        self.create_network_for(caller, new, by).await?;
        let net = self.network(&id, by).await?;
        for range in ranges {
            self.tie(&net, range, by).await?;
        }
        Ok(options::adopting(options, net.id))
    }

    /// Removes the Neutron network of a swarm's network, unless it was there before or somebody else
    /// uses it. Nodes that leave it just now are waited for.
    ///
    /// # Errors
    /// As of [`Kuryr::delete_network`].
    pub async fn free_network(&self, id: &NetworkId, by: Instant) -> Result<(), Error> {
        let id = names::of_manager(id)?;
        let adopted = self.adoptions.get(&id).map(|adoption| adoption.network);
        let network = match adopted {
            Some(network) => Some(network),
            // Where Neutron can't be asked, its ports go with the network, later.
            None => {
                let found = self.find_network(&id, by).await.ok().flatten();
                found.map(|net| net.id)
            }
        };
        if let Some(network) = network {
            self.debts.owe(Debt::DeleteSwarmPorts { network }).await;
        }
        loop {
            match self.delete_network(&id, by).await {
                Err(Error::NetworkShared { .. }) if Instant::now() + PAUSE * 2 < by => {
                    sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// A manager that follows another asks for the same ranges again: they become names of the subnets
    /// that there are.
    async fn tie(&self, net: &Net, range: ipnet::IpNet, by: Instant) -> Result<(), Error> {
        let Some((pool, lease)) = self.leases.with_range(range) else {
            return Ok(());
        };
        let Some(subnet) = net.subnets.iter().find(|subnet| subnet.cidr == range) else {
            return Ok(());
        };
        let tags = [subnet.tags.clone(), vec![pool.to_string()]].concat();
        let tagged = self
            .neutron
            .by(by)
            .replace_tags::<Subnet>(subnet.id, &tags)
            .await;
        tagged.map_err(told(format!("name subnet {} again", subnet.id)))?;
        self.view.remove(&net.of);
        self.leases.remove(&pool);
        if let Source::OwnPool(made) = lease.source {
            self.debts.owe(Debt::DeletePool(made)).await;
        }
        Ok(())
    }

    /// Reserves an address for a container on whichever node: a port that is bound to none.
    pub(crate) async fn reserve_for_nodes(
        &self,
        net: &Net,
        subnet: &Subnet,
        ask: AddressRequest,
        by: Instant,
    ) -> Result<IpAddr, Error> {
        if let Some(address) = ask.address
            && let Some(port) = ports_at(&self.neutron.by(by), net, address).await?.pop()
        {
            // By the manager before this one.
            if port.name == names::SWARM_PORT {
                return Ok(address);
            }
            let whose = (&port).into();
            return Err(PortError::AddressInUse { address, whose }.into());
        }
        let wanted = WantedIp {
            subnet_id: subnet.id,
            ip_address: ask.address,
        };
        let port = self.make_chosen_port(net, &[wanted], ask, by).await?;
        let has = port.fixed_ips.iter().find(|ip| ip.subnet_id == subnet.id);
        has.map(|ip| ip.ip_address).ok_or(Error::NoAddress {
            port: port.id,
            range: subnet.cidr,
        })
    }

    /// Gives back what [`Kuryr::reserve_for_nodes`] has reserved; the node has left it.
    pub(crate) async fn release_for_nodes(
        &self,
        net: &Net,
        address: IpAddr,
        by: Instant,
    ) -> Result<(), Error> {
        for port in ports_at(&self.neutron.by(by), net, address).await? {
            if port.name == names::SWARM_PORT {
                self.debts.owe(removal(&port)).await;
            }
        }
        Ok(())
    }
}
