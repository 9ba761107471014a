//! How many warm ports a network is likely to need.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::PortPoolSettings;

/// The starts that a network has seen.
#[derive(Default)]
pub(super) struct Demand {
    recent: VecDeque<Instant>,
    /// The most starts within [`BURST`], and when that was.
    peak: usize,
    peak_at: Option<Instant>,
}

/// So long it takes, generously, until a used port is back or a new one is there.
const BURST: Duration = Duration::from_secs(5);

impl Demand {
    pub(super) fn start(&mut self, idle: Duration) {
        let now = Instant::now();
        self.recent.push_back(now);
        self.recent.retain(|start| now - *start < BURST);
        if self.recent.len() >= self.peak(idle) {
            self.peak = self.recent.len();
            self.peak_at = Some(now);
        }
    }

    /// How many ports are to be there, of at most `limit`.
    pub(super) fn target(&self, settings: &PortPoolSettings, limit: usize) -> usize {
        let most = settings.max.min(limit);
        self.peak(settings.idle).clamp(settings.min.min(most), most)
    }

    /// Whether there was no start for an idle time.
    pub(super) fn is_quiet(&self, idle: Duration) -> bool {
        self.recent.back().is_none_or(|last| last.elapsed() >= idle)
    }

    /// After an idle time without as many starts only half of them are expected.
    fn peak(&self, idle: Duration) -> usize {
        let Some(at) = self.peak_at else {
            return 0;
        };
        let periods = at.elapsed().as_millis() / idle.as_millis().max(1);
        let halvings = u32::try_from(periods).unwrap_or(u32::MAX);
        self.peak.checked_shr(halvings).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: PortPoolSettings = PortPoolSettings {
        enabled: true,
        min: 2,
        max: 16,
        batch: 4,
        idle: Duration::from_secs(100),
    };

    #[tokio::test(start_paused = true)]
    async fn as_many_are_expected_as_were_started_within_moments_lately() {
        let mut demand = Demand::default();
        assert_eq!(demand.target(&SETTINGS, 100), 2);
        for _ in 0..10 {
            demand.start(SETTINGS.idle);
        }
        assert_eq!(demand.target(&SETTINGS, 100), 10);
        tokio::time::sleep(Duration::from_secs(101)).await;
        assert_eq!(demand.target(&SETTINGS, 100), 5);
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(demand.target(&SETTINGS, 100), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_expected_than_there_may_be() {
        let mut demand = Demand::default();
        for _ in 0..100 {
            demand.start(SETTINGS.idle);
        }
        assert_eq!(demand.target(&SETTINGS, 100), 16);
        assert_eq!(demand.target(&SETTINGS, 3), 3);
        assert_eq!(demand.target(&SETTINGS, 0), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn few_starts_in_a_row_are_no_burst() {
        let mut demand = Demand::default();
        for _ in 0..100 {
            demand.start(SETTINGS.idle);
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert_eq!(demand.target(&SETTINGS, 100), 2);
    }
}
