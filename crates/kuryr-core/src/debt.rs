//! What we still owe Neutron: done in the background, tried until it is done, kept across a crash.
//!
//! Docker waits for no change that a container can do without (a port's name, its removal), and it
//! forgets what failed to be removed: so such things are noted, and paid when Neutron can be paid.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use neutron_api::{
    Network, NetworkId as NeutronNetworkId, Port, PortChange, PortId, Resource, Subnet, SubnetPool,
    SubnetPoolId,
};
use neutron_client::{Filter, Neutron};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::ask::{EndpointId, NetworkId};
use crate::journal::Journal;
use crate::names;

/// A thing owed to Neutron.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Debt {
    /// A port is to bear its endpoint's name and tags.
    Label {
        port: PortId,
        network: NeutronNetworkId,
        addresses: Vec<IpAddr>,
        endpoint: EndpointId,
    },
    /// A port that we made is to go.
    DeletePort {
        port: PortId,
        network: NeutronNetworkId,
        addresses: Vec<IpAddr>,
    },
    /// A port is to go if it turns out that we made it.
    DeletePortIfOurs { port: PortId, endpoint: EndpointId },
    /// The ports that we made for an endpoint are to go, whichever they are.
    DeletePortsOf { endpoint: EndpointId },
    /// A network that we made is to go, and then the subnet pools that we made for it.
    DeleteNetwork {
        network: NeutronNetworkId,
        pools: Vec<MadePool>,
    },
    /// The network that we made for a container network is to go, whichever it is, and then its
    /// subnet pools.
    DeleteNetworkOf {
        container_network: NetworkId,
        pool_prefix: String,
    },
    /// A subnet pool is to go if we made it.
    DeletePool(MadePool),
    /// A port that was asked for, whose reply never came, is to go if it exists.
    DeleteStrayPort { device_id: String },
    /// Likewise a network.
    DeleteStrayNetwork { name: String, description: String },
    /// Likewise a subnet pool.
    DeleteStrayPool { name: String, description: String },
}

/// A subnet pool that we made, if it bears this name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct MadePool {
    pub(crate) id: SubnetPoolId,
    pub(crate) name: String,
}

impl Debt {
    /// Two debts of one key are about one object: the later one replaces the earlier.
    fn key(&self) -> String {
        match self {
            Self::Label { port, .. }
            | Self::DeletePort { port, .. }
            | Self::DeletePortIfOurs { port, .. } => format!("debt-port-{port}"),
            Self::DeleteNetwork { network, .. } => format!("debt-network-{network}"),
            Self::DeletePortsOf { endpoint } => format!("debt-endpoint-{endpoint}"),
            Self::DeleteNetworkOf {
                container_network, ..
            } => format!("debt-container-network-{container_network}"),
            Self::DeletePool(pool) => format!("debt-pool-{}", pool.id),
            Self::DeleteStrayPort { device_id } => format!("debt-stray-port-{device_id}"),
            Self::DeleteStrayNetwork { name, description }
            | Self::DeleteStrayPool { name, description } => {
                let key: String = format!("{name}-{description}")
                    .chars()
                    .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                    .collect();
                format!("debt-stray-{key}")
            }
        }
    }

    fn is_removal(&self) -> bool {
        !matches!(self, Self::Label { .. })
    }

    /// Whether addresses of a network, or this one, may become free when it is paid.
    fn may_free(&self, asked: NeutronNetworkId, address: Option<IpAddr>) -> bool {
        match self {
            Self::DeletePort {
                network, addresses, ..
            } => *network == asked && address.is_none_or(|address| addresses.contains(&address)),
            Self::DeletePortIfOurs { .. }
            | Self::DeletePortsOf { .. }
            | Self::DeleteStrayPort { .. } => true,
            Self::Label { .. }
            | Self::DeleteNetwork { .. }
            | Self::DeleteNetworkOf { .. }
            | Self::DeletePool(_)
            | Self::DeleteStrayNetwork { .. }
            | Self::DeleteStrayPool { .. } => false,
        }
    }
}

/// All that is owed; clones share it.
#[derive(Clone)]
pub(crate) struct Debts {
    shared: Arc<Shared>,
}

struct Shared {
    open: Mutex<HashMap<String, Entry>>,
    paid: Notify,
    journal: Journal,
    neutron: Neutron,
    /// A host never floods Neutron, however much it owes.
    at_once: Semaphore,
    payers: TaskTracker,
}

struct Entry {
    debt: Debt,
    /// Tells whether the debt was replaced while it was being paid.
    turn: u64,
}

