//! The agent: makes this host what the embedded Neutron wants, again and again.

mod converge;
mod plug;
mod publish;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kuryr_vif::{Host, Instant};
use neutron_api::PortId;
use neutron_embedded::{Embedded, HostPort};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout_at;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::held::{Carriers, Held};
use crate::settings::AgentSettings;
use crate::{AgentError, Bridges, Model, docker, monitor};

/// Neutron's agent on this host.
///
/// It plugs ([`kuryr_vif::Plug`]) when the rules for a port are in force, which they mostly are by
/// then: they come as soon as the port is bound here.
pub struct Agent {
    neutron: Embedded,
    host: Arc<Host>,
    settings: AgentSettings,
    /// How far the host is.
    state: watch::Receiver<State>,
    orders: mpsc::Sender<Order>,
    /// The ports of this host that are held, by the port of the Neutron that they lead to.
    held: Arc<Mutex<BTreeMap<PortId, Vec<Held>>>>,
    /// One call changes published ports at a time.
    publishing: tokio::sync::Mutex<()>,
    carriers: Carriers,
    /// Ends its tasks when it is dropped.
    _stop: DropGuard,
}

/// How far this host is.
#[derive(Clone, Default)]
struct State {
    /// The change of the Neutron that it has caught up with.
    version: Option<u64>,
    /// What is here.
    model: Arc<Model>,
    /// The bridges that are here.
    bridges: Bridges,
    /// Why it is not further.
    failure: Option<String>,
}

/// What the task that converges is told.
enum Order {
    /// Take everything away, and make nothing any more.
    RemoveAll(oneshot::Sender<Result<(), AgentError>>),
}

impl Agent {
    /// Starts the agent of `neutron` on this host; when it is dropped it ends, and leaves everything
    /// as it is.
    ///
    /// What fails is tried again, and told to whoever plugs meanwhile.
    pub fn start(
        neutron: Embedded,
        host: Arc<Host>,
        settings: AgentSettings,
        tracker: &TaskTracker,
    ) -> Arc<Self> {
        let stop = CancellationToken::new();
        let (news, heard) = mpsc::channel(16);
        let (orders, ordered) = mpsc::channel(1);
        let (told, state) = watch::channel(State::default());
        let held = Arc::default();
        let converging = converge::Converging::new(
            neutron.clone(),
            Arc::clone(&host),
            settings.clone(),
            told,
            Arc::clone(&held),
        );
        let watching = monitor::watch(settings.table.clone(), news);
        let converging = converging.run(heard, ordered);
        for task in [
            stop.clone().run_until_cancelled_owned(boxed(watching)),
            stop.clone().run_until_cancelled_owned(boxed(converging)),
        ] {
            tracker.spawn(task);
        }
        let agent = Arc::new(Self {
            neutron,
            host,
            settings,
            state,
            orders,
            held,
            publishing: tokio::sync::Mutex::default(),
            carriers: Carriers {
                tracker: tracker.clone(),
                stop: stop.clone(),
            },
            _stop: stop.drop_guard(),
        });
        agent.hold_again();
        agent
    }

    /// Takes away all that the agent has made on this host: bridges, rules, also those in Docker's
    /// chain. From then on it makes nothing any more.
    ///
    /// # Errors
    /// Something could not be taken away.
    pub async fn remove_all(&self) -> Result<(), AgentError> {
        let (told, done) = oneshot::channel();
        let gone = AgentError::TooLate { last: None };
        if self.orders.send(Order::RemoveAll(told)).await.is_err() {
            return Err(gone);
        }
        done.await.unwrap_or(Err(gone))
    }

    /// A port that is bound here, as the Neutron has it now.
    fn port(&self, id: PortId) -> Option<Arc<HostPort>> {
        self.neutron.port_on(&self.settings.host, id)
    }

    /// Waits until this host has caught up with what the Neutron has now, and `is_there` holds.
    async fn caught_up(
        &self,
        deadline: Instant,
        is_there: impl Fn(&State) -> bool,
    ) -> Result<(), AgentError> {
        let version = *self.neutron.changes().borrow();
        let mut state = self.state.clone();
        let reached = state
            .wait_for(|state| state.version.is_some_and(|at| at >= version) && is_there(state));
        match timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(AgentError::TooLate {
                last: self.state.borrow().failure.clone(),
            }),
        }
    }
}

fn boxed(
    task: impl Future<Output = ()> + Send + 'static,
) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(task)
}

/// Rules in Docker's chain, for as long as there is a network.
async fn with_docker(table: &str, networks: bool) {
    if networks {
        docker::let_pass(table).await;
    } else {
        docker::withdraw(table).await;
    }
}
