//! Whether Neutron answers, asked rarely and told at once.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use crate::causes::with_causes;

/// How long an answer counts. A bad one is asked for again sooner.
const FRESH_IF_READY: Duration = Duration::from_secs(5);
const FRESH_IF_NOT: Duration = Duration::from_secs(1);

/// How long the one who asks waits for an answer that is not there yet.
const PATIENCE: Duration = Duration::from_millis(800);

/// A probe without answer is given up after this.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// The smallest thing to ask Neutron for that also needs the credentials to be right.
const QUESTION: &str = "/v2.0/networks?limit=1&fields=id";

/// Ready, or a sentence on what is missing.
pub(crate) type Answer = Result<(), String>;

/// Asks for an answer.
pub(crate) type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// The last answer, and the way to a new one. Clones share both.
#[derive(Clone)]
pub(crate) struct Readiness {
    probe: Probe,
    probing: Arc<AtomicBool>,
    last: watch::Sender<Option<(Instant, Answer)>>,
    tasks: TaskTracker,
}

impl Readiness {
    /// Nothing is asked yet. Probes run in `tasks`.
    pub(crate) fn new(probe: Probe, tasks: TaskTracker) -> Self {
        Self {
            probe,
            probing: Arc::default(),
            last: watch::Sender::new(None),
            tasks,
        }
    }

    /// An answer within a second.
    pub(crate) async fn answer(&self) -> Answer {
        if let Some(answer) = self.fresh() {
            return answer;
        }
        let mut news = self.last.subscribe();
        self.start_probe();
        match timeout(PATIENCE, news.changed()).await {
            Ok(Ok(())) => news
                .borrow()
                .as_ref()
                .map_or(Err(NOT_YET.to_owned()), |(_, answer)| answer.clone()),
            Ok(Err(_)) | Err(_) => Err(NOT_YET.to_owned()),
        }
    }

    fn fresh(&self) -> Option<Answer> {
        let last = self.last.borrow();
        let (when, answer) = last.as_ref()?;
        let lasts = if answer.is_ok() {
            FRESH_IF_READY
        } else {
            FRESH_IF_NOT
        };
        (when.elapsed() < lasts).then(|| answer.clone())
    }

    /// One at a time, however many ask.
    fn start_probe(&self) {
        if self.probing.swap(true, Ordering::AcqRel) {
            return;
        }
        let readiness = self.clone();
        self.tasks.spawn(async move {
            let answer = timeout(PROBE_TIMEOUT, (readiness.probe)())
                .await
                .unwrap_or_else(|_| Err(NOT_YET.to_owned()));
            readiness.probing.store(false, Ordering::Release);
            readiness.last.send_replace(Some((Instant::now(), answer)));
        });
    }
}

const NOT_YET: &str = "Neutron has been asked and has not answered yet";

/// A probe that asks Neutron through `carrier`.
pub(crate) fn ask_neutron<S>(carrier: S) -> Probe
where
    S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
    S::Error: Error,
    S::Future: Send,
{
    Arc::new(move || {
        let carrier = carrier.clone();
        Box::pin(async move {
            let mut request = Request::new(Bytes::new());
            *request.method_mut() = Method::GET;
            *request.uri_mut() = http::Uri::from_static(QUESTION);
            match carrier.oneshot(request).await {
                Ok(reply) if reply.status().is_success() => Ok(()),
                Ok(reply) => Err(format!("Neutron answers {}", reply.status())),
                Err(error) => Err(format!("Neutron cannot be asked: {}", with_causes(&error))),
            }
        })
    })
}

/// A probe whose answer is always the same.
pub(crate) fn never_ready(because: &'static str) -> Probe {
    Arc::new(move || Box::pin(async move { Err(because.to_owned()) }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn counting(answer: Answer) -> (Arc<AtomicUsize>, Readiness) {
        let asked = Arc::new(AtomicUsize::new(0));
        let probe: Probe = {
            let asked = asked.clone();
            Arc::new(move || {
                asked.fetch_add(1, Ordering::Relaxed);
                let answer = answer.clone();
                Box::pin(async move { answer })
            })
        };
        (asked, Readiness::new(probe, TaskTracker::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_used_again_until_it_is_old() {
        let (asked, readiness) = counting(Ok(()));
        for _ in 0..3 {
            assert_eq!(readiness.answer().await, Ok(()));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(FRESH_IF_READY).await;
        assert_eq!(readiness.answer().await, Ok(()));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_neutron_is_answered_for_within_a_second() {
        let silent: Probe = Arc::new(|| Box::pin(std::future::pending()));
        let readiness = Readiness::new(silent, TaskTracker::new());
        for _ in 0..2 {
            let asked = Instant::now();
            assert_eq!(readiness.answer().await, Err(NOT_YET.to_owned()));
            assert!(asked.elapsed() < Duration::from_secs(1));
        }
    }
}
