//! One cloud for all who ask: changes one after the other, written before they are seen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as TurnMutex, OwnedMutexGuard, watch};
use tokio::task::spawn_blocking;

use crate::cloud::Cloud;
use crate::disk::{Disk, Durability, OpenError, SaveError};
use crate::settings::EmbeddedSettings;
use crate::store::{Change, Object};

/// The cloud in memory, and on disk if it has one.
pub(crate) struct State {
    cloud: Mutex<Cloud>,
    /// Whoever holds it is the only one to change the cloud.
    turn: Arc<TurnMutex<Option<Disk>>>,
    changes: watch::Sender<u64>,
}

impl State {
    pub(crate) fn new(settings: EmbeddedSettings) -> Self {
        let mut cloud = Cloud::new(settings);
        cloud.found();
        let changes = cloud.store.withdraw();
        cloud.apply(&changes);
        Self::with(cloud, None)
    }

    pub(crate) fn open(
        settings: EmbeddedSettings,
        mut disk: Disk,
        objects: Vec<Object>,
    ) -> Result<Self, OpenError> {
        let mut cloud = Cloud::new(settings);
        let read = |object| Change {
            before: None,
            after: Some(object),
        };
        cloud.apply(&objects.into_iter().map(read).collect::<Vec<_>>());
        cloud.found();
        let changes = cloud.store.withdraw();
        disk.save(&changes, Durability::Machine)
            .map_err(OpenError::from)?;
        cloud.apply(&changes);
        Ok(Self::with(cloud, Some(disk)))
    }

    fn with(cloud: Cloud, disk: Option<Disk>) -> Self {
        Self {
            cloud: Mutex::new(cloud),
            turn: Arc::new(TurnMutex::new(disk)),
            changes: watch::Sender::new(0),
        }
    }

    /// Nothing is left half done by a panic: see `Attempt`.
    pub(crate) fn cloud(&self) -> MutexGuard<'_, Cloud> {
        self.cloud.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Runs a verb that may change the cloud; what it changes is seen when it is on disk.
    ///
    /// Runs to its end also if nobody waits for it any more.
    pub(crate) async fn change<T: Send + 'static>(
        this: &Arc<Self>,
        durability: Durability,
        verb: impl FnOnce(&mut Cloud) -> T + Send + 'static,
    ) -> Result<T, SaveError> {
        let turn = Arc::clone(&this.turn).lock_owned().await;
        if turn.is_none() {
            return this.carry_out(turn, durability, verb);
        }
        let state = Arc::clone(this);
        let work = spawn_blocking(move || state.carry_out(turn, durability, verb));
        work.await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    fn carry_out<T>(
        &self,
        mut turn: OwnedMutexGuard<Option<Disk>>,
        durability: Durability,
        verb: impl FnOnce(&mut Cloud) -> T,
    ) -> Result<T, SaveError> {
        let (outcome, changes) = {
            let mut attempt = Attempt(self.cloud());
            let outcome = verb(&mut attempt.0);
            (outcome, attempt.0.store.withdraw())
        };
        if changes.is_empty() {
            return Ok(outcome);
        }
        if let Some(disk) = turn.as_mut() {
            disk.save(&changes, durability)?;
        }
        self.cloud().apply(&changes);
        self.changes.send_modify(|count| *count += 1);
        Ok(outcome)
    }
}

/// A cloud that a verb changes: what it has done is withdrawn, also if it panics.
struct Attempt<'a>(MutexGuard<'a, Cloud>);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.store.withdraw();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Method, Request, StatusCode};
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::Embedded;

    #[tokio::test]
    async fn what_does_not_fit_on_the_disk_has_not_happened() {
        let here = tempfile::TempDir::new().unwrap();
        let path = here.path().join("neutron.db");
        let embedded = Embedded::open(EmbeddedSettings::default(), &path).unwrap();
        limit(&embedded, 1).await;
        let mut changes = embedded.changes();
        let refused = loop {
            changes.mark_unchanged();
            let before = embedded.snapshot();
            let network = json!({"network": {"name": "n", "description": "x".repeat(200)}});
            let (status, reply) = exchange(&embedded, Method::POST, "networks", network).await;
            if status != StatusCode::CREATED {
                assert_eq!(embedded.snapshot(), before);
                break (status, reply);
            }
        };
        assert!(!changes.has_changed().unwrap());
        assert_eq!(refused.0, StatusCode::INTERNAL_SERVER_ERROR);
        let fault = &refused.1["NeutronError"];
        assert_eq!(fault["type"], "DBError");
        let message = fault["message"].as_str().unwrap();
        let full = format!(
            "could not write to {}: database or disk is full.",
            path.display()
        );
        assert_eq!(message, full);
        // With room again, it goes on from there.
        limit(&embedded, 1000).await;
        let network = json!({"network": {"name": "later"}});
        let (status, _) = exchange(&embedded, Method::POST, "networks", network).await;
        assert_eq!(status, StatusCode::CREATED);
        let before = embedded.snapshot();
        drop(embedded);
        let again = Embedded::open(EmbeddedSettings::default(), &path).unwrap();
        assert_eq!(again.snapshot(), before);
    }

    #[tokio::test]
    async fn a_verb_that_panics_leaves_nothing() {
        let embedded = Embedded::default();
        let before = embedded.snapshot();
        let state = Arc::clone(&embedded.state);
        let verb = |cloud: &mut Cloud| {
            crate::security_group::SecurityGroup::ensure_default(&mut cloud.store, "another");
            panic!("on purpose");
        };
        let change = async move {
            State::change(&state, Durability::Machine, verb)
                .await
                .is_ok()
        };
        #[allow(clippy::disallowed_methods, reason = "to see it panic")]
        let outcome = tokio::spawn(change).await;
        assert!(outcome.unwrap_err().is_panic());
        assert_eq!(embedded.snapshot(), before);
    }

    async fn limit(embedded: &Embedded, pages: u32) {
        let turn = embedded.state.turn.lock().await;
        turn.as_ref().unwrap().limit(pages).unwrap();
    }

    async fn exchange(
        embedded: &Embedded,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v2.0/{path}"))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let reply = embedded.service().oneshot(request).await.unwrap();
        let body = serde_json::from_slice(reply.body()).unwrap_or_default();
        (reply.status(), body)
    }
}
