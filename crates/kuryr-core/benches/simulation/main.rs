//! A cloud of a thousand hosts, each with this crate's real Kuryr, in virtual time: `make simulation`.
//!
//! Only Neutron and the hosts' kernels are simulated: what a call to Neutron costs was measured on a
//! real one ([`neutron`]), and calls queue for its workers. Containers come and go by chance, and now
//! and then something is rolled out on many hosts at once ([`churn`]). Shown is what containers wait
//! for, what Neutron has to do, and how many addresses wait in pools, for several kinds of pools.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and prints what it has found"
)]

mod churn;
mod neutron;
mod report;

use std::env;
use std::time::Duration;

use kuryr_core::PortPoolSettings;

use churn::Plan;

fn main() {
    // Where benchmarks are only built and tried, there is nothing to try.
    if !env::args().any(|arg| arg == "--bench") {
        return;
    }
    let plan = Plan {
        hosts: number("HOSTS", 1000),
        hosts_of_network: 10,
        passes: Duration::from_secs(number("MINUTES", 25) * 60),
        seed: number("SEED", 1),
        ..Plan::default()
    };
    let mut report = report::Report::new(&plan);
    for (name, pool) in policies() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime needs nothing that could be missing");
        let seen = runtime.block_on(churn::run(&plan, pool));
        report.add(name, &seen);
    }
    report.write();
}

/// The kinds of pools that are compared.
fn policies() -> [(&'static str, PortPoolSettings); 4] {
    let with = |enabled, min, max| PortPoolSettings {
        enabled,
        min,
        max,
        ..PortPoolSettings::default()
    };
    let usual = PortPoolSettings::default();
    [
        ("no pool", with(false, 0, 0)),
        ("always 2", with(true, 2, 2)),
        ("always 5", with(true, 5, 5)),
        ("2 to 64 by demand", with(true, usual.min, usual.max)),
    ]
}

/// What the environment says, such as `KURYR_SIMULATION_HOSTS=50`.
fn number<T: std::str::FromStr + Copy>(what: &str, usual: T) -> T {
    let name = format!("KURYR_SIMULATION_{what}");
    let Ok(said) = env::var(&name) else {
        return usual;
    };
    let parsed = said.parse().ok();
    parsed.unwrap_or_else(|| panic!("{name}={said} is not a number"))
}
