//! The agent: its rules by themselves, and on a real kernel with real packets.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::zombie_processes,
    reason = "tests; their processes end with their namespaces"
)]

mod cloud;
mod isolation;
mod machine;
mod published;
mod publishing;
mod running;
mod security;
mod spoofing;
mod text;
mod timing;
mod world;

/// A test in namespaces of its own.
macro_rules! packets {
    ($(async fn $name:ident() $body:block)+) => {$(
        #[test]
        #[ignore = "needs root, nftables: make test"]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            kuryr_testkit::netns::isolate(path, || async { $body });
        }
    )+};
}
pub(crate) use packets;
