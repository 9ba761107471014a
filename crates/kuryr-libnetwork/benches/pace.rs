//! How long Docker's calls take when 500 of them come each second, whoever is still being answered:
//! `cargo bench -p kuryr-libnetwork --bench pace`.
//!
//! Containers on warm ports start, and stop a while later. Of each call it is measured how long it takes
//! until it is answered, and how much of that our own code runs for it: the rest it waits for the journal's
//! writer, or while other calls and what follows in the background have the one thread, as in the daemon.
//! Fails where our own time is more than 0.3 ms for one call of a hundred.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and prints what it has measured"
)]

mod docker;

use std::cell::RefCell;
use std::env;
use std::future::poll_fn;
use std::pin::pin;
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

/// What one call has taken.
#[derive(Clone, Copy)]
struct Taken {
    call: &'static str,
    /// Until it was answered.
    whole: Duration,
    /// While our code ran for it.
    own: Duration,
}

type Times = Rc<RefCell<Vec<Taken>>>;

fn main() {
    // Where benchmarks are only built and tried, there is nothing to try.
    if !env::args().any(|arg| arg == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let times = LocalSet::new().block_on(&runtime.unwrap(), paced());
    println!(
        "| call | calls | answered after, µs: median | p99 | of our own time: median | p99 | longest |\n\
         |---|---|---|---|---|---|---|"
    );
    for call in CALLS {
        row(call, &times.iter().filter(|taken| taken.call == call));
    }
    let p99 = row("all", &times.iter());
    assert!(
        p99 <= BAR,
        "one call of a hundred takes {p99:?} of our own time and more: the bar is {BAR:?}"
    );
}

async fn paced() -> Vec<Taken> {
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
        let answered = async {
            match call {
                "RequestAddress" => address = docker.request_address().await,
                "CreateEndpoint" => docker.create_endpoint(&id, &address).await,
                "Join" => docker.join(&id).await,
                "ReleaseAddress" => docker.release_address(&address).await,
                _ => docker.end(call, &id).await,
            }
        };
        let own = running(answered).await;
        let whole = since.elapsed();
        times.borrow_mut().push(Taken { call, whole, own });
        due += BETWEEN;
    }
}

/// How long a call runs, without what it waits for in between.
async fn running(call: impl Future<Output = ()>) -> Duration {
    let mut call = pin!(call);
    let mut own = Duration::ZERO;
    poll_fn(|context| {
        let begun = Instant::now();
        let polled = call.as_mut().poll(context);
        own += begun.elapsed();
        polled
    })
    .await;
    own
}

/// Prints what calls took; p99 of our own time.
fn row<'a>(call: &str, taken: &(impl Iterator<Item = &'a Taken> + Clone)) -> Duration {
    let sorted = |of: fn(&Taken) -> Duration| {
        let mut all: Vec<Duration> = taken.clone().map(of).collect();
        all.sort_unstable();
        all
    };
    let (whole, own) = (sorted(|taken| taken.whole), sorted(|taken| taken.own));
    let at = |all: &[Duration], part: usize| all[(all.len() - 1) * part / 100];
    let p99 = at(&own, 99);
    println!(
        "| {call} | {} | {} | {} | {} | {} | {} |",
        own.len(),
        at(&whole, 50).as_micros(),
        at(&whole, 99).as_micros(),
        at(&own, 50).as_micros(),
        p99.as_micros(),
        at(&own, 100).as_micros()
    );
    p99
}
