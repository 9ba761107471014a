//! The endpoints that this run knows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kuryr_vif::Attachment as Plugged;
use neutron_api::{Port, PortId};
use tokio::time::Instant;

use crate::ask::EndpointId;
use crate::orphan::BETWEEN_LOOKS;

/// The endpoints of this host that this run has seen.
#[derive(Default)]
pub(crate) struct Endpoints {
    all: Mutex<HashMap<EndpointId, Arc<Endpoint>>>,
    /// Those of an earlier run that the runtime has left, and is going to delete at once.
    left: Mutex<HashMap<EndpointId, Instant>>,
}

/// An endpoint that is plugged.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(super) port: Port,
    pub(super) plugged: Plugged,
    /// The addresses that the runtime had of us for it; none if its port is of no use to others.
    pub(super) lent: Option<Vec<IpAddr>>,
    /// An earlier run has made it: what that has made for it is not known.
    pub(super) found_again: bool,
    pub(super) awaited: Awaited,
}

/// Since when the runtime is about to come back to an endpoint: it joins what it has made, and deletes what
/// it has left, at once. Not while a container has it, as is taken for granted of one of an earlier run.
#[derive(Debug, Default)]
pub(super) struct Awaited(Mutex<Option<Instant>>);

impl Awaited {
    pub(super) fn from_now() -> Self {
        Self(Mutex::new(Some(Instant::now())))
    }

    pub(super) fn begin(&self) {
        *self.since() = Some(Instant::now());
    }

    pub(super) fn end(&self) {
        *self.since() = None;
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    /// Its port, as it was when the endpoint was made or found.
    pub(crate) fn port(&self) -> &Port {
        &self.port
    }

    /// Whether its runtime seems to have been killed before it came back to it.
    fn is_forgotten(&self) -> bool {
        let since = *self.awaited.since();
        since.is_some_and(|since| since.elapsed() >= BETWEEN_LOOKS)
    }
}

impl Endpoints {
    pub(super) fn insert(&self, id: EndpointId, endpoint: Endpoint) -> Arc<Endpoint> {
        let endpoint = Arc::new(endpoint);
        self.all().insert(id, Arc::clone(&endpoint));
        endpoint
    }

    pub(crate) fn get(&self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.all().get(id).cloned()
    }

    pub(super) fn remove(&self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.left().remove(id);
        self.all().remove(id)
    }

    /// Takes note that an endpoint was left that this run does not know.
    pub(super) fn leave_unknown(&self, id: &EndpointId) {
        self.left().insert(id.clone(), Instant::now());
    }

    /// Whether one of them has this port.
    pub(crate) fn have(&self, port: PortId) -> bool {
        self.all().values().any(|endpoint| endpoint.port.id == port)
    }

    /// Whether one of them has this port, and a container, or is going to have one.
    pub(crate) fn use_port(&self, port: PortId) -> bool {
        let all = self.all();
        all.values()
            .any(|endpoint| endpoint.port.id == port && !endpoint.is_forgotten())
    }

    /// Whether there is one that its runtime seems to have forgotten.
    pub(crate) fn have_forgotten(&self) -> bool {
        let mut left = self.left();
        // By then it was looked for.
        left.retain(|_, since| since.elapsed() < BETWEEN_LOOKS);
        !left.is_empty() || self.all().values().any(|endpoint| endpoint.is_forgotten())
    }

    /// Forgets the one that has this port; false if it is in use.
    pub(crate) fn let_go(&self, port: PortId) -> bool {
        let mut all = self.all();
        let found = all.iter().find(|(_, endpoint)| endpoint.port.id == port);
        match found.map(|(id, endpoint)| (id.clone(), endpoint.is_forgotten())) {
            None => true,
            Some((_, false)) => false,
            Some((id, true)) => all.remove(&id).is_some(),
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<EndpointId, Arc<Endpoint>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, HashMap<EndpointId, Instant>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
