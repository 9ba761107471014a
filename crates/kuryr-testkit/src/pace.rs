//! Pauses that a seed chooses, wherever a program waits for something outside: which of several calls gets
//! on first is chance, and the same chance again with the same seed.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Where chance is in its course; clones share it.
#[derive(Clone, Debug)]
pub struct Pace(Arc<AtomicU64>);

/// In milliseconds: many are the same, so that often two are done at one moment.
const PAUSES: [u64; 8] = [0, 0, 1, 1, 2, 5, 20, 60];

impl Pace {
    /// Begins anew with a seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// A number below `end`.
    pub fn number(&self, end: usize) -> usize {
        // SplitMix64.
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(step, Relaxed).wrapping_add(step);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = (mixed ^ (mixed >> 31)) % end.max(1) as u64;
        usize::try_from(number).unwrap_or_default()
    }

    /// Lets others go on for a while, or for one turn.
    pub async fn pause(&self) {
        match PAUSES.get(self.number(PAUSES.len())) {
            None | Some(0) => tokio::task::yield_now().await,
            Some(pause) => tokio::time::sleep(Duration::from_millis(*pause)).await,
        }
    }
}
