//! How a call is run: to its end, in bounded time, and told of once.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::request::Parts;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kuryr_core::{Caller, Kuryr};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, field};
use uuid::Uuid;

use crate::failure::Failure;

/// How calls are run.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    tasks: TaskTracker,
    deadline: Duration,
}

impl Calls {
    pub(crate) fn new(tasks: TaskTracker, deadline: Duration) -> Self {
        Self { tasks, deadline }
    }
}

/// The instant by which a call must have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By(pub(crate) Instant);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let by = parts.extensions.get().copied();
        by.ok_or_else(|| Failure::internal("this route is not run as a call"))
    }
}

/// Who called, for verbs that make what only the caller can ask to remove again.
pub(crate) struct For(pub(crate) Caller);

impl<S: Sync> FromRequestParts<S> for For {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let caller = parts.extensions.get().cloned().map(Self);
        caller.ok_or_else(|| Failure::internal("this route is not run as a call"))
    }
}

/// The middleware around every verb.
///
/// The verb runs as a task of its own: a client that hangs up makes the server drop what it has
/// here, and that must not cut a verb in half.
pub(crate) async fn run(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let by = started + calls.deadline;
    let (mut parts, body) = request.into_parts();
    let verb = verb(&parts.uri).to_owned();
    let body = match timeout_at(by, whole(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(failure)) => return unread(&verb, failure),
        Err(_) => {
            let late = Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            );
            return unread(&verb, late);
        }
    };
    // The server may know which program it is.
    let caller = parts.extensions.get_or_insert_default::<Caller>().clone();
    parts.extensions.insert(By(by));
    let span = span(&verb, &body);
    span.in_scope(|| tracing::trace!(body = %String::from_utf8_lossy(&body), "called"));
    let request = Request::from_parts(parts, Body::from(body));
    let task = to_its_end(verb.clone(), started, next.run(request));
    let task = calls.tasks.spawn(task.instrument(span.clone()));
    let line = caller.on_the_line();
    match timeout_at(by + GRACE, task).await {
        Ok(Ok(response)) => {
            line.disarm();
            response
        }
        Ok(Err(_)) => Failure::internal(format!("{verb}: Kuryr is stopping")).into_response(),
        Err(_) => {
            let message = format!(
                "{verb} took longer than {:?}; it goes on, and Kuryr's log will tell its outcome",
                calls.deadline
            );
            span.in_scope(|| tracing::warn!("{message}"));
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, message).into_response()
        }
    }
}

/// The middleware that tells the core who calls.
pub(crate) async fn introduce(
    State(kuryr): State<Kuryr>,
    For(caller): For,
    request: Request,
    next: Next,
) -> Response {
    kuryr.is_called_by(&caller);
    next.run(request).await
}

/// The name of a verb: what follows the dot in `/NetworkDriver.CreateEndpoint`.
pub(crate) fn verb(uri: &Uri) -> &str {
    let path = uri.path().trim_start_matches('/');
    path.rsplit_once('.').map_or(path, |(_, verb)| verb)
}

/// Sees a verb through, and logs its outcome: after a hang-up nobody else would.
async fn to_its_end(
    verb: String,
    started: Instant,
    verb_itself: impl Future<Output = Response>,
) -> Response {
    // Nothing that the verb holds is used after a panic.
    let outcome = AssertUnwindSafe(verb_itself).catch_unwind().await;
    let response = outcome.unwrap_or_else(|panic| {
        Failure::internal(format!(
            "{verb} broke off, which is a mistake in Kuryr: {}",
            words(panic.as_ref())
        ))
        .into_response()
    });
    let took = started.elapsed();
    match response.extensions().get::<Failure>() {
        None => tracing::info!(?took, "{verb} done"),
        Some(failure) if failure.status().is_client_error() => {
            tracing::warn!(?took, error = failure.message(), "{verb} refused");
        }
        Some(failure) => tracing::error!(?took, error = failure.message(), "{verb} failed"),
    }
    response
}

async fn whole(body: Body) -> Result<Bytes, Failure> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {BODY_LIMIT} bytes"),
        )),
        Err(error) => Err(Failure::malformed(format!(
            "the body can't be read: {error}"
        ))),
    }
}

fn unread(verb: &str, failure: Failure) -> Response {
    tracing::warn!(verb, error = failure.message(), "a call was not readable");
    failure.into_response()
}

fn span(verb: &str, body: &[u8]) -> Span {
    /// What a call is about, as far as the log is concerned.
    #[derive(Default, Deserialize)]
    struct Subject<'a> {
        #[serde(rename = "NetworkID", borrow)]
        network: Option<&'a str>,
        #[serde(rename = "EndpointID", borrow)]
        endpoint: Option<&'a str>,
        #[serde(rename = "PoolID", borrow)]
        pool: Option<&'a str>,
    }
    let req = format!("req-{}", Uuid::new_v4());
    let span = tracing::info_span!(
        "call",
        %req,
        verb,
        network = field::Empty,
        endpoint = field::Empty,
        pool = field::Empty,
    );
    let subject: Subject<'_> = serde_json::from_slice(body).unwrap_or_default();
    for (name, id) in [("network", subject.network), ("endpoint", subject.endpoint)] {
        if let Some(id) = id {
            span.record(name, short(id));
        }
    }
    if let Some(pool) = subject.pool {
        span.record("pool", pool);
    }
    span
}

/// As much of an identifier as Docker's own tools show.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(owned)
        .unwrap_or("it said nothing")
}

/// The verbs know the deadline and end by themselves, with better words than ours: let them.
///
/// Longer than the two seconds that undoing a plug may take after its deadline.
const GRACE: Duration = Duration::from_secs(3);

