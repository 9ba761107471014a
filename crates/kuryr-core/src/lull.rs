//! When nobody waits: what can be done later is done then.

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Knows whether containers start or stop now, and when they have last.
///
/// The switch, Neutron and the container runtime may share the processors, and many containers start
/// at once: so a name in Neutron, or a port for a container to come, waits for a lull. What a
/// container that is gone by then would have needed is never done. A container that waits for Neutron
/// must not wait for what nobody waits for, either: as long as a call takes, there is no lull.
pub(crate) struct Lull {
    state: Mutex<State>,
    /// For how long a container that starts keeps this machine's processors busy.
    one_start: Duration,
}

#[derive(Default)]
struct State {
    /// How many calls are being answered.
    calls: usize,
    /// When the last one of them began or ended.
    last: Option<Instant>,
    /// How many containers have started right after each other, and when the last of them did.
    starts: Option<(u32, Instant)>,
}

/// A call that is being answered.
pub(crate) struct Call(Arc<Lull>);

/// So long it must have been quiet at least: the calls for one container follow each other faster.
const QUIET: Duration = Duration::from_secs(1);

/// What a start takes of one processor. Of many at once the calls come in the first moments, and the runtime goes on
/// with the rest: 20 of them, measured on two processors with Docker 20.10, had 7 seconds of both.
const ONE_START: Duration = Duration::from_millis(350);

impl Lull {
    pub(crate) fn on(processors: NonZero<usize>) -> Self {
        let processors = u32::try_from(processors.get()).unwrap_or(u32::MAX);
        Self {
            state: Mutex::default(),
            one_start: ONE_START / processors,
        }
    }

    /// A container starts, and what [`Lull::ends`] says.
    pub(crate) fn ends_with_a_start(self: &Arc<Self>) -> Call {
        let call = self.ends();
        let now = Instant::now();
        let mut state = self.state();
        let before = state.starts.filter(|(_, last)| now - *last <= QUIET);
        state.starts = Some((before.map_or(1, |(count, _)| count + 1), now));
        drop(state);
        call
    }

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
        let quiet = last.map(|last| last + QUIET);
        let started = state
            .starts
            .map(|(count, last)| last + self.one_start * count);
        quiet
            .max(started)
            .map_or(since, |until| until.min(since + patience))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn lull() -> Arc<Lull> {
        Arc::new(Lull::on(NonZero::new(2).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lull_begins_a_second_after_the_last_call_has_ended() {
        let lull = lull();
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
    async fn after_many_starts_at_once_the_runtime_has_more_to_do() {
        let lull = lull();
        for _ in 0..20 {
            drop(lull.ends_with_a_start());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ended = Instant::now();
        drop(lull.ends());
        let working = Duration::from_millis(20 * 350 / 2 - 20);
        assert_eq!(lull.begins(ended, PATIENCE), ended + working);
        tokio::time::sleep(working).await;
        // One that comes alone.
        drop(lull.ends_with_a_start());
        let now = Instant::now();
        assert_eq!(lull.begins(now, PATIENCE), now + QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_its_patience() {
        let lull = lull();
        let since = Instant::now();
        let _call = lull.ends();
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(lull.begins(since, PATIENCE), since + PATIENCE);
    }
}
