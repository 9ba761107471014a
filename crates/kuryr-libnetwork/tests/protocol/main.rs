//! What Docker sees on the socket: bytes in, bytes out, on an embedded Neutron and a host that
//! only takes notes.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod bodies;
mod exposed;
mod outcomes;
mod recorded;
mod world;
mod zun;
