//! Docker's calls all at once, about the same things and about others, in an order that chance chooses.
//!
//! The program runs in one thread. So calls cross only where they wait, and all that they wait for is the
//! tests' own: Neutron, the host, the journal, the clock. Each lets everybody else go on for as long as a
//! seed says ([`Pace`]). The same seed is the same order again.
//!
//! `KURYR_RACES` says how many orders are tried, `KURYR_RACES_SEED` which is the first.

mod crowd;

use std::env;
use std::sync::Arc;

use kuryr_testkit::pace::Pace;
use tokio::task::JoinSet;

use crowd::Crowd;

/// As many as take a few seconds.
const USUAL: u64 = 100;
const CONTAINERS: usize = 5;
const NETWORKS: usize = 3;

#[test]
fn in_whatever_order_calls_go_on_there_is_what_docker_has() {
    let first = number("KURYR_RACES_SEED", 1);
    let last = first + number("KURYR_RACES", USUAL);
    let failed = (first..last).find(|seed| std::panic::catch_unwind(|| race(*seed)).is_err());
    if let Some(seed) = failed {
        panic!("KURYR_RACES_SEED={seed} KURYR_RACES=1 repeats it");
    }
}

#[test]
fn the_same_seed_is_the_same_order() {
    for seed in 1..4 {
        let log = race(seed);
        assert!(log.len() > 50, "{log:?}");
        assert_eq!(log, race(seed), "seed {seed}");
    }
    assert_ne!(race(1), race(2));
}

/// What was said to Neutron, without identifiers.
fn race(seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let pace = Pace::new(seed);
        let crowd = Arc::new(Crowd::new(pace.clone(), seed.is_multiple_of(2)).await);
        let mut all = JoinSet::new();
        for _ in 0..CONTAINERS {
            let (crowd, lives) = (Arc::clone(&crowd), 1 + pace.number(3));
            all.spawn(async move {
                for _ in 0..lives {
                    crowd.container().await;
                }
            });
        }
        for _ in 0..NETWORKS {
            let crowd = Arc::clone(&crowd);
            all.spawn(async move { crowd.network().await });
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
        crowd.end().await
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long to test is no configuration"
)]
fn number(variable: &str, usual: u64) -> u64 {
    let said = env::var(variable).ok();
    said.map_or(usual, |said| said.parse().expect("a number"))
}
