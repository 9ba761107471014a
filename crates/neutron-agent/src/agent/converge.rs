//! The task that makes the host what the Neutron wants: one step at a time, for all changes that wait.

mod bridges;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kuryr_vif::{Bridge, FilterSets, Host, Instant, LinkWatch, Plug};
use neutron_api::{NetworkId, PortId, PortStatus};
use neutron_embedded::Embedded;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::{Order, State, with_docker};
use crate::error::chain;
use crate::held::Held;
use crate::monitor::News;
use crate::settings::AgentSettings;
use crate::{AgentError, Batch, Bridges, Model, direct, nft, removal, script, sysctl};

/// How long the kernel may take for a bridge.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Converging {
    neutron: Embedded,
    host: Arc<Host>,
    settings: AgentSettings,
    told: watch::Sender<State>,
    held: Arc<Mutex<BTreeMap<PortId, Vec<Held>>>>,
    /// What the tables have; none when that is not known.
    applied: Option<Arc<Model>>,
    bridges: Bridges,
    /// The networks whose bridges may have to be made, changed or removed.
    unsettled: BTreeSet<NetworkId>,
    /// Networks whose taps must be wired into their new bridges.
    stray: BTreeSet<NetworkId>,
    batch: u32,
    /// What changes elements alone are given to; opened when there are some.
    kernel: tokio::sync::Mutex<Option<FilterSets>>,
    /// Whether there are tables of ours, or may be.
    tables: bool,
    /// Whether what was here before was looked at.
    found: bool,
    /// Whether all ports are to be compared with what is plugged.
    compared: bool,
    links: Links,
    /// Whether Docker's chain is to be looked at.
    docker: bool,
    /// The failure that is in the log already.
    told_of: Option<String>,
}

impl Converging {
    pub(super) fn new(
        neutron: Embedded,
        host: Arc<Host>,
        settings: AgentSettings,
        told: watch::Sender<State>,
        held: Arc<Mutex<BTreeMap<PortId, Vec<Held>>>>,
    ) -> Self {
        Self {
            neutron,
            host,
            settings,
            told,
            held,
            applied: None,
            bridges: Bridges::default(),
            unsettled: BTreeSet::new(),
            stray: BTreeSet::new(),
            batch: 0,
            kernel: tokio::sync::Mutex::default(),
            tables: true,
            found: false,
            compared: false,
            links: Links::default(),
            docker: true,
            told_of: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut news: mpsc::Receiver<News>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        let mut changes = self.neutron.changes();
        let mut pause = FIRST_PAUSE;
        loop {
            let version = *changes.borrow_and_update();
            let outcome = self.step(version).await;
            let wait = match &outcome {
                Ok(()) if self.leaving().next().is_some() => Duration::ZERO,
                Ok(()) => Duration::MAX,
                Err(_) => pause,
            };
            pause = match outcome {
                Ok(()) => {
                    self.told_of = None;
                    FIRST_PAUSE
                }
                Err(error) => {
                    self.failed(&error);
                    (pause * 2).min(LONGEST_PAUSE)
                }
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                Some(new) = news.recv() => {
                    self.hear(new);
                    while let Ok(new) = news.try_recv() {
                        self.hear(new);
                    }
                }
                gone = self.links.gone() => self.lose(gone.as_deref()),
                order = orders.recv() => match order {
                    Some(Order::RemoveAll(done)) => {
                        let _ = done.send(self.remove_all().await);
                        return;
                    }
                    None => return,
                },
                () = sleep(wait) => {}
            }
        }
    }

    fn failed(&mut self, error: &AgentError) {
        let text = chain(error);
        if self.told_of.as_ref() != Some(&text) {
            tracing::error!(error = %text, "this host is not as the embedded Neutron wants; trying again");
            self.told_of = Some(text.clone());
        }
        self.told.send_modify(|state| state.failure = Some(text));
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Ours if self.tables && self.applied.take().is_some() => {
                tracing::warn!(
                    table = self.settings.table,
                    "somebody has changed our rules: they are made anew"
                );
            }
            News::Ours => {}
            News::Dockers => self.docker = true,
        }
    }

    /// An interface has gone, or none knows which.
    fn lose(&mut self, name: Option<&str>) {
        let lost = |bridge: &Bridge| name.is_none_or(|name| bridge.name.as_str() == name);
        let made = |bridge: &Arc<Option<Bridge>>| bridge.as_ref().as_ref().is_some_and(lost);
        let bridges = self.bridges.iter().filter(|(_, bridge)| made(bridge));
        let networks: Vec<NetworkId> = bridges.map(|(network, _)| *network).collect();
        for network in networks {
            if name.is_some() {
                tracing::warn!(network = %network, "somebody has deleted its bridge: it is made anew");
            }
            self.bridges.insert_mut(network, Arc::default());
            self.unsettled.insert(network);
            self.stray.insert(network);
        }
    }

