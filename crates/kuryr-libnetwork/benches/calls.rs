//! What Docker's calls cost, one after the other: `cargo bench -p kuryr-libnetwork --bench calls`.
//!
//! From the body of a request to that of its answer, with the journal's notes (in memory) and what
//! follows in the background; without socket, kernel and a Neutron elsewhere.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark fails by panicking, and criterion makes functions of its own"
)]

mod docker;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use docker::Docker;
use tokio::runtime::{Builder, Runtime};

/// More than are used before used ones are back.
const WARM: usize = 2000;

fn calls(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut number = 0_u32;
    let mut id = || {
        number += 1;
        format!("e{number}")
    };
    let mut group = criterion.benchmark_group("docker");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(1));
    let docker = runtime.block_on(Docker::new(WARM));
    group.bench_function("a warm start and its stop, seven calls", |bencher| {
        bencher.iter_custom(|times| {
            passing(&runtime, async {
                for _ in 0..times {
                    let container = docker.start(&id()).await;
                    docker.stop(&container).await;
                }
            })
        });
    });
    group.bench_function("a malformed body", |bencher| {
        bencher.iter_custom(|times| {
            passing(&runtime, async {
                for _ in 0..times {
                    docker.ask_malformed().await;
                }
            })
        });
    });
    group.finish();
}

fn passing(runtime: &Runtime, work: impl Future<Output = ()>) -> Duration {
    let begun = Instant::now();
    runtime.block_on(work);
    begun.elapsed()
}

criterion_group!(benches, calls);
criterion_main!(benches);
