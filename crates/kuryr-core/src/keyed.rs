//! One at a time for each key, any number of keys at once.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

use crate::error::Error;

/// Locks, made as they are needed and forgotten when nobody holds them.
pub(crate) struct Keyed<K>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K> Default for Keyed<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Display + Eq + Hash> Keyed<K> {
    /// Waits for its turn with `key`; the turn lasts as long as what is returned.
    ///
    /// # Errors
    /// [`Error::Busy`] at `by`.
    pub(crate) async fn turn(&self, key: &K, by: Instant) -> Result<OwnedMutexGuard<()>, Error> {
        let start = Instant::now();
        timeout_at(by, self.short_turn(key))
            .await
            .map_err(|_| Error::Busy {
                what: key.to_string(),
                waited: start.elapsed().max(Duration::from_secs(1)),
            })
    }

    /// The same without a deadline, where every turn is short.
    pub(crate) async fn short_turn(&self, key: &K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(key.clone()).or_default())
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_key_waits_and_another_does_not() {
        let keyed = Keyed::default();
        let soon = Instant::now() + Duration::from_secs(5);
        let held = keyed.turn(&"a", soon).await.unwrap();
        assert!(keyed.turn(&"b", soon).await.is_ok());
        assert!(keyed.turn(&"a", soon).await.is_err());
        drop(held);
        assert!(
            keyed
                .turn(&"a", soon + Duration::from_secs(5))
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn no_lock_is_kept_that_nobody_holds() {
        let keyed = Keyed::default();
        let soon = Instant::now() + Duration::from_secs(5);
        for key in 0..100 {
            drop(keyed.turn(&key, soon).await.unwrap());
        }
        assert!(keyed.0.lock().unwrap().len() <= 1);
    }
}
