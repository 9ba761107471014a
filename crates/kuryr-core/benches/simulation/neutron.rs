//! A Neutron of limited strength: an embedded one, behind workers that each call keeps busy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response};
use neutron_client::{Failure, Neutron};
use neutron_embedded::{Embedded, EmbeddedSettings};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;

/// What calls keep a worker busy for: Neutron 2026.1 with ML2/OVN and Keystone on two processors that
/// do nothing else (docs/measurements.md).
const LOOK: Duration = Duration::from_millis(15);
const MAKE_PORT: Duration = Duration::from_millis(350);
const CHANGE_PORT: Duration = Duration::from_millis(200);
const DELETE_PORT: Duration = Duration::from_millis(130);
const TAG: Duration = Duration::from_millis(60);
/// Networks and subnets: few, and none of them while the simulation counts.
const OTHER: Duration = Duration::from_millis(300);

/// A Neutron for all hosts; clones share it.
#[derive(Clone)]
pub(crate) struct Limited {
    embedded: Embedded,
    workers: Arc<Semaphore>,
    done: Arc<Mutex<Done>>,
}

/// What a Neutron has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) looks: usize,
    pub(crate) changes: usize,
    /// What its workers did, in sum.
    pub(crate) busy: Duration,
}

impl Limited {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            embedded: Embedded::new(EmbeddedSettings::default()),
            workers: Arc::new(Semaphore::new(workers)),
            done: Arc::default(),
        }
    }

    /// For the hosts: what is asked is carried out also when nobody waits for it any more.
    pub(crate) fn neutron(&self) -> Neutron {
        let limited = self.clone();
        Neutron::new(tower::service_fn(move |request| {
            let answer = tokio::spawn(limited.clone().answer(request));
            answer.map(|answer| answer.unwrap_or_else(|error| Err(Failure::Lasting(error.into()))))
        }))
    }

    pub(crate) fn done(&self) -> Done {
        self.counts().clone()
    }

    /// The same Neutron for looking at it, past all queues.
    pub(crate) fn past(&self) -> Neutron {
        Neutron::new(self.embedded.service().map_err(Failure::from))
    }

    fn counts(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
        let cost = cost(&request);
        let is_look = request.method() == Method::GET;
        let _worker = self.workers.acquire().await;
        let begun = Instant::now();
        sleep(cost).await;
        {
            let mut done = self.counts();
            done.busy += begun.elapsed();
            *if is_look {
                &mut done.looks
            } else {
                &mut done.changes
            } += 1;
        }
        let reply = self.embedded.service().oneshot(request).await;
        reply.map_err(Failure::from)
    }
}

fn cost(request: &Request<Bytes>) -> Duration {
    let path = request.uri().path();
    let is_of_ports = path.starts_with("/v2.0/ports");
    match *request.method() {
        Method::GET => LOOK,
        _ if path.contains("/tags") => TAG,
        Method::POST if is_of_ports => MAKE_PORT * count(request.body()),
        Method::PUT if is_of_ports => CHANGE_PORT,
        Method::DELETE if is_of_ports => DELETE_PORT,
        _ => OTHER,
    }
}

/// How many ports a request is to make: many at once are no cheaper.
fn count(body: &Bytes) -> u32 {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let many = body["ports"].as_array().map_or(1, Vec::len);
    u32::try_from(many).unwrap_or(u32::MAX)
}
