//! What the workspace's tests share; never a dependency of shipped code.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test harness fails by panicking, and prints what its children print"
)]

pub mod faulty;
pub mod netns;
pub mod notebook;
pub mod ovs;
pub mod pace;

use std::process::Command;

/// Runs `program` with `args` (white space between them) and gives back what it printed.
///
/// # Panics
/// When the program is absent or fails.
pub fn run(program: &str, args: &str) -> String {
    let (succeeded, said) = attempt(program, args);
    assert!(succeeded, "{program} {args}: {said}");
    said
}

/// Like [`run`], but failing is an outcome; what it printed includes its errors.
pub fn attempt(program: &str, args: &str) -> (bool, String) {
    let output = Command::new(program)
        .args(args.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("could not run {program}: {error}; {NEEDED}"));
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

/// What the tests in namespaces need on a Debian host.
const NEEDED: &str = "on Debian: apt-get install --no-install-recommends util-linux iproute2 \
                      iputils-ping ethtool busybox-static openvswitch-switch";
