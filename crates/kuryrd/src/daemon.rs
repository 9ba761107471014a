//! One life of the program: open everything, say ready, serve, drain.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Keeper;
use crate::config::{CapabilityScope, Loaded};
use crate::listen::{self, Address, Socket};
use crate::readiness::Readiness;
use crate::serve::serve;
use crate::telemetry::Telemetry;
use crate::{admin, wiring};

/// What a call may take beyond its deadline until its answer is written.
const DRAIN_MARGIN: Duration = Duration::from_secs(4);

/// Serves until a signal comes.
pub(crate) async fn run(loaded: Loaded) -> anyhow::Result<()> {
    report(&loaded);
    let settings = &loaded.settings;
    let mut signals = Signals::listen()?;
    let telemetry = Arc::new(Telemetry::new());
    let (calls, background) = (TaskTracker::new(), TaskTracker::new());
    let wired = wiring::build(settings, &telemetry, calls.clone(), &background)?;
    let readiness = Readiness::new(wired.probe, background.clone());

    let keeper = Keeper {
        kuryr: wired.kuryr.clone(),
        may_release: matches!(settings.docker.scope, CapabilityScope::Local),
    };

    let mut serving: Vec<(Socket, Router, TaskTracker)> = Vec::new();
    let mut docker = listen::inherited(settings.listen.tls.as_ref())?;
    if docker.is_empty() {
        let socket = listen::open(&settings.listen.address, settings.listen.tls.as_ref())
            .context("[DEFAULT] kuryr_uri cannot be served")?;
        docker.push(socket);
    }
    for socket in docker {
        tracing::info!("answering Docker at {}", socket.place);
        serving.push((socket, wired.routes.clone(), calls.clone()));
    }
    if let Some(address) = &settings.admin {
        let socket = listen::open(address, None)
            .context("[DEFAULT] admin_uri cannot be served (an empty one turns it off)")?;
        tracing::info!("answering operators at {}", socket.place);
        let routes = admin::routes(telemetry, readiness, keeper.clone());
        serving.push((socket, routes, background.clone()));
    }

    let listen = settings.standalone.as_ref().and_then(|own| own.listen);
    if let (Some(neutron), Some(address)) = (wired.own_neutron, listen) {
        let address = Address::Tcp {
            host: address.ip().to_string(),
            port: address.port(),
            tls: false,
        };
        let socket =
            listen::open(&address, None).context("[standalone] neutron_listen cannot be served")?;
        tracing::info!("answering Neutron's clients at {}", socket.place);
        serving.push((socket, neutron.router(), background.clone()));
    }

    let stop = CancellationToken::new();
    for (socket, routes, tasks) in serving {
        let accepting = serve(socket, routes, stop.clone(), tasks);
        background.spawn(accepting);
    }
    if keeper.may_release {
        let (kuryr, stop) = (keeper.kuryr, stop.clone());
        background.spawn(stop.run_until_cancelled_owned(async move {
            kuryr.keep_releasing_orphans().await;
        }));
    }
    notify(&[NotifyState::Ready]);

    let name = signals.next_end().await;
    tracing::info!("{name}: finishing the calls that are running");
    notify(&[NotifyState::Stopping]);
    stop.cancel();
    calls.close();
    let by = Instant::now() + settings.docker.call_timeout + DRAIN_MARGIN;
    let drained = async {
        if timeout_at(by, calls.wait()).await.is_err() {
            tracing::warn!("{} calls or connections are cut short", calls.len());
        }
        if !wired.kuryr.finished(by).await {
            tracing::warn!("what is still owed to Neutron is noted for the next run");
        }
    };
    tokio::select! {
        () = drained => tracing::info!("all is finished"),
        name = signals.next_end() => anyhow::bail!("{name} again: not waiting any longer"),
    }
    Ok(())
}

fn report(loaded: &Loaded) {
    let shown = |path: &PathBuf| path.display().to_string();
    let files: Vec<String> = loaded.files.iter().map(shown).collect();
    let version = env!("CARGO_PKG_VERSION");
    if files.is_empty() {
        tracing::info!("kuryr {version}, without a configuration file");
    } else {
        tracing::info!("kuryr {version}, configured by {}", files.join(", "));
    }
    for danger in &loaded.dangers {
        tracing::error!("{danger}");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for ignored in &loaded.ignored {
        tracing::info!("{ignored}");
    }
    tracing::debug!("{:?}", loaded.settings);
}

/// Tells systemd, if it asked to be told.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "could not tell the service manager");
    }
}

/// The signals that the program acts on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one that ends the program.
    async fn next_end(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                // The line itself is what opens a log file anew that has been moved away.
                _ = self.hangup.recv() => {
                    tracing::info!("SIGHUP: the log file is open; a changed configuration needs a restart");
                }
            }
        }
    }
}
