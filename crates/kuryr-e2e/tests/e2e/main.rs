//! From `docker run` to packets, on the lab's cloud. Needs `lab/lab up --all`; `make test` does that.
//!
//! One test at a time (`--test-threads=1`): each compares the whole lab before and after.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and finds the lab through the environment"
)]

mod addresses;
mod bad_days;
#[path = "../shared/commands.rs"]
mod commands;
mod containers;
mod daemon;
mod guarded;
mod guest;
mod hosts;
mod lab;
mod nested;
mod plugin;
mod ports;
mod service;
mod soak;
mod stream;
mod swarm;
mod takeover;
mod traces;
#[path = "../shared/unit.rs"]
mod unit;
mod warm;
