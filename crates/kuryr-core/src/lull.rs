//! When nobody waits: what can be done later is done then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Knows when containers have started or stopped last.
///
/// The switch, Neutron and the container runtime may share the processors, and many containers start
/// at once: so a name in Neutron, or a port for a container to come, waits for a lull. What a
/// container that is gone by then would have needed is never done.
#[derive(Default)]
pub(crate) struct Lull(Mutex<Option<Instant>>);

/// So long it must have been quiet: the calls for one container follow each other faster.
const QUIET: Duration = Duration::from_secs(1);
/// On a host that never rests it is waited no longer.
const LONGEST: Duration = Duration::from_secs(10);

impl Lull {
    /// A container starts or stops.
    pub(crate) fn ends(&self) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Instant::now());
    }

    /// When it is quiet enough for who has waited since then, if nobody comes.
    pub(crate) fn begins(&self, since: Instant) -> Instant {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map_or(since, |last| last + QUIET).min(since + LONGEST)
    }
}
