//! How long Docker's calls take when 500 of them come each second, whoever is still being answered:
//! `cargo bench -p kuryr-libnetwork --bench pace`.
//!
//! Containers on warm ports start, and stop a while later. Fails where one call of a hundred takes more
//! than 0.3 ms: of our own time, that is, as there is no socket, no kernel and no Neutron elsewhere.
//! All in one thread, as in the daemon, with what follows in the background.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and prints what it has measured"
)]

mod docker;

use std::cell::RefCell;
use std::env;
use std::rc::Rc;
use std::time::Duration;

use docker::Docker;
use serde_json::Value;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

const CALLS_EACH_SECOND: u32 = 500;
const SECONDS: u32 = 20;
/// One of a hundred may take longer.
const BAR: Duration = Duration::from_micros(300);
/// The calls of one container follow each other at this distance.
const BETWEEN: Duration = Duration::from_millis(50);
const CALLS: [&str; CALLS_OF_CONTAINER as usize] = [
    "RequestAddress",
    "CreateEndpoint",
    "Join",
    "Leave",
    "DeleteEndpoint",
    "ReleaseAddress",
];
const CALLS_OF_CONTAINER: u32 = 6;
/// More than are used before used ones are back.
const WARM: usize = 2000;
/// Tokio's timers are no finer.
const TICK: Duration = Duration::from_millis(1);

type Times = Rc<RefCell<Vec<(&'static str, Duration)>>>;

fn main() {
    // Where benchmarks are only built and tried, there is nothing to try.
    if !env::args().any(|arg| arg == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let times = LocalSet::new().block_on(&runtime.unwrap(), paced());
    println!("| call | calls | median, µs | p99, µs | longest, µs |\n|---|---|---|---|---|");
    let of = |call| move |time: &&(&'static str, Duration)| time.0 == call;
    for call in CALLS {
        row(call, times.iter().filter(of(call)).map(|time| time.1));
    }
    let p99 = row("all", times.iter().map(|time| time.1));
    assert!(
        p99 <= BAR,
        "one call of a hundred takes {p99:?} and more: the bar is {BAR:?}"
    );
}

async fn paced() -> Vec<(&'static str, Duration)> {
    let docker = Rc::new(Docker::new(WARM).await);
    let times = Times::default();
    let between = Duration::from_secs(1) * CALLS_OF_CONTAINER / CALLS_EACH_SECOND;
    let begin = Instant::now();
    let mut containers = Vec::new();
    for number in 0..CALLS_EACH_SECOND * SECONDS / CALLS_OF_CONTAINER {
        let (docker, times) = (Rc::clone(&docker), Rc::clone(&times));
        let at = begin + between * number;
        containers.push(tokio::task::spawn_local(container(
            docker, number, at, times,
        )));
    }
    for container in containers {
        container.await.unwrap();
    }
    Rc::unwrap_or_clone(times).into_inner()
}

async fn container(docker: Rc<Docker>, number: u32, at: Instant, times: Times) {
    let id = format!("e{number}");
    let mut due = at;
    let mut address = Value::Null;
    for call in CALLS {
        sleep_until(due).await;
        // Who comes late because others are being answered has waited already.
        let since = Instant::now().min(due + TICK);
        match call {
            "RequestAddress" => address = docker.request_address().await,
            "CreateEndpoint" => docker.create_endpoint(&id, &address).await,
            "Join" => docker.join(&id).await,
            "ReleaseAddress" => docker.release_address(&address).await,
            _ => docker.end(call, &id).await,
        }
        times.borrow_mut().push((call, since.elapsed()));
        due += BETWEEN;
    }
}

/// Prints what calls took; p99.
fn row(call: &str, times: impl Iterator<Item = Duration>) -> Duration {
    let mut all: Vec<Duration> = times.collect();
    all.sort_unstable();
    let at = |part: usize| all[(all.len() - 1) * part / 100];
    let [median, p99, longest] = [50, 99, 100].map(at);
    println!(
        "| {call} | {} | {} | {} | {} |",
        all.len(),
        median.as_micros(),
        p99.as_micros(),
        longest.as_micros()
    );
    p99
}
