//! Against a real kernel and a real Open vSwitch, in fresh namespaces per test.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod namespaces {
    mod bridge;
    mod failure;
    mod forwarding;
    mod host;
    mod kernel;
    mod link;
    mod parent;
    mod programs;
    mod rows;
    mod sriov;
    mod steps;
    mod timing;
    mod ways;
    mod wired;
}
