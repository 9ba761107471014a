//! When nobody waits: what can be done later is done then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Knows whether containers start or stop now, and when they have last.
///
/// The switch, Neutron and the container runtime may share the processors, and many containers start
/// at once: so a name in Neutron, or a port for a container to come, waits for a lull. What a
/// container that is gone by then would have needed is never done. A container that waits for Neutron
/// must not wait for what nobody waits for, either: as long as a call takes, there is no lull.
#[derive(Default)]
pub(crate) struct Lull(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many calls are being answered.
    calls: usize,
    /// When the last one of them began or ended.
    last: Option<Instant>,
}

/// A call that is being answered.
pub(crate) struct Call(Arc<Lull>);

/// So long it must have been quiet: the calls for one container follow each other faster.
const QUIET: Duration = Duration::from_secs(1);

impl Lull {
    /// A container starts or stops, until what is returned is dropped.
    pub(crate) fn ends(self: &Arc<Self>) -> Call {
        let mut state = self.state();
        state.calls += 1;
        state.last = Some(Instant::now());
        Call(Arc::clone(self))
    }

    /// When it is quiet enough for who has waited since then, if nobody comes; on a host that never
    /// rests, once its `patience` has ended.
    pub(crate) fn begins(&self, since: Instant, patience: Duration) -> Instant {
        let state = self.state();
        let last = match state.calls {
            0 => state.last,
            _ => Some(Instant::now()),
        };
        last.map_or(since, |last| last + QUIET)
            .min(since + patience)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.calls -= 1;
        state.last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_lull_begins_a_second_after_the_last_call_has_ended() {
        let lull = Arc::new(Lull::default());
        let since = Instant::now();
        assert_eq!(lull.begins(since, PATIENCE), since);
        let (first, second) = (lull.ends(), lull.ends());
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(first);
        assert_eq!(lull.begins(since, PATIENCE), Instant::now() + QUIET);
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(second);
        let ended = Instant::now();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(lull.begins(since, PATIENCE), ended + QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_its_patience() {
        let lull = Arc::new(Lull::default());
        let since = Instant::now();
        let _call = lull.ends();
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(lull.begins(since, PATIENCE), since + PATIENCE);
    }
}
