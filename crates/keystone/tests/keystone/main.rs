//! What Keystone and a service see of a session, and what its caller gets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod cloud;
mod endpoints;
mod proofs;
mod real;
mod secrets;
mod tls;
mod tokens;
mod transport;
