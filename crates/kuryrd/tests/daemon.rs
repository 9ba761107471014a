//! The real program on temporary sockets: what Docker, systemd and an operator see of it.
//! No root, no network beyond this machine, and no Neutron but one in the test.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "daemon/admin.rs"]
mod admin;
#[path = "daemon/configuration.rs"]
mod configuration;
#[path = "daemon/life.rs"]
mod life;
#[path = "daemon/log.rs"]
mod log;
#[path = "daemon/orphans.rs"]
mod orphans;
#[path = "daemon/sockets.rs"]
mod sockets;
#[path = "daemon/status.rs"]
mod status;
#[path = "daemon/subject.rs"]
mod subject;
#[path = "daemon/tls.rs"]
mod tls;
