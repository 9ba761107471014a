//! Warm ports: made, bound and plugged before a container asks for one, and handed on when it goes.
//!
//! Each container network that is in use here has a pool. Its ports bear a name that says so, which
//! is all that is kept of them: after a restart they are found by it.

mod demand;
mod drain;
mod fill;
mod find;
mod park;
mod recycle;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use neutron_api::{MacAddress, NetworkId as NeutronNetworkId, Port, PortId, SubnetId};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::address::has_address;
use crate::ask::NetworkId;

use demand::Demand;
pub(crate) use drain::delete_pool_ports;
pub(crate) use recycle::{AsMade, Used, clean};

/// How many warm ports there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortPoolSettings {
    /// Whether there are any, where a network does not say otherwise.
    pub enabled: bool,
    /// For each network that is in use here.
    pub min: usize,
    /// For each network.
    pub max: usize,
    /// How many are made in one request.
    pub batch: usize,
    /// After this time without as many starts, ports beyond `min` go.
    pub idle: Duration,
}

impl Default for PortPoolSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            min: 2,
            max: 64,
            batch: 10,
            idle: Duration::from_secs(600),
        }
    }
}

/// The warm ports of all networks.
pub(crate) struct PortPools {
    all: Mutex<HashMap<NetworkId, Arc<PortPool>>>,
    /// What the neighbours of ports have heard that no container has joined since.
    announced: Mutex<HashMap<PortId, Announced>>,
    settings: PortPoolSettings,
    /// A host never floods Neutron, however many networks it has.
    at_once: Semaphore,
    /// What an earlier run had promised to the runtime is asked for again within this time.
    settled_from: Instant,
}

/// Docker asks again for 30 seconds where its driver was away in the middle of a call.
const AFTER_RESTART: Duration = Duration::from_secs(60);
const AT_ONCE: usize = 2;
/// After Neutron has refused to make a port, or could not be asked.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// The warm ports of a network.
pub(crate) struct PortPool {
    pub(crate) network: NeutronNetworkId,
    state: Mutex<State>,
    /// There may be something to do.
    wake: Notify,
    /// Held while something is being done.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Those that have waited longest are first.
    ready: VecDeque<Warm>,
    /// Those whose endpoints have gone.
    returning: HashMap<PortId, Returning>,
    /// Of which subnets a port is to have addresses.
    shape: Vec<SubnetId>,
    demand: Demand,
    /// It is known which ports an earlier run has left.
    complete: bool,
    /// Since when there are too few.
    short_since: Option<Instant>,
    /// Neutron would give no more, so it is not asked before then.
    paused: Option<Instant>,
    /// The way in which its ports are plugged knows no change of owner.
    is_of_no_use: bool,
    closed: bool,
}

/// Where a port's addresses are, as its neighbours know it.
#[derive(Eq, PartialEq)]
struct Announced {
    mac: MacAddress,
    addresses: HashSet<IpAddr>,
}

impl From<&Port> for Announced {
    fn from(port: &Port) -> Self {
        Self {
            mac: port.mac_address,
            addresses: port.fixed_ips.iter().map(|ip| ip.ip_address).collect(),
        }
    }
}

/// A port that waits for an endpoint.
struct Warm {
    port: Port,
    /// An earlier run may have promised its addresses to the runtime: until then it is for who asks
    /// for just these.
    from: Instant,
}

/// A port whose endpoint has gone.
struct Returning {
    port: Port,
    /// The addresses that the runtime is still going to release.
    unreleased: Vec<IpAddr>,
    since: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Stage {
    /// Neutron still knows what the last owner has made of it.
    Used,
    Clean,
    /// Its interface is being taken back.
    Parking,
    /// Neutron has it no more, or it is to go.
    Lost,
    Parked,
}

impl PortPools {
    pub(crate) fn new(settings: PortPoolSettings) -> Self {
        Self {
            all: Mutex::default(),
            announced: Mutex::default(),
            settings,
            at_once: Semaphore::new(AT_ONCE),
            settled_from: Instant::now() + AFTER_RESTART,
        }
    }

    fn get(&self, of: &NetworkId) -> Option<Arc<PortPool>> {
        self.all().get(of).cloned()
    }

    /// The pool of a network, and whether it was made just now.
    fn ensure(&self, of: &NetworkId, network: NeutronNetworkId) -> (Arc<PortPool>, bool) {
        let mut all = self.all();
        if let Some(pool) = all.get(of) {
            return (Arc::clone(pool), false);
        }
        let pool = Arc::new(PortPool {
            network,
            state: Mutex::default(),
            wake: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        });
        all.insert(of.clone(), Arc::clone(&pool));
        (pool, true)
    }

    /// Ends a pool: nobody is given a port of it any more. Also those of its ports whose interfaces
    /// still bear the names of their last owners.
    fn close(&self, of: &NetworkId) -> Option<(Arc<PortPool>, Vec<PortId>)> {
        let pool = self.all().remove(of)?;
        let mut state = pool.state();
        state.closed = true;
        state.ready.clear();
        let returning = state.returning.drain().map(|(port, _)| port).collect();
        drop(state);
        pool.wake.notify_one();
        Some((pool, returning))
    }

    /// A network's warm port that has this address.
    pub(crate) fn take_at(&self, of: &NetworkId, address: IpAddr) -> Option<Port> {
        let pool = self.get(of)?;
        let port = pool.state().take(|warm| has_address(&warm.port, address))?;
        pool.wake.notify_one();
        Some(port)
    }

