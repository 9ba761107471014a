//! What operators and their tools ask: `/metrics`, `/healthz`, `/readyz`, `/orphans`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use kuryr_core::{BETWEEN_LOOKS, Error, Kuryr, Orphan};
use tokio::time::{Instant, sleep};

use crate::causes::with_causes;
use crate::orphans::{self, Listed};
use crate::readiness::Readiness;
use crate::telemetry::Telemetry;

/// How long a look for orphans may take.
const ONE_LOOK: Duration = Duration::from_secs(30);

/// The routes of the admin socket. `keeper` is who looks for orphans, where any may be released.
pub(crate) fn routes(telemetry: Arc<Telemetry>, readiness: Readiness, keeper: Keeper) -> Router {
    let looks = get(look).post(release).with_state(keeper);
    Router::new()
        .route("/metrics", get(metrics).with_state(telemetry))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz).with_state(readiness))
        .route(orphans::PATH, looks)
}

/// Who looks for orphans.
#[derive(Clone)]
pub(crate) struct Keeper {
    /// Knows what is in use.
    pub(crate) kuryr: Kuryr,
    /// Whether what nothing uses here is nobody's: no other host's tasks have addresses reserved here.
    pub(crate) may_release: bool,
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

async fn look(State(keeper): State<Keeper>) -> Response {
    listed(keeper.kuryr.orphans(Instant::now() + ONE_LOOK).await)
}

/// Answers after two looks.
async fn release(State(Keeper { kuryr, may_release }): State<Keeper>) -> Response {
    const ELSEWHERE: &str = "nothing is released where capability_scope is global: an address \
         reserved here may be of a task on another host\n";
    if !may_release {
        return (StatusCode::CONFLICT, ELSEWHERE).into_response();
    }
    let seen = match kuryr.orphans(Instant::now() + ONE_LOOK).await {
        Ok(seen) if !seen.is_empty() => seen,
        other => return listed(other),
    };
    sleep(BETWEEN_LOOKS).await;
    listed(
        kuryr
            .release_orphans(&seen, Instant::now() + ONE_LOOK)
            .await,
    )
}

fn listed(orphans: Result<Vec<Orphan>, Error>) -> Response {
    match orphans {
        Ok(orphans) => Json(orphans.iter().map(Listed::from).collect::<Vec<_>>()).into_response(),
        Err(error) => {
            let text = format!("{}\n", with_causes(&error));
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}
