//! Whether Neutron answers just now, for who takes leave and need not wait for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Kind};

/// Knows when Neutron did not answer last.
///
/// A runtime that starts again takes leave of all its endpoints and addresses, one after the other, before it
/// does anything else, and a run of ours that does not know them has to ask Neutron. What it can't be asked
/// is noted, or found again by who looks for orphans: so the first waits a little, and the others hardly.
#[derive(Default)]
pub(crate) struct Absence(Mutex<Option<Instant>>);

/// A Neutron that is well has answered by then.
const USUAL: Duration = Duration::from_secs(3);
const BRIEF: Duration = Duration::from_millis(20);
/// So long it is taken for absent.
const LASTS: Duration = Duration::from_secs(20);

impl Absence {
    /// Until when Neutron is waited for.
    pub(crate) fn wait(&self, by: Instant) -> Instant {
        let is_away = self.since().is_some_and(|since| since.elapsed() < LASTS);
        by.min(Instant::now() + if is_away { BRIEF } else { USUAL })
    }

    /// Takes note of what has come of it.
    pub(crate) fn tell<T>(&self, outcome: &Result<T, Error>) {
        match outcome {
            Ok(_) => *self.since() = None,
            Err(error) if error.kind() == Kind::Unavailable => {
                let mut since = self.since();
                if since.is_none_or(|since| since.elapsed() >= LASTS) {
                    *since = Some(Instant::now());
                }
            }
            Err(_) => {}
        }
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
