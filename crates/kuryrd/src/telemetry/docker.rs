//! Counts and times Docker's calls by driver, verb and outcome.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::BUCKETS;

/// Calls from Docker. Clones count together.
#[derive(Clone)]
pub(crate) struct DockerCalls {
    total: Family<Call, Counter>,
    duration: Family<Call, Histogram>,
    in_flight: Gauge,
}

/// All three are few: the path is one of our routes, never what a client made up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    driver: String,
    verb: String,
    outcome: &'static str,
}

impl DockerCalls {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let calls = Self {
            total: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            in_flight: Gauge::default(),
        };
        registry.register(
            "kuryr_docker_calls",
            "Calls from Docker that were answered, or hung up",
            calls.total.clone(),
        );
        registry.register(
            "kuryr_docker_call_duration_seconds",
            "How long calls from Docker took",
            calls.duration.clone(),
        );
        registry.register(
            "kuryr_docker_calls_in_flight",
            "Calls from Docker that are not yet answered",
            calls.in_flight.clone(),
        );
        calls
    }

    /// A middleware for routes, which are named `/Driver.Verb`.
    pub(crate) async fn count(
        State(calls): State<Self>,
        path: MatchedPath,
        request: Request,
        next: Next,
    ) -> Response {
        let name = path.as_str().trim_start_matches('/');
        let (driver, verb) = name.split_once('.').unwrap_or(("", name));
        let call = Call {
            driver: driver.to_owned(),
            verb: verb.to_owned(),
            outcome: HUNG_UP,
        };
        let mut running = Running::begin(calls, call);
        let response = next.run(request).await;
        running.call.outcome = outcome(response.status());
        response
    }
}

/// Nobody waited for the answer.
const HUNG_UP: &str = "hung_up";

fn outcome(status: StatusCode) -> &'static str {
    if status.is_success() {
        "ok"
    } else if status.is_client_error() {
        "refused"
    } else {
        "failed"
    }
}

/// A call that is counted when this is dropped: also when it panics, or its client hangs up.
struct Running {
    calls: DockerCalls,
    call: Call,
    started: Instant,
}

impl Running {
    fn begin(calls: DockerCalls, call: Call) -> Self {
        calls.in_flight.inc();
        let started = Instant::now();
        Self {
            calls,
            call,
            started,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (calls, call) = (&self.calls, &self.call);
        calls.in_flight.dec();
        calls.total.get_or_create(call).inc();
        let took = self.started.elapsed().as_secs_f64();
        calls.duration.get_or_create(call).observe(took);
    }
}
