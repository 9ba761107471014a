//! Address pools: ranges of addresses for networks that are going to be made.

use std::net::IpAddr;

use ipnet::IpNet;
use neutron_api::{
    IpVersion, Network, NewNetwork, NewSubnet, NewSubnetPool, Resource, Subnet, SubnetId,
    SubnetPool, SubnetPoolId,
};
use neutron_client::{Filter, Neutron};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::ask::{Gateway, Pool, PoolId, PoolRequest};
use crate::debt::{Debt, MadePool, named};
use crate::error::{Error, told};
use crate::kuryr::Kuryr;
use crate::lease::{LIFE, Lease, Source, TheirSubnet};
use crate::names;
use crate::options::{Named, Wishes};

impl Kuryr {
    /// Sets a range of addresses aside for a network that is going to be made.
    ///
    /// The range is given back if no network is made of it within a minute.
    ///
    /// # Errors
    /// The range does not fit the request, no default subnet pool exists, or Neutron's refusal.
    pub async fn request_pool(&self, ask: PoolRequest, by: Instant) -> Result<Pool, Error> {
        let neutron = self.neutron.by(by);
        let wishes = Wishes::of_pool(&ask.options)?;
        let wish = wishes.of_version(ask.version);
        let theirs = match &wish.subnet {
            Some(named) => Some(named_subnet(&neutron, named).await?),
            None => None,
        };
        if let (Some(subnet), Some(asked)) = (&theirs, ask.cidr)
            && subnet.cidr != asked.trunc()
        {
            let (subnet, has) = (subnet.id, subnet.cidr);
            return Err(Error::OtherRange { subnet, has, asked });
        }
        let range = theirs.as_ref().map(|subnet| subnet.cidr).or(ask.cidr);
        let range = range.map(|cidr| checked(&ask, cidr)).transpose()?;
        let (id, lease, stray) = match (range, &wish.pool) {
            (_, Some(named)) if theirs.is_none() => {
                let pool = self.named_pool(&neutron, named, ask.version).await?;
                self.range_of_pool(&neutron, &pool, range).await?
            }
            (Some((cidr, part)), _) => {
                // One at a time for a range: the network that follows is told by its range alone.
                let _turn = self.ranges.turn(&cidr, by).await?;
                self.leases.free(cidr, by).await?;
                let (id, mut lease, stray) = self.pool_of_range(&neutron, cidr, part).await?;
                lease.subnet = theirs.map(|subnet| TheirSubnet {
                    id: subnet.id,
                    network: subnet.network_id,
                    gateway: subnet.gateway_ip,
                });
                (id, lease, stray)
            }
            (None, _) => {
                let pool = self.default_pool(&neutron, ask.version).await?;
                self.range_of_pool(&neutron, &pool, None).await?
            }
        };
        let cidr = lease.cidr;
        let undoing = lease.undoing();
        if let Err(full) = self.leases.insert(&id, lease) {
            // Until it is gone, the other note says that it is to go.
            self.debts.pay(undoing, by).await;
            self.debts.forgo(&stray).await;
            return Err(Error::Unnoted(full));
        }
        self.debts.forgo(&stray).await;
        self.expire(id.clone());
        Ok(Pool { id, cidr })
    }

    /// Gives a range back; succeeds for one that a network was made of, which goes with it.
    ///
    /// # Errors
    /// A network is still being made of it.
    pub async fn release_pool(&self, pool: &PoolId, by: Instant) -> Result<(), Error> {
        let turn = self.lease_turns.turn(pool, by).await?;
        let Some(lease) = self.leases.get(pool) else {
            return Ok(());
        };
        let debt = lease.undoing();
        // Owed before it is forgotten: a crash between the two must not leave it in Neutron.
        self.debts.owe(debt.clone()).await;
        self.leases.remove(pool);
        drop(turn);
        self.debts.settled(by, |open| *open == debt).await;
        Ok(())
    }

    /// Reserves the address of a network's gateway, if the network has one.
    ///
    /// # Errors
    /// The address is not in the range, is not the gateway, or the pool is unknown.
    pub async fn reserve_gateway(
        &self,
        pool: &PoolId,
        wanted: Option<IpAddr>,
        by: Instant,
    ) -> Result<Gateway, Error> {
        if let Some(lease) = self.leases.get(pool)
            && let Some(subnet) = lease.subnet
        {
            return gateway_of(lease.cidr, subnet.gateway, wanted);
        }
        if let Some(reserved) = self.leases.reserve(pool, wanted)? {
            return Ok(Gateway::At(reserved));
        }
        let (_, subnet) = self.network_of_pool(pool, by).await?;
        match subnet.gateway_ip {
            // A network that Docker knows has lost its gateway: that is no fault of the question.
            None => Ok(Gateway::None(subnet.ip_version())),
            gateway => gateway_of(subnet.cidr, gateway, wanted),
        }
    }

