//! Container networks: each is a Neutron network with its subnets.

mod delete;
mod unconfirmed;

use std::sync::Arc;
use std::time::Duration;

use neutron_api::{
    IpVersion, Network, NetworkChange, NetworkId as NeutronNetworkId,
    NewNetwork as NewNeutronNetwork, NewSubnet, Subnet, SubnetChange,
};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;

use crate::ask::{Caller, NetworkId, NewNetwork, PoolId, Range};
use crate::debt::{Debt, MadePool, made_pools, named};
use crate::error::{Error, told};
use crate::kuryr::Kuryr;
use crate::lease::{Lease, Source};
use crate::names;
use crate::options::Wishes;
use crate::port_settings::PortSettings;
use crate::range::allocation_pools;
use crate::view::Net;

pub use unconfirmed::Runtime;
pub(crate) use unconfirmed::Unconfirmed;

/// A network that there is now.
struct Made {
    network: NeutronNetworkId,
    /// Made or adopted by this call, and not by an earlier one.
    anew: bool,
}

/// Longer than a network takes to go.
const TO_UNDO: Duration = Duration::from_secs(10);

impl Kuryr {
    /// Makes the Neutron network of a container network; asked again, finds it.
    ///
    /// # Errors
    /// The network exists with other ranges, or Neutron's refusal; what was made is removed again.
    pub async fn create_network(&self, new: NewNetwork, by: Instant) -> Result<(), Error> {
        self.create_network_for(&Caller::default(), new, by).await
    }

    /// The same for a caller that may hang up; what it would never know of is removed again.
    ///
    /// # Errors
    /// As before.
    pub async fn create_network_for(
        &self,
        caller: &Caller,
        new: NewNetwork,
        by: Instant,
    ) -> Result<(), Error> {
        let _turn = self.network_turns.turn(&new.id, by).await?;
        let neutron = self.neutron.by(by);
        let mut wishes = Wishes::of_network(&new.options)?;
        let enabled = &self.settings.drivers.enabled;
        if let Some(driver) = wishes.ports.driver
            && !enabled.contains(&driver)
        {
            let enabled = enabled.clone();
            return Err(Error::DriverNotEnabled { driver, enabled });
        }
        let mut defaults = PortSettings::find(&neutron, std::mem::take(&mut wishes.ports)).await?;
        defaults.without_pool = wishes.pool == Some(false);
        self.port_defaults.insert(&new.id, defaults)?;
        // A Docker that has no answer forgets the network.
        let stray = stray(&new.id, None, Vec::new());
        let made = self.ensure_network(&neutron, &wishes, &new, by).await;
        if made.is_ok()
            && self.settings.runtime.is_some()
            && let Some(program) = caller.program()
        {
            self.unconfirmed.insert(&new.id, program).await;
        }
        self.debts.forgo(&stray).await;
        match made {
            Ok(made) if made.anew && caller.is_gone() => {
                tracing::warn!(
                    "nobody waits for network {} any more: removed again",
                    new.id
                );
                self.delete_network_in_turn(&new.id, by.max(Instant::now() + TO_UNDO))
                    .await
            }
            Ok(_) => Ok(()),
            Err(error) => {
                self.port_defaults.remove(&new.id);
                Err(error)
            }
        }
    }

    async fn ensure_network(
        &self,
        neutron: &Neutron,
        wishes: &Wishes,
        new: &NewNetwork,
        by: Instant,
    ) -> Result<Made, Error> {
        // What goes because an earlier attempt has failed must not take this one's network with it; but what
        // that one has asked for may still come into being.
        let left = names::network_description(&new.id);
        let of_earlier = |debt: &Debt| matches!(debt, Debt::DeleteStrayNetwork { description, .. } if *description == left);
        self.debts.settled(by, of_earlier).await;
        let withdrawn = self.debts.withdraw(by, of_earlier).await;
        let made = self.find_or_make_network(neutron, wishes, new, by).await;
        for debt in withdrawn {
            let debt = match &made {
                Ok(made) => stray(&new.id, Some(made.network), Vec::new()),
                Err(_) => debt,
            };
            self.debts.owe(debt).await;
        }
        made
    }

