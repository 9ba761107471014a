//! Kuryr's core on an embedded Neutron and a host that only takes notes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod address;
mod adopt;
mod endpoint;
mod faults;
mod network;
mod restart;
mod world;