    /// Makes a subnet pool that holds just the user's range; the debt is forgone once it has a lease.
    async fn pool_of_range(
        &self,
        neutron: &Neutron,
        cidr: IpNet,
        part: Option<IpNet>,
    ) -> Result<(PoolId, Lease, Debt), Error> {
        let new = NewSubnetPool {
            name: names::subnet_pool(&self.settings.subnet_pool_prefix, cidr),
            description: Uuid::new_v4().to_string(),
            prefixes: vec![cidr],
            default_prefixlen: Some(cidr.prefix_len()),
            min_prefixlen: Some(cidr.prefix_len()),
        };
        let identity = named(&new.name, &new.description);
        let stray = |except| Debt::DeleteStrayPool {
            name: new.name.clone(),
            description: new.description.clone(),
            except,
        };
        self.debts.intend_or_refuse(&stray(None)).await?;
        let pool = match self.debts.make(neutron, &new, &identity, stray).await {
            Ok(pool) => pool,
            Err(error) => {
                self.debts.forgo(&stray(None)).await;
                return Err(told(format!("set aside {cidr}"))(error));
            }
        };
        let made = MadePool {
            id: pool.id,
            name: pool.name,
        };
        let lease = lease(cidr, part, Source::OwnPool(made));
        Ok((pool_id(pool.id)?, lease, stray(None)))
    }

    /// Takes a range from a subnet pool, this one or any, onto a network that waits for its name.
    ///
    /// Neutron gives ranges to subnets only, and a subnet to a network only. The debt is forgone once
    /// the network has a lease.
    async fn range_of_pool(
        &self,
        neutron: &Neutron,
        pool: &SubnetPool,
        range: Option<(IpNet, Option<IpNet>)>,
    ) -> Result<(PoolId, Lease, Debt), Error> {
        let (cidr, part) = range.unzip();
        let act = || format!("take a range of subnet pool {} ({})", pool.name, pool.id);
        let waiting = NewNetwork {
            name: names::waiting_network(&Uuid::new_v4()),
            description: "waits for the container network that it is going to be".to_owned(),
            admin_state_up: true,
            shared: false,
        };
        let stray = |except| Debt::DeleteStrayNetwork {
            name: waiting.name.clone(),
            description: waiting.description.clone(),
            except,
            pools: Vec::new(),
        };
        let identity = named(&waiting.name, &waiting.description);
        self.debts.intend_or_refuse(&stray(None)).await?;
        let made = self.debts.make(neutron, &waiting, &identity, stray).await;
        let network = match made {
            Ok(network) => network,
            Err(error) => {
                self.debts.forgo(&stray(None)).await;
                return Err(told(act())(error));
            }
        };
        match self.subnet_of_pool(neutron, &network, pool, cidr).await {
            Ok(subnet) => {
                let source = Source::DefaultPool {
                    pool: pool.id,
                    network: network.id,
                    subnet: subnet.id,
                    gateway: subnet.gateway_ip,
                };
                let lease = lease(subnet.cidr, part.flatten(), source);
                Ok((pool_id(subnet.id)?, lease, stray(None)))
            }
            Err(error) => {
                let undo = Debt::DeleteNetwork {
                    network: network.id,
                    pools: Vec::new(),
                };
                self.debts.owe(undo).await;
                self.debts.forgo(&stray(None)).await;
                Err(told(act())(error))
            }
        }
    }

    async fn subnet_of_pool(
        &self,
        neutron: &Neutron,
        network: &Network,
        pool: &SubnetPool,
        cidr: Option<IpNet>,
    ) -> Result<Subnet, neutron_client::Error> {
        let new = NewSubnet {
            name: String::new(),
            description: String::new(),
            network_id: network.id,
            ip_version: pool.ip_version,
            cidr,
            subnetpool_id: Some(pool.id),
            gateway_ip: None,
            allocation_pools: None,
            enable_dhcp: self.settings.enable_dhcp,
        };
        neutron
            .create(&new, &Filter::new().with("network_id", network.id))
            .await
    }

    async fn default_pool(
        &self,
        neutron: &Neutron,
        version: IpVersion,
    ) -> Result<SubnetPool, Error> {
        let name = match version {
            IpVersion::V4 => &self.settings.default_subnet_pool_v4,
            IpVersion::V6 => &self.settings.default_subnet_pool_v6,
        };
        let filter = Filter::new().with("name", name);
        let pools = neutron
            .list::<SubnetPool>(&filter)
            .await
            .map_err(told(format!("look up the default subnet pool {name}")))?;
        match <[SubnetPool; 1]>::try_from(pools) {
            Ok([pool]) if pool.ip_version == version => Ok(pool),
            Ok([pool]) => Err(Error::DefaultPoolVersion {
                name: pool.name,
                version,
            }),
            Err(pools) if pools.is_empty() => Err(Error::NoDefaultPool {
                name: name.clone(),
                version,
            }),
            Err(pools) => Err(Error::Ambiguous {
                what: format!("default subnet pool {name}"),
                candidates: candidates(&pools),
            }),
        }
    }

