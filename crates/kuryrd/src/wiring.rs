//! Puts the parts together: settings in, routes for Docker and a probe for readiness out.

use axum::routing::post;
use axum::{Router, middleware};
use keystone::Session;
use tower::Layer;

use crate::config::Settings;
use crate::readiness::{self, Probe};
use crate::telemetry::{DockerCalls, Telemetry};

/// What Docker is to be answered with, and how to find out whether Neutron answers us.
///
/// Nothing here waits for anything: the first call authenticates.
pub(crate) fn build(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<(Router, Probe)> {
    let probe = match &settings.session {
        Some(session) => {
            let session = Session::new(session.clone())?;
            readiness::ask_neutron(telemetry.neutron.layer().layer(session))
        }
        None => readiness::never_ready(
            "there is no Neutron to ask: auth_type is not set in [neutron] of kuryr.conf",
        ),
    };
    let count = middleware::from_fn_with_state(telemetry.docker.clone(), DockerCalls::count);
    Ok((docker_routes(settings).route_layer(count), probe))
}

/// Docker's protocol.
fn docker_routes(_settings: &Settings) -> Router {
    const DRIVERS: &str = r#"{"Implements":["NetworkDriver","IpamDriver"]}"#;
    Router::new().route("/Plugin.Activate", post(async || DRIVERS))
}
