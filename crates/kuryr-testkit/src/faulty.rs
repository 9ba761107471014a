//! A transport that fails when it is told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::IF_MATCH;
use http::{Request, Response};
use neutron_client::Failure;
use tower::{Service, ServiceExt};

use crate::pace::Pace;

/// What becomes of an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It takes place.
    Pass,
    /// It takes place, and takes so long.
    Take(Duration),
    /// The request never arrives.
    LoseRequest,
    /// The request is carried out, and the reply never arrives.
    LoseReply,
    /// The request is carried out so much later, when nobody waits for the reply any more.
    CarryOutLater(Duration),
    /// The request is carried out, and the reply is kept back for good.
    KeepReply,
    /// The request is carried out, and of the reply's body only the first half arrives.
    CutReply,
    /// It takes place so much later, whatever revision it names (`If-Match`), as with a Neutron that tries again.
    Unconditionally(Duration),
    /// It is answered with this status, and not carried out.
    Answer(u16),
}

/// Decides an exchange's fate by its number (from 0) and its request.
type Decide = dyn Fn(usize, &Request<Bytes>) -> Fate + Send + Sync;

/// A transport around another one; clones share the count and the plan.
#[derive(Clone)]
pub struct Faulty<S> {
    inner: S,
    state: Arc<Mutex<State>>,
}

struct State {
    decide: Arc<Decide>,
    log: Vec<String>,
    pace: Option<Pace>,
}

impl<S> Faulty<S> {
    /// Lets everything pass until it is told otherwise.
    pub fn new(inner: S) -> Self {
        let state = State {
            decide: Arc::new(|_, _| Fate::Pass),
            log: Vec::new(),
            pace: None,
        };
        Self {
            inner,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// From now on `decide` says what happens; the count begins again.
    pub fn plan(&self, decide: impl Fn(usize, &Request<Bytes>) -> Fate + Send + Sync + 'static) {
        let mut state = self.state();
        state.decide = Arc::new(decide);
        state.log.clear();
    }

    /// From now on each exchange pauses before it takes place and before its reply arrives.
    pub fn pace(&self, pace: Pace) {
        self.state().pace = Some(pace);
    }

    /// The exchanges since the last plan, such as `POST /v2.0/ports`.
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    fn fate(&self, request: &Request<Bytes>) -> Fate {
        let mut state = self.state();
        let number = state.log.len();
        state
            .log
            .push(format!("{} {}", request.method(), request.uri().path()));
        (Arc::clone(&state.decide))(number, request)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Service<Request<Bytes>> for Faulty<S>
where
    S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + 'static,
    S::Error: Into<Failure>,
    S::Future: Send,
{
    type Response = Response<Bytes>;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Bytes>) -> Self::Future {
        let (inner, fate) = (self.inner.clone(), self.fate(&request));
        let pace = self.state().pace.clone();
        Box::pin(async move {
            let lost = || Failure::Passing("the test cut the connection".into());
            match fate {
                Fate::Pass => {
                    if let Some(pace) = &pace {
                        pace.pause().await;
                    }
                    let reply = inner.oneshot(request).await.map_err(Into::into);
                    if let Some(pace) = &pace {
                        pace.pause().await;
                    }
                    reply
                }
                Fate::Take(time) => {
                    tokio::time::sleep(time).await;
                    inner.oneshot(request).await.map_err(Into::into)
                }
                Fate::Unconditionally(delay) => {
                    tokio::time::sleep(delay).await;
                    request.headers_mut().remove(IF_MATCH);
                    inner.oneshot(request).await.map_err(Into::into)
                }
                Fate::KeepReply => {
                    let _ = inner.oneshot(request).await;
                    std::future::pending().await
                }
                Fate::LoseRequest => Err(lost()),
                Fate::LoseReply => {
                    inner.oneshot(request).await.map_err(Into::into)?;
                    Err(lost())
                }
                Fate::CutReply => {
                    let reply = inner.oneshot(request).await.map_err(Into::into)?;
                    Ok(reply.map(|body| body.slice(..body.len() / 2)))
                }
                Fate::CarryOutLater(delay) => {
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        let _ = inner.oneshot(request).await;
                    });
                    Err(lost())
                }
                Fate::Answer(status) => Response::builder()
                    .status(status)
                    .body(Bytes::from_static(b"the test says so"))
                    .map_err(|error| Failure::Lasting(error.into())),
            }
        })
    }
}
