//! Container networks: each is a Neutron network with its subnets.

use std::sync::Arc;

use http::StatusCode;
use neutron_api::{
    IpVersion, Network, NetworkChange, NewNetwork as NewNeutronNetwork, NewSubnet, Port, Subnet,
    SubnetChange, SubnetPool,
};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;

use crate::ask::{NetworkId, NewNetwork, PoolId, Range};
use crate::debt::{Debt, made_pools, named};
use crate::error::{Error, Kind, told};
use crate::kuryr::Kuryr;
use crate::lease::{Lease, Source};
use crate::names;
use crate::options::Wishes;
use crate::range::allocation_pools;
use crate::view::Net;

impl Kuryr {
    /// Makes the Neutron network of a container network; asked again, finds it.
    ///
    /// # Errors
    /// The network exists with other ranges, or Neutron's refusal; what was made is removed again.
    pub async fn create_network(&self, new: NewNetwork, by: Instant) -> Result<(), Error> {
        let _turn = self.network_turns.turn(&new.id, by).await?;
        let neutron = self.neutron.by(by);
        let wishes = Wishes::of_network(&new.options)?;
        // What goes because an earlier attempt has failed must not take this one's network with it.
        let left = names::network_description(&new.id);
        let of_earlier = |debt: &Debt| matches!(debt, Debt::DeleteStrayNetwork { description, .. } if *description == left);
        self.debts.settled(by, of_earlier).await;
        self.debts.forgive(by, of_earlier).await;
        if wishes.network.is_none()
            && let Some(net) = self.left_of_earlier_attempt(&neutron, &new.id, by).await?
        {
            return same_ranges(&net, &new);
        }
        let leases: Vec<Option<(PoolId, Lease)>> = new
            .ranges
            .iter()
            .map(|range| self.leases.with_range(range.cidr))
            .collect();
        // A lease must not run out while a network is made of it.
        let mut turns = Vec::new();
        for (pool, _) in leases.iter().flatten() {
            turns.push(self.lease_turns.turn(pool, by).await?);
            if self.leases.get(pool).is_none() {
                return Err(Error::UnknownPool(pool.clone()));
            }
        }
        let named = self.named_network(&neutron, &wishes, &leases).await?;
        if let Some(network) = named {
            self.adopt_network(network, &wishes, &new, &leases, by)
                .await?;
            for (pool, _) in leases.iter().flatten() {
                self.leases.remove(pool);
            }
            return Ok(());
        }
        self.check_pools(&neutron, &wishes, &new, &leases).await?;
        let mut undo = Vec::new();
        match self.make_network(&neutron, &new, &leases, &mut undo).await {
            Ok(net) => {
                self.view.insert(net);
                for (pool, _) in leases.iter().flatten() {
                    self.leases.remove(pool);
                }
                Ok(())
            }
            Err(error) => {
                // The leases stay: the runtime gives the pools back itself.
                for debt in undo.into_iter().rev() {
                    self.debts.owe(debt).await;
                }
                Err(error)
            }
        }
    }