/// Docker's largest call, a CreateNetwork with all options, is a few thousand bytes.
const BODY_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io;

    use axum::Router;
    use axum::middleware;
    use axum::routing::post;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{UnixListener, UnixStream};
    use tokio::sync::mpsc;
    use tower::ServiceExt;

    use super::*;
    use crate::wire::{Done, Wire};

    const DEADLINE: Duration = Duration::from_secs(25);
    const SLOW: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_verb_runs_to_its_end_although_the_client_has_hung_up() {
        assert_eq!(said_to_a_client_that_hangs_up("/D.Slow").await, "Slow");
    }

    #[tokio::test(start_paused = true)]
    async fn a_verb_learns_whether_the_client_has_hung_up() {
        assert_eq!(said_to_a_client_that_hangs_up("/D.Faithful").await, "gone");
        let (routes, mut ended) = verbs(TaskTracker::new());
        let (status, _) = ask(routes, "/D.Faithful", "{}").await;
        // It came too late for this one, too.
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ended.recv().await, Some("gone"));
        let (routes, mut ended) = verbs(TaskTracker::new());
        assert_eq!(ask(routes, "/D.Prompt", "{}").await.0, StatusCode::OK);
        assert_eq!(ended.recv().await, Some("there"));
    }

    async fn said_to_a_client_that_hangs_up(path: &str) -> &'static str {
        let (routes, mut ended) = verbs(TaskTracker::new());
        let (folder, listener) = listening();
        let request = format!("POST {path} HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{{}}");
        let path = folder.path().join("kuryr.sock");
        let mut client = UnixStream::connect(path).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let server = async { axum::serve(listener, routes).await.unwrap() };
        let hang_up = async {
            tokio::time::sleep(SLOW / 4).await;
            drop(client);
            tokio::time::timeout(2 * SLOW, ended.recv()).await
        };
        tokio::select! {
            () = server => panic!("the server ended"),
            ended = hang_up => ended.unwrap().unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_answered_soon_after_its_deadline_and_goes_on() {
        let tasks = TaskTracker::new();
        let (routes, mut ended) = verbs(tasks.clone());
        let started = Instant::now();
        let (status, text) = ask(routes, "/D.Slow", "{}").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("Slow took longer than 25s"), "{text}");
        assert_eq!(started.elapsed(), DEADLINE + GRACE);
        assert_eq!(tasks.len(), 1);
        assert_eq!(ended.recv().await, Some("Slow"));
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_verb_knows_its_deadline() {
        let (routes, mut ended) = verbs(TaskTracker::new());
        let started = Instant::now();
        assert_eq!(ask(routes, "/D.Punctual", "{}").await.0, StatusCode::OK);
        assert_eq!(started.elapsed(), DEADLINE);
        assert_eq!(ended.recv().await, Some("Punctual"));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_not_a_dropped_connection() {
        let (status, text) = ask(verbs(TaskTracker::new()).0, "/D.Broken", "{}").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        let text: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = "Broken broke off, which is a mistake in Kuryr: three is not four";
        assert_eq!(text["Err"], expected);
        assert_eq!(text["Error"], expected);
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_refused() {
        let body = "x".repeat(BODY_LIMIT + 1);
        let (status, text) = ask(verbs(TaskTracker::new()).0, "/D.Quick", body).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(text.contains("longer than 1048576 bytes"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_not_waited_for() {
        let stopped = futures_util::stream::pending::<io::Result<Bytes>>();
        let (status, text) = ask(
            verbs(TaskTracker::new()).0,
            "/D.Quick",
            Body::from_stream(stopped),
        )
        .await;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{text}");
    }

    #[test]
    fn short_identifiers_are_as_long_as_dockers() {
        assert_eq!(short("0123456789abcdef"), "0123456789ab");
        assert_eq!(short("blue"), "blue");
    }

    /// Verbs, and word of those that have ended.
    fn verbs(tasks: TaskTracker) -> (Router, mpsc::UnboundedReceiver<&'static str>) {
        let (end, ended) = mpsc::unbounded_channel();
        let slow = end.clone();
        let slow = async move || {
            tokio::time::sleep(SLOW).await;
            slow.send("Slow").unwrap();
            Wire(Done {})
        };
        let faithful = |pause: Duration| {
            let end = end.clone();
            async move |For(caller): For| {
                tokio::time::sleep(pause).await;
                let gone = caller.is_gone();
                end.send(if gone { "gone" } else { "there" }).unwrap();
                Wire(Done {})
            }
        };
        let (faithful, prompt) = (faithful(SLOW), faithful(Duration::ZERO));
        let punctual = async move |By(by): By| {
            tokio::time::sleep_until(by).await;
            end.send("Punctual").unwrap();
            Wire(Done {})
        };
        let calls = Calls::new(tasks, DEADLINE);
        let routes = Router::new()
            .route("/D.Slow", post(slow))
            .route("/D.Faithful", post(faithful))
            .route("/D.Prompt", post(prompt))
            .route("/D.Punctual", post(punctual))
            .route("/D.Quick", post(async || Wire(Done {})))
            .route("/D.Broken", post(broken))
            .route_layer(middleware::from_fn_with_state(calls, run));
        (routes, ended)
    }

    async fn broken() -> Wire<Done> {
        panic!("{} is not four", "three")
    }

    fn listening() -> (tempfile::TempDir, UnixListener) {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("kuryr.sock")).unwrap();
        (folder, listener)
    }

    async fn ask(routes: Router, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
        let request = Request::post(path).body(body.into()).unwrap();
        let reply = routes.oneshot(request).await.unwrap();
        let status = reply.status();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}