    /// The subnet pool that the user names.
    pub(crate) async fn named_pool(
        &self,
        neutron: &Neutron,
        named: &Named<SubnetPoolId>,
        version: IpVersion,
    ) -> Result<SubnetPool, Error> {
        let act = told(format!("look up subnet pool {named}"));
        let found = match named {
            Named::Id(id) => neutron.find(*id).await.map(Vec::from_iter),
            Named::Name(name) => neutron.list(&Filter::new().with("name", name)).await,
        };
        match <[SubnetPool; 1]>::try_from(found.map_err(act)?) {
            Ok([pool]) if pool.ip_version == version => Ok(pool),
            Ok([pool]) => Err(Error::DefaultPoolVersion {
                name: pool.name,
                version,
            }),
            Err(pools) if pools.is_empty() => Err(Error::NoSuchPool(named.to_string())),
            Err(pools) => Err(Error::Ambiguous {
                what: format!("subnet pool {named}"),
                candidates: candidates(&pools),
            }),
        }
    }

    /// Gives back ranges that no network was made of, also those of an earlier run.
    pub(crate) fn expire_leases(&self) {
        for (pool, _) in self.leases.all() {
            self.expire(pool);
        }
    }

    fn expire(&self, pool: PoolId) {
        let kuryr = self.clone();
        self.background.spawn(async move {
            sleep(LIFE).await;
            if kuryr.leases.get(&pool).is_some() {
                tracing::warn!("giving back pool {pool}: no network was made of it");
                let _ = kuryr.release_pool(&pool, Instant::now() + LIFE).await;
            }
        });
    }
}

/// The subnet that the user names.
pub(crate) async fn named_subnet(
    neutron: &Neutron,
    named: &Named<SubnetId>,
) -> Result<Subnet, Error> {
    let act = told(format!("look up subnet {named}"));
    let found = match named {
        Named::Id(id) => neutron.find(*id).await.map(Vec::from_iter),
        Named::Name(name) => neutron.list(&Filter::new().with("name", name)).await,
    };
    match <[Subnet; 1]>::try_from(found.map_err(act)?) {
        Ok([subnet]) => Ok(subnet),
        Err(subnets) if subnets.is_empty() => Err(Error::NoSuchSubnet(named.to_string())),
        Err(subnets) => Err(Error::Ambiguous {
            what: format!("subnet {named}"),
            candidates: candidates(&subnets),
        }),
    }
}

/// Objects of one name, as a user tells them apart.
pub(crate) fn candidates<R: Resource>(objects: &[R]) -> Vec<String> {
    objects
        .iter()
        .map(|object| object.id().to_string())
        .collect()
}

/// The gateway of a subnet that there is, if it is the one that is wanted.
fn gateway_of(range: IpNet, has: Option<IpAddr>, wanted: Option<IpAddr>) -> Result<Gateway, Error> {
    match (has, wanted) {
        (Some(gateway), Some(wanted)) if gateway != wanted => Err(Error::OtherGateway {
            wanted,
            gateway,
            range,
        }),
        (None, Some(wanted)) => Err(Error::NoGateway { wanted, range }),
        (Some(gateway), _) => Ok(Gateway::At(in_range(gateway, range)?)),
        (None, None) => Ok(Gateway::None(IpVersion::of(range.addr()))),
    }
}

/// The range and the part of it that are asked for, if they go together.
fn checked(ask: &PoolRequest, cidr: IpNet) -> Result<(IpNet, Option<IpNet>), Error> {
    let (cidr, part) = (cidr.trunc(), ask.part.map(|part| part.trunc()));
    if IpVersion::of(cidr.addr()) != ask.version {
        return Err(Error::RangeVersion {
            range: cidr,
            version: ask.version,
        });
    }
    match part {
        Some(part) if !cidr.contains(&part) => Err(Error::PartOutside { part, range: cidr }),
        part => Ok((cidr, part)),
    }
}

fn lease(cidr: IpNet, part: Option<IpNet>, source: Source) -> Lease {
    Lease {
        cidr,
        part,
        source,
        subnet: None,
        guessed_gateway: None,
        reserved: Vec::new(),
    }
}

fn pool_id(id: impl std::fmt::Display) -> Result<PoolId, Error> {
    id.to_string()
        .parse()
        .map_err(|_| Error::Bug("a UUID is not a pool identifier"))
}

/// An address with its range's prefix length, as container runtimes write it.
pub(crate) fn in_range(address: IpAddr, range: IpNet) -> Result<IpNet, Error> {
    IpNet::new(address, range.prefix_len()).map_err(|_| Error::OutsideRange { address, range })
}
