//! What operators and their tools ask: `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

use crate::readiness::Readiness;
use crate::telemetry::Telemetry;

/// The routes of the admin socket.
pub(crate) fn routes(telemetry: Arc<Telemetry>, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(metrics).with_state(telemetry))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz).with_state(readiness))
}

async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match telemetry.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// That this is answered is the answer.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    match readiness.answer().await {
        Ok(()) => "ok\n".into_response(),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")).into_response(),
    }
}
