//! Keeps a network's pool as full as it is to be: one task for each, in the background.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use neutron_api::{NewPort, Port, Subnet, SubnetId, WantedIp};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::park::Before;
use super::recycle::share;
use super::{AFTER_REFUSAL, PortPool};
use crate::address::chosen;
use crate::ask::{AddressRequest, NetworkId};
use crate::debt::Debt;
use crate::driver::Driver;
use crate::error::{Error, told};
use crate::kuryr::{Kuryr, Shared};
use crate::names;
use crate::view::Net;

/// How long one round of work may take.
const ROUND: Duration = Duration::from_secs(60);
/// How long it is waited when nothing seems to be to do.
const REST: Duration = Duration::from_secs(30);
/// On a host that never rests, ports are made so long after they were found to be too few: those that
/// come back are there sooner.
const PATIENCE: Duration = Duration::from_secs(20);

impl Kuryr {
    /// Whether networks have warm ports, where they do not say otherwise.
    pub(crate) fn keeps_warm_ports(&self) -> bool {
        self.port_pools.settings.enabled
    }

    /// Whether a network is to have warm ports.
    pub(crate) fn has_port_pool(&self, net: &Net) -> bool {
        self.keeps_warm_ports()
            && !self.port_defaults.of(&net.of).without_pool
            && matches!(self.driver_of(net), Driver::Veth | Driver::Vlan)
    }

    /// The pool of a network, which from now on is kept full.
    pub(super) fn port_pool(&self, net: &Net) -> Arc<PortPool> {
        let (pool, is_new) = self.port_pools.ensure(&net.of, net.id);
        if is_new {
            let (shared, of, kept) = (self.weak(), net.of.clone(), Arc::clone(&pool));
            self.background.spawn(keep(shared, of, kept));
        }
        pool
    }

    /// The warm port of a network that has this address.
    pub(crate) async fn warm_port_at(
        &self,
        net: &Arc<Net>,
        address: IpAddr,
        by: Instant,
    ) -> Option<Port> {
        if !self.has_port_pool(net) {
            return None;
        }
        // An earlier run may have left the port that has it.
        self.complete(net, &self.port_pool(net), by).await;
        self.port_pools.take_at(&net.of, address)
    }

    /// Whether an address that was in use may be had by now: of a warm port that was just being made, for
    /// which it waits, or because its port is going.
    pub(crate) async fn may_be_had_by_now(&self, net: &Net, address: IpAddr, by: Instant) -> bool {
        let pools = self.port_pools.on(net.id);
        for pool in &pools {
            if timeout_at(by, pool.turn.lock()).await.is_err() {
                return false;
            }
        }
        self.debts.may_free(net.id, Some(address))
            || pools.iter().any(|pool| pool.state().has_at(address))
    }

    /// A warm port for an endpoint that wants nothing in particular.
    ///
    /// Takes note that one was needed, also if there is none.
    pub(crate) fn take_warm(
        &self,
        net: &Arc<Net>,
        subnet: &Subnet,
        ask: AddressRequest,
    ) -> Option<(Port, IpAddr)> {
        if !self.has_port_pool(net) || ask != AddressRequest::default() {
            return None;
        }
        let companion = net.other_family(subnet).map(|other| other.id);
        let mut shape: Vec<SubnetId> = [Some(subnet.id), companion].into_iter().flatten().collect();
        shape.sort_unstable();
        let pool = self.port_pool(net);
        let mut state = pool.state();
        state.demand.start(self.port_pools.settings.idle);
        state.shape.clone_from(&shape);
        pool.wake.notify_one();
        let now = Instant::now();
        let port = state.take(|warm| warm.from <= now && fits(&warm.port, &shape))?;
        let address = port.fixed_ips.iter().find(|ip| ip.subnet_id == subnet.id)?;
        let address = address.ip_address;
        Some((port, address))
    }