    async fn step(&mut self, version: u64) -> Result<(), AgentError> {
        if !self.found {
            if let Err(error) = sysctl::check_bridge_netfilter() {
                tracing::error!(%error, "no container can be started");
            }
            self.find_bridges().await?;
            self.found = true;
        }
        let snapshot = self.neutron.snapshot();
        let before = self.applied.clone().unwrap_or_default();
        self.make_way(&snapshot, &before).await?;
        let wanted = Model::of(&snapshot, &self.settings, &self.bridges, &before)?;
        let wanted = Arc::new(wanted);
        if !wanted.networks.is_empty() {
            sysctl::check_bridge_netfilter()?;
        }
        match wanted.touched_since(&before) {
            Some(touched) => self.unsettled.extend(touched),
            None => self.unsettle_all(&wanted),
        }
        self.remove_bridges(&wanted).await?;
        let ((made, bridges), rules) =
            tokio::join!(self.make_bridges(&wanted), self.rules(&wanted));
        self.unsettled
            .retain(|network| !wanted.leaving.contains(network));
        for (network, bridge) in made {
            self.unsettled.remove(&network);
            self.bridges.insert_mut(network, Arc::new(Some(bridge)));
        }
        match rules {
            Ok(Some((batch, tables))) => (self.batch, self.tables) = (batch, tables),
            Ok(None) => {}
            Err(error) => {
                // What is there is not known for sure: the next attempt makes the tables anew.
                self.applied = None;
                return Err(error);
            }
        }
        self.applied = Some(Arc::clone(&wanted));
        self.rewire(&wanted).await?;
        self.release();
        let begun = before.networks.is_empty() != wanted.networks.is_empty();
        let networks = !wanted.networks.is_empty();
        self.told.send_modify(|state| {
            *state = State {
                version: Some(version),
                model: wanted,
                bridges: self.bridges.clone(),
                failure: None,
            };
        });
        if begun || self.docker {
            self.docker = false;
            with_docker(&self.settings.table, networks).await;
        }
        bridges?;
        self.remove_some_bridges().await
    }

    /// Changes the rules; the number of the batch, and whether there are tables now.
    async fn rules(&self, wanted: &Model) -> Result<Option<(u32, bool)>, AgentError> {
        let table = self.settings.table.as_str();
        let number = self.batch.wrapping_add(1);
        if wanted.networks.is_empty() {
            if !self.tables {
                return Ok(None);
            }
            nft::apply(&removal(table)).await?;
            return Ok(Some((number, false)));
        }
        let applied = self.applied.as_deref().filter(|_| self.tables);
        let batch = Batch { table, number };
        if let Some(changes) = applied.and_then(|applied| direct::changes(applied, wanted, batch)) {
            if changes.is_empty() {
                return Ok(None);
            }
            if direct::apply(&mut *self.kernel.lock().await, changes).await {
                tracing::debug!(number, "elements");
                return Ok(Some((number, true)));
            }
        }
        let Some(script) = script(applied, wanted, batch) else {
            return Ok(None);
        };
        nft::apply(&script).await?;
        tracing::debug!(
            number,
            bytes = script.len(),
            anew = applied.is_none(),
            "rules"
        );
        Ok(Some((number, true)))
    }

    /// Wires into new bridges what was in those that somebody has deleted, also before this program
    /// started; and says of ports that nothing is plugged for any more that they are down.
    async fn rewire(&mut self, wanted: &Model) -> Result<(), AgentError> {
        if self.stray.is_empty() && self.compared {
            return Ok(());
        }
        let plugged = self.host.all_attachments().await;
        let ports: BTreeMap<_, _> = wanted.ports().map(|both| (both.1.id(), both)).collect();
        let mut plugged_ports = BTreeSet::new();
        for attachment in plugged.map_err(AgentError::listing)? {
            let port = attachment.interface_id.parse::<PortId>().ok();
            let Some((network, port)) = port.and_then(|id| ports.get(&id)) else {
                continue;
            };
            plugged_ports.insert(port.id());
            let vif = port.vif(network, &attachment.owner)?;
            if vif.attachment.switch != attachment.switch {
                let again = self.host.plug(&vif, Instant::now() + PATIENCE).await;
                again.map_err(AgentError::of_bridge(
                    "wire a port into the bridge",
                    network.id(),
                ))?;
            }
        }
        if !self.compared {
            for port in wanted.active_ports() {
                if !plugged_ports.contains(&port) {
                    self.neutron.report(port, PortStatus::Down).await;
                }
            }
        }
        self.stray.clear();
        self.compared = true;
        Ok(())
    }

    /// Gives up the ports of this host that led to ports that are gone.
    fn release(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|port, _| self.neutron.port_on(&self.settings.host, *port).is_some());
    }

    async fn remove_all(&mut self) -> Result<(), AgentError> {
        self.find_bridges().await?;
        self.unsettle_all(&Model::default());
        self.remove_bridges(&Model::default()).await?;
        with_docker(&self.settings.table, false).await;
        nft::apply(&removal(&self.settings.table)).await?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clear();
        Ok(())
    }
}

/// The kernel's news of interfaces that go.
#[derive(Default)]
struct Links(Option<LinkWatch>);

impl Links {
    /// Waits for the next that goes; none when any may have gone.
    async fn gone(&mut self) -> Option<String> {
        let watch = match self.0.take() {
            Some(watch) => watch,
            None => match LinkWatch::new() {
                Ok(watch) => watch,
                Err(error) => {
                    tracing::warn!(%error, "bridges that somebody deletes go unnoticed");
                    return std::future::pending().await;
                }
            },
        };
        match self.0.insert(watch).gone().await {
            Ok(name) => name,
            Err(error) => {
                tracing::warn!(%error, "listening again for interfaces that go");
                self.0 = None;
                None
            }
        }
    }
}
