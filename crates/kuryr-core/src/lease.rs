//! Ranges of addresses that were set aside for networks that are going to be made.
//!
//! Docker asks for a range first, then for the gateway's address, and then for the network, to
//! which it shows the range and not what we called it. So a range is set aside for one request at
//! a time, and given back if no network follows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use neutron_api::{NetworkId as NeutronNetworkId, SubnetId, SubnetPoolId};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ask::PoolId;
use crate::debt::{Debt, MadePool};
use crate::error::Error;
use crate::journal::{Journal, JournalError};
use crate::range;

/// For how long a range waits for its network: far longer than Docker takes.
pub(crate) const LIFE: Duration = Duration::from_secs(60);

/// A range that was set aside.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Lease {
    pub(crate) cidr: IpNet,
    /// The part of it that containers are to have addresses from.
    pub(crate) part: Option<IpNet>,
    pub(crate) source: Source,
    /// The subnet that there is already, if the user names one.
    #[serde(default)]
    pub(crate) subnet: Option<TheirSubnet>,
    /// The gateway, if we chose it and not the user.
    #[serde(default)]
    pub(crate) guessed_gateway: Option<IpAddr>,
    /// Addresses that were asked for before the network was.
    pub(crate) reserved: Vec<IpAddr>,
}

/// A subnet that was there before us.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct TheirSubnet {
    pub(crate) id: SubnetId,
    pub(crate) network: NeutronNetworkId,
    pub(crate) gateway: Option<IpAddr>,
}

/// What holds a range in Neutron.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Source {
    /// A subnet pool that we made for the user's range.
    OwnPool(MadePool),
    /// A subnet of a default pool, or of one that the user names, on a network that waits for its container network.
    DefaultPool {
        pool: SubnetPoolId,
        network: NeutronNetworkId,
        subnet: SubnetId,
        gateway: Option<IpAddr>,
    },
}

/// All ranges that are set aside.
pub(crate) struct Leases {
    open: Mutex<HashMap<String, Lease>>,
    changed: Notify,
    journal: Journal,
}

impl Leases {
    /// Those that an earlier run of this program has left, and all that come.
    pub(crate) fn new(journal: Journal) -> Self {
        let open = journal.read(PREFIX).into_iter().collect();
        Self {
            open: Mutex::new(open),
            changed: Notify::new(),
            journal,
        }
    }

    /// Waits until nobody else is making a network with this range.
    pub(crate) async fn free(&self, cidr: IpNet, by: Instant) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let changed = self.changed.notified();
            if !self.open().values().any(|lease| lease.cidr == cidr) {
                return Ok(());
            }
            tokio::time::timeout_at(by, changed)
                .await
                .map_err(|_| Error::Busy {
                    what: format!("a network with {cidr}"),
                    waited: start.elapsed(),
                })?;
        }
    }

    /// Begins a lease.
    ///
    /// # Errors
    /// It can't be noted: the disk is full. A crash would then leave its range.
    pub(crate) fn insert(&self, pool: &PoolId, lease: Lease) -> Result<(), JournalError> {
        self.write(pool, &lease)?;
        self.open().insert(pool.to_string(), lease);
        Ok(())
    }

    pub(crate) fn get(&self, pool: &PoolId) -> Option<Lease> {
        self.open().get(pool.as_str()).cloned()
    }

    /// All that are set aside.
    pub(crate) fn all(&self) -> Vec<(PoolId, Lease)> {
        let open = self.open();
        open.iter()
            .filter_map(|(id, lease)| Some((id.parse().ok()?, lease.clone())))
            .collect()
    }

    /// The one that is set aside for this range.
    pub(crate) fn with_range(&self, cidr: IpNet) -> Option<(PoolId, Lease)> {
        self.all().into_iter().find(|(_, lease)| lease.cidr == cidr)
    }

    /// Ends a lease: its network was made, or it is given back.
    pub(crate) fn remove(&self, pool: &PoolId) -> Option<Lease> {
        let lease = self.open().remove(pool.as_str())?;
        // For good: a lease that came back would run out, and take its network away.
        self.journal.forget_for_good(&format!("{PREFIX}{pool}"));
        self.changed.notify_waiters();
        Some(lease)
    }

    /// Reserves an address of a range whose network does not exist yet; none if it does.
    pub(crate) fn reserve(
        &self,
        pool: &PoolId,
        address: Option<IpAddr>,
    ) -> Result<Option<IpNet>, Error> {
        let mut open = self.open();
        let Some(lease) = open.get_mut(pool.as_str()) else {
            return Ok(None);
        };
        let address = address.unwrap_or_else(|| {
            let gateway = lease.gateway();
            lease.guessed_gateway = Some(gateway);
            gateway
        });
        let outside = || Error::OutsideRange {
            address,
            range: lease.cidr,
        };
        if !lease.cidr.contains(&address) {
            return Err(outside());
        }
        if lease.reserved.contains(&address) {
            return Err(Error::ReservedTwice {
                address,
                range: lease.cidr,
            });
        }
        lease.reserved.push(address);
        self.note(pool, lease);
        IpNet::new(address, lease.cidr.prefix_len())
            .map(Some)
            .map_err(|_| outside())
    }

    /// Gives back such an address; whether it was one.
    pub(crate) fn release(&self, pool: &PoolId, address: IpAddr) -> bool {
        let mut open = self.open();
        let Some(lease) = open.get_mut(pool.as_str()) else {
            return false;
        };
        lease.reserved.retain(|reserved| *reserved != address);
        self.note(pool, lease);
        true
    }

    fn note(&self, pool: &PoolId, lease: &Lease) {
        if let Err(error) = self.write(pool, lease) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "a crash now would make us forget what is set aside of pool {pool}"
            );
        }
    }

    fn write(&self, pool: &PoolId, lease: &Lease) -> Result<(), JournalError> {
        self.journal.write(&format!("{PREFIX}{pool}"), lease)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Lease>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// What is to be done when no network is made of it.
    pub(crate) fn undoing(&self) -> Debt {
        match &self.source {
            Source::OwnPool(pool) => Debt::DeletePool(pool.clone()),
            Source::DefaultPool { network, .. } => Debt::DeleteNetwork {
                network: *network,
                pools: Vec::new(),
            },
        }
    }

    /// The gateway that the network will have if the user names none.
    pub(crate) fn gateway(&self) -> IpAddr {
        match &self.source {
            Source::DefaultPool {
                gateway: Some(gateway),
                ..
            } => *gateway,
            Source::DefaultPool { gateway: None, .. } | Source::OwnPool(_) => {
                range::first_host(self.cidr)
            }
        }
    }
}

const PREFIX: &str = "lease-";