    async fn tend(&self, of: &NetworkId, pool: &Arc<PortPool>) -> Duration {
        let by = Instant::now() + ROUND;
        let Some(net) = self.view.get(of).filter(|net| net.id == pool.network) else {
            return REST;
        };
        if !self.complete(&net, pool, by).await {
            return REST;
        }
        let _turn = pool.turn.lock().await;
        self.park_returned(&net, pool, by).await;
        let (target, count, paused) = {
            let state = pool.state();
            let limit = share(&net, &state.shape);
            let target = state.demand.target(&self.port_pools.settings, limit);
            let paused = state.paused.is_some_and(|until| Instant::now() < until);
            let paused = paused || state.is_of_no_use;
            (target, state.count(), paused)
        };
        if count < target && !paused {
            // Ports are made for who comes next when nobody waits now.
            let now = Instant::now();
            let since = *pool.state().short_since.get_or_insert(now);
            let pause = self.lull.begins(since, PATIENCE).duration_since(now);
            if !pause.is_zero() {
                return pause;
            }
            let is_lull = self.lull.begins(now, PATIENCE) <= now;
            let wanted = (target - count).min(self.port_pools.settings.batch.max(1));
            match self.fill(&net, pool, wanted, by).await {
                Ok(()) => {
                    // After a lull the next ports wait for one, too.
                    if is_lull {
                        pool.state().short_since = None;
                    }
                    return Duration::ZERO;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, network = %net.id, "no warm ports for a minute");
                    pool.state().paused = Some(Instant::now() + AFTER_REFUSAL);
                }
            }
        } else {
            pool.state().short_since = None;
            self.shrink(pool, target, by).await;
        }
        REST.min(self.port_pools.settings.idle)
    }

    /// Makes `count` ports in one request, and plugs them.
    async fn fill(
        &self,
        net: &Net,
        pool: &Arc<PortPool>,
        count: usize,
        by: Instant,
    ) -> Result<(), Error> {
        let _place = self.port_pools.at_once.acquire().await;
        let shape = pool.state().shape.clone();
        let mut attempt = 0;
        let ports = loop {
            match self.make_pool_ports(net, &shape, count, by).await {
                // Of a part of a subnet we choose the addresses, and others may have chosen the same.
                Err(error) if error.is_taken() && attempt < 3 => attempt += 1,
                other => break other?,
            }
        };
        let (mut parking, mut outcome) = (JoinSet::new(), Ok(()));
        for port in ports {
            match self.may_wait(net, &port) {
                Ok(true) => {}
                Ok(false) => {
                    pool.state().is_of_no_use = true;
                    self.retire(&port).await;
                    continue;
                }
                Err(error) => {
                    self.retire(&port).await;
                    outcome = Err(error);
                    continue;
                }
            }
            let (kuryr, net, pool) = (self.clone(), net.clone(), Arc::clone(pool));
            parking.spawn(async move {
                let checked = kuryr.port_defaults.of(&net.of).check(&port);
                let parked = match checked {
                    Ok(()) => kuryr.park(&net, &port, Before::New, by).await,
                    Err(refused) => Err(refused),
                };
                match parked {
                    Ok(port) => {
                        kuryr.put_in(&pool, port, Instant::now()).await;
                        Ok(())
                    }
                    Err(error) => {
                        kuryr.retire(&port).await;
                        Err(error)
                    }
                }
            });
        }
        while let Some(parked) = parking.join_next().await {
            if let Ok(Err(error)) = parked {
                outcome = Err(error);
            }
        }
        outcome
    }

    async fn make_pool_ports(
        &self,
        net: &Net,
        shape: &[SubnetId],
        count: usize,
        by: Instant,
    ) -> Result<Vec<Port>, Error> {
        let device_id = Uuid::new_v4().to_string();
        let defaults = self.port_defaults.of(&net.of);
        let mut used = HashSet::new();
        let mut new = Vec::new();
        for _ in 0..count {
            let mut fixed_ips = Vec::new();
            for subnet_id in shape.iter().copied() {
                let any = WantedIp {
                    subnet_id,
                    ip_address: None,
                };
                let wanted = match net.restriction(subnet_id) {
                    Some(_) => chosen(net, any, &used)?,
                    None => any,
                };
                used.extend(wanted.ip_address);
                fixed_ips.push(wanted);
            }
            new.push(defaults.of_new(NewPort {
                name: names::pool_port(&self.settings.host, &net.of),
                network_id: Some(net.id),
                fixed_ips: Some(fixed_ips),
                device_id: device_id.clone(),
                device_owner: names::DEVICE_OWNER.to_owned(),
                admin_state_up: true,
                host_id: self.host_to_bind(net),
                description: self.port_description(net),
                ..NewPort::default()
            }));
        }
        match self.neutron.by(by).create_all(&new).await {
            Ok(ports) => Ok(ports),
            Err(error) => {
                if error.may_be_done() {
                    let except = None;
                    let stray = Debt::DeleteStrayPort { device_id, except };
                    self.debts.owe(stray).await;
                }
                Err(told(format!("make {count} ports before they are needed"))(
                    error,
                ))
            }
        }
    }

    /// Removes ports that are no longer needed.
    async fn shrink(&self, pool: &PortPool, target: usize, by: Instant) {
        let spare = {
            let mut state = pool.state();
            let shape = state.shape.clone();
            let most = match state.demand.is_quiet(self.port_pools.settings.idle) {
                true => target,
                false => target * 2,
            };
            let mut excess = state.count().saturating_sub(most);
            let (mut spare, mut kept) = (Vec::new(), VecDeque::new());
            for warm in std::mem::take(&mut state.ready) {
                // Nothing that the runtime may still ask for goes.
                let unfit = !shape.is_empty() && !fits(&warm.port, &shape);
                if warm.from <= Instant::now() && (excess > 0 || unfit) {
                    excess = excess.saturating_sub(1);
                    spare.push(warm.port);
                } else {
                    kept.push_back(warm);
                }
            }
            state.ready = kept;
            spare
        };
        for port in spare {
            self.retire(&port).await;
            if Instant::now() > by {
                return;
            }
        }
    }
}

/// Tends a pool whenever there may be something to do, until it is closed or the program ends.
async fn keep(kuryr: Weak<Shared>, of: NetworkId, pool: Arc<PortPool>) {
    let mut pause = REST;
    loop {
        let _ = timeout(pause, pool.wake.notified()).await;
        let Some(kuryr) = Kuryr::upgrade(&kuryr) else {
            return;
        };
        if pool.state().closed {
            return;
        }
        pause = kuryr.tend(&of, &pool).await;
    }
}

/// Whether a port has an address of each of these subnets.
fn fits(port: &Port, shape: &[SubnetId]) -> bool {
    let mut subnets = shape.iter();
    subnets.all(|subnet| port.fixed_ips.iter().any(|ip| ip.subnet_id == *subnet))
}
