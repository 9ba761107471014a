//! Histories that are made up: whatever Docker asks for, in whatever order, how often, and whatever
//! goes wrong meanwhile, there is in the end what Docker has.
//!
//! The model is Docker: which networks, endpoints and addresses it has ([`docker`]). After each step
//! and at rest, Neutron, the host and the journal are compared with it ([`audit`]).
//!
//! `KURYR_HISTORIES` says how many histories are played, `KURYR_HISTORIES_SEED` which: a seed repeats
//! them. What fails is cut down to the steps that it needs.

mod audit;
mod call;
mod docker;
mod others;
mod play;
mod script;

use std::env;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use play::Play;
use script::History;

/// As many as take a few seconds.
const USUAL: u32 = 100;

#[test]
fn in_any_history_there_is_what_docker_has() {
    let cases = number("KURYR_HISTORIES", USUAL);
    let seed = number::<u64>("KURYR_HISTORIES_SEED", 1);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 3000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(&script::histories(), |history| {
        played(&history).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => {
            panic!(
                "{history}\n{reason}\n\nKURYR_HISTORIES_SEED={seed} KURYR_HISTORIES={cases} repeats it"
            )
        }
        Err(other) => panic!("{other}"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long to test is no configuration"
)]
fn number<T: std::str::FromStr>(variable: &str, usual: T) -> T {
    let said = env::var(variable).ok();
    said.map_or(usual, |said| said.parse().ok().expect("a number"))
}

fn played(history: &History) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut play = Play::new(history).await;
        let played = play.play(history).await;
        played.map_err(|what| format!("{what}\n\n{}", play.told()))
    })
}
