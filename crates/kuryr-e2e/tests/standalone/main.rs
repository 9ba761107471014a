//! One host without a cloud: from `docker run` to packets. Needs `lab/lab up alone`; `make test` does
//! that.
//!
//! One test at a time (`--test-threads=1`): each compares the whole host before and after.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and finds the lab through the environment"
)]

mod alone;
mod bad_days;
mod beside;
#[path = "../shared/commands.rs"]
mod commands;
mod networks;
mod orphans;
mod restarts;
mod service;
#[path = "../shared/unit.rs"]
mod unit;
