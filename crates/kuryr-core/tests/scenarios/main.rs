//! Kuryr's core on an embedded Neutron and a host that only takes notes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod address;
mod adopt;
mod defects;
mod endpoint;
mod exposed;
mod faults;
mod guest;
mod histories;
mod network;
mod orphans;
mod paper;
mod parts;
mod port_options;
mod port_pool;
mod ports;
mod ports_of_others;
mod publish;
mod races;
mod renamed;
mod restart;
mod sharing;
mod sriov;
mod swarm;
mod taken_over;
mod trunk;
mod unconfirmed;
mod world;