    /// The port that an earlier run has promised to the runtime, as far as can be told.
    pub(crate) fn take_promised(&self, of: &NetworkId, addresses: &[IpNet]) -> Option<Port> {
        let has_all = |warm: &Warm| {
            let mut asked = addresses.iter();
            asked.all(|net| has_address(&warm.port, net.addr()))
        };
        self.get(of)?.state().take(has_all)
    }

    /// Whether a port waits in a pool, or is on its way back into one.
    pub(crate) fn has(&self, port: PortId) -> bool {
        self.find(|pool| pool.state().has(port).then_some(()))
            .is_some()
    }

    /// The pools of the container networks that are on this Neutron network.
    fn on(&self, network: NeutronNetworkId) -> Vec<Arc<PortPool>> {
        let all = self.all();
        let on = all.values().filter(|pool| pool.network == network);
        on.cloned().collect()
    }

    /// Notes that a port's neighbours have heard of it.
    fn note_announced(&self, port: &Port) {
        self.announced().insert(port.id, port.into());
    }

    /// Whether a port's neighbours have heard of it as it is now, since it was made or its last container went.
    pub(crate) fn take_announced(&self, port: &Port) -> bool {
        self.announced().remove(&port.id) == Some(port.into())
    }

    fn announced(&self) -> MutexGuard<'_, HashMap<PortId, Announced>> {
        self.announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The ports of a Neutron network, or the one that has this address, that wait in pools or are on
    /// their way back: they are none of a pool's any more.
    fn take_out(&self, network: NeutronNetworkId, address: Option<IpAddr>) -> Vec<Port> {
        let pools = self.on(network);
        let out = pools.iter().flat_map(|pool| pool.state().take_out(address));
        out.collect()
    }

    /// The same of all networks; none is made for a while.
    fn take_all_out(&self) -> Vec<Port> {
        let pause = Instant::now() + AFTER_REFUSAL;
        let all = self.all();
        let out = all.values().flat_map(|pool| {
            let mut state = pool.state();
            state.paused = Some(pause);
            state.take_out(None)
        });
        out.collect()
    }

    /// Takes note that the runtime has released an address; whether it was a warm port's.
    pub(crate) fn released(&self, network: NeutronNetworkId, address: IpAddr) -> bool {
        let found = self.find(|pool| {
            let known = pool.network == network && pool.state().released(address);
            known.then(|| pool.wake.notify_one())
        });
        found.is_some()
    }

    /// Takes this port, if it waits in a pool; whether it does.
    pub(crate) fn take_port(&self, port: PortId) -> bool {
        let taken = self.find(|pool| pool.state().take(|warm| warm.port.id == port));
        taken.is_some()
    }

    /// Neutron has cleaned a port, or has it no more.
    pub(crate) fn cleaned(&self, id: PortId, port: Option<&Port>) {
        self.find(|pool| {
            let mut state = pool.state();
            let returning = state.returning.get_mut(&id)?;
            match port {
                Some(port) => {
                    returning.port = port.clone();
                    returning.stage = Stage::Clean;
                }
                None => returning.stage = Stage::Lost,
            }
            drop(state);
            pool.wake.notify_one();
            Some(())
        });
    }

    fn find<T>(&self, which: impl FnMut(&Arc<PortPool>) -> Option<T>) -> Option<T> {
        self.all().values().find_map(which)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<NetworkId, Arc<PortPool>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PortPool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The port that has waited longest of those that are `such`.
    fn take(&mut self, such: impl Fn(&Warm) -> bool) -> Option<Port> {
        let place = self.ready.iter().position(such)?;
        self.ready.remove(place).map(|warm| warm.port)
    }

    fn take_out(&mut self, address: Option<IpAddr>) -> Vec<Port> {
        let is_meant = |port: &Port| address.is_none_or(|address| has_address(port, address));
        let ready = std::mem::take(&mut self.ready).into_iter();
        let (meant, kept) = ready.partition::<VecDeque<_>, _>(|warm| is_meant(&warm.port));
        self.ready = kept;
        let mut out: Vec<Port> = meant.into_iter().map(|warm| warm.port).collect();
        let returning = self
            .returning
            .extract_if(|_, returning| is_meant(&returning.port));
        out.extend(returning.map(|(_, returning)| returning.port));
        out
    }

    fn has(&self, port: PortId) -> bool {
        self.returning.contains_key(&port) || self.ready.iter().any(|warm| warm.port.id == port)
    }

    fn released(&mut self, address: IpAddr) -> bool {
        for returning in self.returning.values_mut() {
            if has_address(&returning.port, address) {
                returning.unreleased.retain(|other| *other != address);
                return true;
            }
        }
        self.ready
            .iter()
            .any(|warm| has_address(&warm.port, address))
    }

    fn has_at(&self, address: IpAddr) -> bool {
        let ready = self.ready.iter().map(|warm| &warm.port);
        let returning = self.returning.values().map(|returning| &returning.port);
        ready
            .chain(returning)
            .any(|port| has_address(port, address))
    }

    /// How many there are or are going to be.
    fn count(&self) -> usize {
        let lost = |returning: &&Returning| returning.stage != Stage::Lost;
        self.ready.len() + self.returning.values().filter(lost).count()
    }
}
