//! Docker's remote driver protocols: decode, call the core, encode.
//!
//! Docker posts JSON to `/Plugin.Activate`, `/NetworkDriver.*` and `/IpamDriver.*`; [`routes`] are
//! the answers. What Docker's calls mean to Docker stays here; what Kuryr does about them is
//! `kuryr-core`'s.

mod call;
mod failure;
mod ipam_driver;
mod network_driver;
mod text;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware;
use axum::routing::post;
use http::StatusCode;
use kuryr_core::Kuryr;
use serde::Serialize;
use tokio_util::task::TaskTracker;

use call::Calls;
use failure::Failure;
use wire::Wire;

/// What Docker is told about this driver, and how its calls are run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// After this a call ends with an error; Docker itself would wait for ever.
    pub call_deadline: Duration,
    /// How far a network reaches in Docker's eyes.
    pub scope: Scope,
    /// What Docker is to call the space of the addresses of its local networks.
    pub local_default_address_space: String,
    /// What Docker is to call the space of the addresses of swarm's networks.
    pub global_default_address_space: String,
    /// Whether Docker is to choose a hardware address for every container, and say it when it asks
    /// for an IP address.
    pub requires_mac_address: bool,
    /// Knows the calls that have not ended: also those whose client has hung up.
    pub calls: TaskTracker,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            call_deadline: Duration::from_secs(25),
            scope: Scope::Local,
            local_default_address_space: "no_address_space".to_owned(),
            global_default_address_space: "no_address_space".to_owned(),
            requires_mac_address: false,
            calls: TaskTracker::new(),
        }
    }
}

/// How far a network reaches in Docker's eyes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Each Docker daemon has networks of its own.
    Local,
    /// The managers of a swarm make the networks of all of its nodes.
    Global,
}

/// The answers to everything that Docker asks of a network driver and of an IPAM driver.
///
/// A path that Docker's protocols do not have answers 404, and none that they have does.
pub fn routes(kuryr: Kuryr, settings: Settings) -> Router {
    let calls = Calls::new(settings.calls.clone(), settings.call_deadline);
    let introduce = middleware::from_fn_with_state(kuryr.clone(), call::introduce);
    let front = Front {
        kuryr,
        settings: Arc::new(settings),
    };
    Router::new()
        .route("/Plugin.Activate", post(activate))
        .merge(network_driver::routes())
        .merge(ipam_driver::routes())
        .route_layer(introduce)
        .route_layer(middleware::from_fn_with_state(calls, call::run))
        .fallback(unknown_method)
        .method_not_allowed_fallback(not_a_post)
        .with_state(front)
}

/// What the handlers share.
#[derive(Clone)]
struct Front {
    kuryr: Kuryr,
    settings: Arc<Settings>,
}

impl FromRef<Front> for Kuryr {
    fn from_ref(front: &Front) -> Self {
        front.kuryr.clone()
    }
}

impl FromRef<Front> for Arc<Settings> {
    fn from_ref(front: &Front) -> Self {
        front.settings.clone()
    }
}

async fn activate() -> Wire<Activation> {
    Wire(Activation {
        implements: ["NetworkDriver", "IpamDriver"],
    })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Activation {
    implements: [&'static str; 2],
}

/// Docker reads a 404 as "this optional method is not implemented" and carries on.
async fn unknown_method() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "no such method")
}

async fn not_a_post() -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "Docker's calls are POSTs")
}
