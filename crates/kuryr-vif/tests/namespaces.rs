//! Against a real kernel and a real Open vSwitch, in fresh namespaces per test.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod namespaces {
    mod failure;
    mod forwarding;
    mod host;
    mod link;
    mod rows;
    mod timing;
    mod wired;
}