const AT_ONCE: usize = 4;
const ONE_ATTEMPT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Debts {
    pub(crate) fn new(neutron: Neutron, journal: Journal) -> Self {
        let shared = Shared {
            open: Mutex::default(),
            paid: Notify::new(),
            journal,
            neutron,
            at_once: Semaphore::new(AT_ONCE),
            payers: TaskTracker::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes up what an earlier run of this program has left.
    pub(crate) fn resume(&self) {
        for (_, debt) in self.shared.journal.read::<Debt>("debt-") {
            tracing::info!(?debt, "taking up what an earlier run left to do");
            self.take_on(debt);
        }
    }

    /// Notes a debt durably and begins to pay it; returns as soon as it is noted.
    ///
    /// Where it can't be noted (a full disk) it is paid all the same, unless a crash comes first.
    pub(crate) async fn owe(&self, debt: Debt) {
        let key = debt.key();
        let earlier = self.current(&key).map(|(earlier, _)| earlier);
        // Nothing comes after a removal: a late label must not bring a port back.
        if !debt.is_removal() && earlier.as_ref().is_some_and(Debt::is_removal) {
            return;
        }
        self.note(&key, &debt).await;
        let begun = self.take_on(debt.clone());
        if earlier.is_some() && begun {
            // The earlier debt was paid meanwhile, and this one's note may have gone with its.
            self.note(&key, &debt).await;
            if self.current(&key).is_none() {
                self.erase(&key);
            }
        }
    }

    async fn note(&self, key: &str, debt: &Debt) {
        let (journal, key, note) = (self.shared.journal.clone(), key.to_owned(), debt.clone());
        let noted = tokio::task::spawn_blocking(move || journal.write(&key, &note)).await;
        if let Ok(Err(error)) = noted {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, ?debt, "a crash now would make us forget this");
        }
    }

    fn erase(&self, key: &str) {
        if let Err(error) = self.shared.journal.erase(key) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a paid debt stays noted");
        }
    }

    /// Owes `debt` and waits until it is paid; false if that takes longer than until `by`.
    pub(crate) async fn pay(&self, debt: Debt, by: Instant) -> bool {
        self.owe(debt.clone()).await;
        self.settled(by, |open| *open == debt).await
    }

    /// Waits until no debt is left that `concerns`; false if that takes longer than until `by`.
    pub(crate) async fn settled(&self, by: Instant, concerns: impl Fn(&Debt) -> bool) -> bool {
        loop {
            let paid = self.shared.paid.notified();
            if !self.open().values().any(|entry| concerns(&entry.debt)) {
                return true;
            }
            if tokio::time::timeout_at(by, paid).await.is_err() {
                return false;
            }
        }
    }

    /// Waits until the addresses of a network, or this one of them, are free that are going to be.
    pub(crate) async fn addresses_freed(
        &self,
        network: NeutronNetworkId,
        address: Option<IpAddr>,
        by: Instant,
    ) -> bool {
        self.settled(by, |debt| debt.may_free(network, address))
            .await
    }

    /// Whether an address of a network, or this one, may be about to become free.
    pub(crate) fn may_free(&self, network: NeutronNetworkId, address: Option<IpAddr>) -> bool {
        self.open()
            .values()
            .any(|entry| entry.debt.may_free(network, address))
    }

    /// Whether an address is known to be about to become free.
    pub(crate) fn frees(&self, asked: NeutronNetworkId, address: IpAddr) -> bool {
        self.open().values().any(|entry| {
            matches!(&entry.debt, Debt::DeletePort { network, addresses, .. }
                if *network == asked && addresses.contains(&address))
        })
    }

    /// Puts a debt in place of an earlier one, or begins to pay it; whether it began.
    fn take_on(&self, debt: Debt) -> bool {
        let key = debt.key();
        let mut open = self.open();
        if let Some(entry) = open.get_mut(&key) {
            if debt.is_removal() || !entry.debt.is_removal() {
                entry.debt = debt;
                entry.turn += 1;
            }
            return false;
        }
        open.insert(key.clone(), Entry { debt, turn: 0 });
        let debts = self.clone();
        self.shared
            .payers
            .spawn(async move { debts.pay_off(key).await });
        true
    }

    /// Pays the debt under `key`, and what replaces it meanwhile, however long it takes.
    async fn pay_off(&self, key: String) {
        let mut pause = FIRST_PAUSE;
        while let Some((debt, turn)) = self.current(&key) {
            let attempt = async {
                let _place = self.shared.at_once.acquire().await;
                pay(&self.shared.neutron.by(Instant::now() + ONE_ATTEMPT), &debt).await
            };
            let outcome = timeout(ONE_ATTEMPT * 2, attempt).await;
            match outcome {
                Ok(Ok(())) => {
                    if self.close(&key, turn) {
                        return;
                    }
                }
                Ok(Err(error)) => {
                    let in_use = error.status() == Some(StatusCode::CONFLICT);
                    if in_use && pause == LONGEST_PAUSE {
                        log(&error, &debt, "left as it is: others use it");
                        if self.close(&key, turn) {
                            return;
                        }
                        continue;
                    }
                    log(&error, &debt, "not done yet, trying again soon");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(_) => tracing::warn!(?debt, "not done yet: Neutron did not answer"),
            }
        }
    }

    fn current(&self, key: &str) -> Option<(Debt, u64)> {
        self.open()
            .get(key)
            .map(|entry| (entry.debt.clone(), entry.turn))
    }

    /// Strikes out a debt that was paid, unless it was replaced meanwhile.
    fn close(&self, key: &str, turn: u64) -> bool {
        let mut open = self.open();
        if open.get(key).is_some_and(|entry| entry.turn != turn) {
            return false;
        }
        self.erase(key);
        open.remove(key);
        self.shared.paid.notify_waiters();
        true
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(error: &neutron_client::Error, debt: &Debt, outcome: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, ?debt, "{outcome}");
}

async fn pay(neutron: &Neutron, debt: &Debt) -> Result<(), neutron_client::Error> {
    match debt {
        Debt::Label { port, endpoint, .. } => label(neutron, *port, endpoint).await,
        Debt::DeletePort { port, .. } => neutron.delete::<Port>(*port).await.map(drop),
        Debt::DeletePortIfOurs { port, endpoint } => match neutron.find::<Port>(*port).await? {
            Some(found) if is_ours(&found, endpoint) => {
                neutron.delete::<Port>(*port).await.map(drop)
            }
            Some(_) | None => Ok(()),
        },
        Debt::DeletePortsOf { endpoint } => {
            let filter = Filter::new().with("device_id", endpoint);
            for port in neutron.list::<Port>(&filter).await? {
                if is_ours(&port, endpoint) {
                    neutron.delete::<Port>(port.id).await?;
                }
            }
            Ok(())
        }
        Debt::DeleteNetworkOf {
            container_network,
            pool_prefix,
        } => delete_network_of(neutron, container_network, pool_prefix).await,
        Debt::DeleteNetwork { network, pools } => {
            neutron.delete::<Network>(*network).await?;
            for pool in pools {
                delete_made_pool(neutron, pool).await?;
            }
            Ok(())
        }
        Debt::DeletePool(pool) => delete_made_pool(neutron, pool).await,
        Debt::DeleteStrayPort { device_id } => {
            delete_all::<Port>(neutron, Filter::new().with("device_id", device_id)).await
        }
        Debt::DeleteStrayNetwork { name, description } => {
            delete_all::<Network>(neutron, named(name, description)).await
        }
        Debt::DeleteStrayPool { name, description } => {
            delete_all::<SubnetPool>(neutron, named(name, description)).await
        }
    }
}

/// A network that was there before us stays, and so does one that nobody has marked as ours.
async fn delete_network_of(
    neutron: &Neutron,
    id: &NetworkId,
    pool_prefix: &str,
) -> Result<(), neutron_client::Error> {
    let filter = Filter::new().tagged(&names::network_tags(id));
    for network in neutron.list::<Network>(&filter).await? {
        let ours = names::network_of(&network.tags).as_ref() == Some(id);
        if !ours || names::is_existing(&network.tags) {
            continue;
        }
        let of_network = Filter::new().with("network_id", network.id);
        let subnets = neutron.list::<Subnet>(&of_network).await?;
        neutron.delete::<Network>(network.id).await?;
        for pool in made_pools(&subnets, pool_prefix) {
            delete_made_pool(neutron, &pool).await?;
        }
    }
    Ok(())
}

/// The pools that would exist for these subnets alone, if we made them.
pub(crate) fn made_pools(subnets: &[Subnet], prefix: &str) -> Vec<MadePool> {
    let made = |subnet: &Subnet| {
        let name = names::subnet_pool(prefix, subnet.cidr);
        let id = subnet.subnetpool_id?;
        Some(MadePool { id, name })
    };
    subnets.iter().filter_map(made).collect()
}

/// The user's pools and the default ones have other names, and stay.
async fn delete_made_pool(neutron: &Neutron, made: &MadePool) -> Result<(), neutron_client::Error> {
    match neutron.find::<SubnetPool>(made.id).await? {
        Some(pool) if pool.name == made.name => {
            neutron.delete::<SubnetPool>(made.id).await.map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

/// What tells an object that we make from all others, from the moment it exists.
pub(crate) fn named(name: &str, description: &str) -> Filter {
    Filter::new()
        .with("name", name)
        .with("description", description)
}

async fn delete_all<R: Resource>(
    neutron: &Neutron,
    filter: Filter,
) -> Result<(), neutron_client::Error> {
    for object in neutron.list::<R>(&filter).await? {
        neutron.delete::<R>(object.id()).await?;
    }
    Ok(())
}

/// A port that is gone needs no label.
async fn label(
    neutron: &Neutron,
    port: PortId,
    endpoint: &EndpointId,
) -> Result<(), neutron_client::Error> {
    let change = PortChange {
        name: Some(names::port(endpoint)),
        device_id: Some(endpoint.to_string()),
        ..PortChange::default()
    };
    let labelled = async {
        neutron.update(port, &change).await?;
        neutron
            .replace_tags::<Port>(port, &names::port_tags(endpoint))
            .await
    };
    match labelled.await {
        Err(error) if error.is_absence() => Ok(()),
        other => other,
    }
}

/// Whether a port is one that we made, for this endpoint or not yet for any.
pub(crate) fn is_ours(port: &Port, endpoint: impl std::fmt::Display) -> bool {
    port.device_owner == names::DEVICE_OWNER
        && (port.name == names::port(endpoint) || port.name == names::UNBOUND_PORT)
}