    async fn find_or_make_network(
        &self,
        neutron: &Neutron,
        wishes: &Wishes,
        new: &NewNetwork,
        by: Instant,
    ) -> Result<Made, Error> {
        if wishes.network.is_none()
            && let Some(net) = self.left_of_earlier_attempt(neutron, &new.id, by).await?
        {
            same_ranges(&net, new)?;
            let (network, anew) = (net.id, false);
            return Ok(Made { network, anew });
        }
        let mut leases: Vec<Option<(PoolId, Lease)>> = new
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
        let named = self.named_network(neutron, wishes, &leases).await?;
        if let Some(named) = named {
            let (network, anew) = (named.id, true);
            self.adopt_network(named, wishes, new, &leases, by).await?;
            for (pool, _) in leases.iter().flatten() {
                self.leases.remove(pool);
            }
            return Ok(Made { network, anew });
        }
        let asked = self.take_asked_pools(neutron, wishes, new, &mut leases);
        let spare = asked.await?;
        let (mut undo, shared) = (Vec::new(), wishes.shared == Some(true));
        let made = self.make_network(neutron, new, shared, &leases, &mut undo);
        match made.await {
            Ok(net) => {
                // Without their leases nobody would find its pools again, if this run ended here.
                let pools = made_pools(&net.subnets, &self.settings.subnet_pool_prefix);
                self.debts.intend(&stray(&new.id, None, pools)).await;
                let (network, anew) = (net.id, true);
                self.view.insert(net);
                for pool in spare {
                    self.debts.owe(Debt::DeletePool(pool)).await;
                }
                for (pool, _) in leases.iter().flatten() {
                    self.leases.remove(pool);
                }
                Ok(Made { network, anew })
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

    /// Puts the subnet pools that the user names with `-o` in the place of those that we have made for
    /// the ranges before, and returns those: nobody needs them any more.
    async fn take_asked_pools(
        &self,
        neutron: &Neutron,
        wishes: &Wishes,
        new: &NewNetwork,
        leases: &mut [Option<(PoolId, Lease)>],
    ) -> Result<Vec<MadePool>, Error> {
        let mut spare = Vec::new();
        for (range, lease) in new.ranges.iter().zip(leases) {
            let version = IpVersion::of(range.cidr.addr());
            let (Some(named), Some((_, lease))) = (&wishes.of_version(version).pool, lease) else {
                continue;
            };
            let asked = self.named_pool(neutron, named, version).await?;
            match &mut lease.source {
                Source::DefaultPool { pool, .. } if *pool != asked.id => {
                    let (taken, asked) = (*pool, asked.id);
                    return Err(Error::OtherPool { taken, asked });
                }
                Source::DefaultPool { .. } => {}
                Source::OwnPool(pool) => {
                    let (id, name) = (asked.id, asked.name);
                    spare.push(std::mem::replace(pool, MadePool { id, name }));
                }
            }
        }
        Ok(spare)
    }

    async fn make_network(
        &self,
        neutron: &Neutron,
        new: &NewNetwork,
        shared: bool,
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
                    shared: shared.then_some(true),
                };
                neutron.update(id, &change).await.map_err(make())?
            }
            None => {
                let body = NewNeutronNetwork {
                    name: name.clone(),
                    description: description.clone(),
                    admin_state_up: true,
                    shared,
                };
                let itself = stray(&new.id, None, Vec::new());
                self.debts.intend_or_refuse(&itself).await?;
                let made = neutron
                    .create_counted(&body, &named(&name, &description))
                    .await;
                match &made {
                    Ok(created) => {
                        if created.repeated {
                            let stray = stray(&new.id, Some(created.object.id), Vec::new());
                            self.debts.owe(stray).await;
                        }
                        undo.push(Debt::DeleteNetwork {
                            network: created.object.id,
                            pools: Vec::new(),
                        });
                    }
                    Err(_) => undo.push(stray(&new.id, None, Vec::new())),
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
}

/// What is owed for a network that we make, if its reply does not come.
fn stray(id: &NetworkId, except: Option<NeutronNetworkId>, pools: Vec<MadePool>) -> Debt {
    Debt::DeleteStrayNetwork {
        name: names::network(id),
        description: names::network_description(id),
        except,
        pools,
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