    /// Removes a container network from Neutron, with the subnet pools that we made for it.
    ///
    /// A network that is gone is a success; one that Neutron can't be asked about now is removed
    /// as soon as it can.
    ///
    /// # Errors
    /// Others have ports on it: then it is left.
    pub async fn delete_network(&self, id: &NetworkId, by: Instant) -> Result<(), Error> {
        let _turn = self.network_turns.turn(id, by).await?;
        if let Some(adoption) = self.adoptions.get(id) {
            self.view.remove(id);
            self.abandon_network(id, adoption, by).await;
            return Ok(());
        }
        let net = match self.find_network(id, by).await {
            Ok(Some(net)) => net,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == Kind::Unavailable => {
                // The runtime forgets the network whatever we answer.
                let debt = Debt::DeleteNetworkOf {
                    container_network: id.clone(),
                    pool_prefix: self.settings.subnet_pool_prefix.clone(),
                };
                self.debts.owe(debt).await;
                tracing::warn!(error = &error as &dyn std::error::Error, "not done yet");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.view.remove(id);
        if net.is_existing {
            tracing::info!("network {} was there before us and stays", net.id);
            return Ok(());
        }
        let neutron = self.neutron.by(by);
        // Containers that have just gone may still have their ports.
        self.debts.addresses_freed(net.id, None, by).await;
        // Another host, or another network of this one, may be on it without any container now.
        let others = self.pools_of_others(&neutron, &net).await;
        if let Ok(pools) = others
            && !pools.is_empty()
        {
            let network = net.id;
            return Err(Error::NetworkShared { network, pools });
        }
        let pools = made_pools(&net.subnets, &self.settings.subnet_pool_prefix);
        match neutron.delete::<Network>(net.id).await {
            Ok(_) => {
                for pool in pools {
                    self.debts.pay(Debt::DeletePool(pool), by).await;
                }
                Ok(())
            }
            Err(error) => {
                let others = self.ports_of_others(&neutron, &net).await;
                if error.status() == Some(StatusCode::CONFLICT) && !others.is_empty() {
                    let (network, source) = (net.id, Box::new(error));
                    return Err(Error::NetworkInUse {
                        network,
                        ports: others,
                        source,
                    });
                }
                // The runtime forgets the network whatever we answer.
                self.debts
                    .owe(Debt::DeleteNetwork {
                        network: net.id,
                        pools,
                    })
                    .await;
                let passing = error.is_passing();
                let error =
                    told(format!("remove network {} now; it is tried again", net.id))(error);
                if passing {
                    tracing::warn!(error = &error as &dyn std::error::Error, "not done yet");
                    return Ok(());
                }
                Err(error)
            }
        }
    }

    /// The network that an earlier attempt has made whole; what it has left half made is removed.
    async fn left_of_earlier_attempt(
        &self,
        neutron: &Neutron,
        id: &NetworkId,
        by: Instant,
    ) -> Result<Option<Arc<Net>>, Error> {
        let filter = Filter::new().with("name", names::network(id));
        let look_up = || told(format!("look for what there is of network {id}"));
        let networks = neutron.list::<Network>(&filter).await.map_err(look_up())?;
        if networks
            .iter()
            .any(|network| names::is_of(&network.tags, id))
        {
            return self.find_network(id, by).await;
        }
        let description = names::network_description(id);
        if !networks.is_empty() {
            let half_made = named(&names::network(id), &description);
            for network in neutron
                .list::<Network>(&half_made)
                .await
                .map_err(look_up())?
            {
                neutron
                    .delete::<Network>(network.id)
                    .await
                    .map_err(look_up())?;
            }
        }
        Ok(None)
    }

    /// Whether each range is of the subnet pool that the user names.
    async fn check_pools(
        &self,
        neutron: &Neutron,
        wishes: &Wishes,
        new: &NewNetwork,
        leases: &[Option<(PoolId, Lease)>],
    ) -> Result<(), Error> {
        for (range, lease) in new.ranges.iter().zip(leases) {
            let version = IpVersion::of(range.cidr.addr());
            let Some(named) = &wishes.of_version(version).pool else {
                continue;
            };
            let asked = self.named_pool(neutron, named, version).await?.id;
            let taken = match lease.as_ref().map(|(_, lease)| &lease.source) {
                Some(Source::DefaultPool { pool, .. }) => *pool,
                Some(Source::OwnPool(pool)) => pool.id,
                None => continue,
            };
            if taken != asked {
                return Err(Error::OtherPool { taken, asked });
            }
        }
        Ok(())
    }

    /// The subnet pools by which other container networks know a network's subnets.
    async fn pools_of_others(
        &self,
        neutron: &Neutron,
        net: &Net,
    ) -> Result<Vec<String>, neutron_client::Error> {
        let ids: Vec<String> = net.subnets.iter().map(|s| s.id.to_string()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let filter = Filter::new().with("tags-any", ids.join(","));
        let pools = neutron.list::<SubnetPool>(&filter).await?;
        let shown = |pool: &SubnetPool| format!("{} ({})", pool.id, pool.name);
        Ok(pools.iter().map(shown).collect())
    }

    async fn make_network(
        &self,
        neutron: &Neutron,
        new: &NewNetwork,
        leases: &[Option<(PoolId, Lease)>],
        undo: &mut Vec<Debt>,
    ) -> Result<Net, Error> {
        let (name, description) = (names::network(&new.id), names::network_description(&new.id));
        let make = || told(format!("make network {name}"));
        let waiting = leases
            .iter()
            .flatten()
            .find_map(|(_, lease)| match lease.source {
                Source::DefaultPool { network, .. } => Some(network),
                Source::OwnPool(_) => None,
            });
        let network = match waiting {
            Some(id) => {
                let change = NetworkChange {
                    name: Some(name.clone()),
                    description: Some(description.clone()),
                    ..NetworkChange::default()
                };
                neutron.update(id, &change).await.map_err(make())?
            }
            None => {
                let body = NewNeutronNetwork {
                    name: name.clone(),
                    description: description.clone(),
                    admin_state_up: true,
                    ..NewNeutronNetwork::default()
                };
                let made = neutron
                    .create_counted(&body, &named(&name, &description))
                    .await;
                let stray = |except| Debt::DeleteStrayNetwork {
                    name: name.clone(),
                    description: description.clone(),
                    except,
                };
                match &made {
                    Ok(created) => {
                        if created.repeated {
                            self.debts.owe(stray(Some(created.object.id))).await;
                        }
                        undo.push(Debt::DeleteNetwork {
                            network: created.object.id,
                            pools: Vec::new(),
                        });
                    }
                    Err(_) => undo.push(stray(None)),
                }
                made.map_err(make())?.object
            }
        };
        let mut subnets = Vec::new();
        for (range, lease) in new.ranges.iter().zip(leases) {
            let tags = lease.as_ref().map(|(pool, _)| vec![pool.to_string()]);
            let lease = lease.as_ref().map(|(_, lease)| lease);
            let act = || told(format!("make subnet {} of network {name}", range.cidr));
            let subnet = self
                .make_subnet(neutron, &network, new, range, lease)
                .await
                .map_err(act())?;
            // By its pool's identifier the subnet is found when addresses are asked for.
            let subnet = match tags {
                Some(tags) => {
                    neutron
                        .replace_tags::<Subnet>(subnet.id, &tags)
                        .await
                        .map_err(act())?;
                    Subnet { tags, ..subnet }
                }
                None => subnet,
            };
            subnets.push(subnet);
        }
        let tags = names::network_tags(&new.id);
        neutron
            .replace_tags::<Network>(network.id, &tags)
            .await
            .map_err(make())?;
        Ok(Net::new(
            new.id.clone(),
            &Network { tags, ..network },
            subnets,
        ))
    }

    async fn make_subnet(
        &self,
        neutron: &Neutron,
        network: &Network,
        new: &NewNetwork,
        range: &Range,
        lease: Option<&Lease>,
    ) -> Result<Subnet, neutron_client::Error> {
        let gateway = range.gateway.filter(|_| !new.internal);
        let pool = match lease.map(|lease| &lease.source) {
            Some(Source::DefaultPool {
                network: of,
                subnet,
                gateway: has,
                ..
            }) if *of == network.id => {
                let change = SubnetChange {
                    name: Some(names::subnet(range.cidr)),
                    gateway_ip: (gateway != *has).then_some(gateway),
                };
                return neutron.update(*subnet, &change).await;
            }
            Some(Source::DefaultPool {
                network: of, pool, ..
            }) => {
                // A range of the second family came with a network of its own: it moves over.
                neutron.delete::<Network>(*of).await?;
                Some(*pool)
            }
            Some(Source::OwnPool(pool)) => Some(pool.id),
            None => None,
        };
        let part = lease.and_then(|lease| lease.part);
        let taken: Vec<_> = gateway
            .into_iter()
            .chain(range.reserved.iter().copied())
            .collect();
        let restricted = part.is_some() || !range.reserved.is_empty();
        let subnet = NewSubnet {
            name: names::subnet(range.cidr),
            description: String::new(),
            network_id: network.id,
            ip_version: IpVersion::of(range.cidr.addr()),
            cidr: Some(range.cidr),
            subnetpool_id: pool,
            gateway_ip: Some(gateway),
            allocation_pools: restricted
                .then(|| allocation_pools(range.cidr, part.unwrap_or(range.cidr), &taken)),
            enable_dhcp: self.settings.enable_dhcp,
        };
        let identity = Filter::new()
            .with("network_id", network.id)
            .with("cidr", range.cidr);
        neutron.create(&subnet, &identity).await
    }

    /// The ports on a network that are neither ours nor Neutron's own.
    async fn ports_of_others(&self, neutron: &Neutron, net: &Net) -> Vec<String> {
        let filter = Filter::new().with("network_id", net.id);
        let ports = neutron.list::<Port>(&filter).await.unwrap_or_default();
        let here = self.settings.host.as_str();
        let foreign = ports
            .iter()
            .filter(|port| match port.device_owner.as_str() {
                "network:dhcp" | "network:distributed" => false,
                // Another host's Kuryr may use the network that this one has made.
                names::DEVICE_OWNER => port
                    .host_id
                    .as_deref()
                    .is_some_and(|host| !host.is_empty() && host != here),
                _ => true,
            });
        foreign
            .map(|port| format!("{} ({} {})", port.id, port.device_owner, port.device_id))
            .collect()
    }
}

/// Whether what exists is what is asked for.
fn same_ranges(net: &Net, new: &NewNetwork) -> Result<(), Error> {
    let has = |range: &Range| net.subnets.iter().any(|subnet| subnet.cidr == range.cidr);
    if new.ranges.iter().all(has) {
        return Ok(());
    }
    Err(Error::OtherRanges {
        network: new.id.clone(),
        has: net.subnets.iter().map(|subnet| subnet.cidr).collect(),
        asked: new.ranges.iter().map(|range| range.cidr).collect(),
    })
}
