//! Runs a test in namespaces of its own.

use std::env;
use std::future::Future;
use std::process::Command;

use crate::run;

/// Declares a test whose body runs as root of fresh network, mount and process namespaces, with an
/// empty `/run` and a `lo` that is up, on a tokio runtime of one thread.
///
/// The test executes its own binary again under `unshare`, so each body has a kernel to itself:
/// tests do not see each other's links, and no process outlives its test, however that ends. It is
/// ignored unless asked for (`--include-ignored`); where it cannot run it fails.
#[macro_export]
macro_rules! netns_test {
    ($(#[$meta:meta])* async fn $name:ident() $body:block) => {
        #[test]
        #[ignore = "needs root and Open vSwitch: make test"]
        $(#[$meta])*
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            $crate::netns::isolate(path, || async { $body });
        }
    };
}

/// Runs `body` in fresh namespaces; `path` is the test's full path, crate name included.
///
/// # Panics
/// When the body does, or the namespaces cannot be made.
pub fn isolate<F: Future<Output = ()>>(path: &str, body: impl FnOnce() -> F) {
    if env::var_os(INSIDE).is_some() {
        return inside(body);
    }
    let test = path.split_once("::").map_or(path, |(_crate, test)| test);
    let output = unshared()
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .output()
        .expect(PROGRAMS);
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{test} failed in its namespaces: {}",
        output.status
    );
    // libtest also exits with 0 when the filter matched nothing.
    assert!(
        said.contains("1 passed"),
        "{test} did not run in its namespaces"
    );
}

/// The same for a program that is no test: it is run again with these arguments.
///
/// # Panics
/// When the program fails, or the namespaces cannot be made.
pub fn isolate_program<F: Future<Output = ()>>(args: &[&str], body: impl FnOnce() -> F) {
    if env::var_os(INSIDE).is_some() {
        return inside(body);
    }
    let status = unshared().args(args).status().expect(PROGRAMS);
    assert!(status.success(), "failed in its namespaces: {status}");
}

/// This test again, `path` with the crate's name, in the same namespaces and with the same `/run`: a process
/// that may be killed. What it is to do its environment says.
///
/// # Panics
/// Outside of a test's namespaces.
pub fn again(path: &str) -> Command {
    assert!(env::var_os(INSIDE).is_some(), "this is no test's namespace");
    let test = path.split_once("::").map_or(path, |(_crate, test)| test);
    let mut again = Command::new(env::current_exe().expect("this program's own path"));
    again.args([test, "--exact", "--include-ignored", "--nocapture"]);
    again.env(AGAIN, "1");
    again
}

fn inside<F: Future<Output = ()>>(body: impl FnOnce() -> F) {
    if env::var_os(AGAIN).is_none() {
        // A private, empty /run: `ip netns` and the daemons under test keep their files there.
        run("mount", "-t tmpfs tmpfs /run");
        run("ip", "link set lo up");
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(body());
}

/// This program again, in fresh namespaces.
fn unshared() -> Command {
    // The namespace of processes dies with its first process, and that one with this thread.
    let mut unshare = Command::new("setpriv");
    unshare.args([
        "--pdeathsig",
        "KILL",
        "--",
        "unshare",
        "--net",
        "--mount",
        "--pid",
    ]);
    unshare.args(["--fork", "--kill-child", "--mount-proc"]);
    if run("id", "-u").trim() != "0" {
        unshare.arg("--map-root-user");
    }
    unshare
        .arg("--")
        .arg(env::current_exe().expect("this program's own path"))
        .env(INSIDE, "1");
    unshare
}

const PROGRAMS: &str = "setpriv(1) and unshare(1) from util-linux";
const INSIDE: &str = "KURYR_TEST_INSIDE_NETNS";
const AGAIN: &str = "KURYR_TEST_AGAIN";

/// A network namespace that stands for a container.
pub struct Container {
    name: String,
}

impl Container {
    /// A new one, with a `lo` that is up.
    pub fn new(name: &str) -> Self {
        run("ip", &format!("netns add {name}"));
        let container = Self {
            name: name.to_owned(),
        };
        container.run("ip", "link set lo up");
        container
    }

    /// Moves `interface` in, as Docker does: names it eth0, gives it `address`, brings it up.
    pub fn take(&self, interface: &str, address: &str) {
        run("ip", &format!("link set {interface} netns {}", self.name));
        self.run("ip", &format!("link set {interface} name eth0"));
        self.run("ip", &format!("addr add {address} dev eth0"));
        self.run("ip", "link set eth0 up");
    }

    /// Runs a program inside and gives back what it printed.
    pub fn run(&self, program: &str, args: &str) -> String {
        run("ip", &format!("netns exec {} {program} {args}", self.name))
    }

    /// Whether `address` answers a ping within three seconds.
    pub fn reaches(&self, address: &str) -> bool {
        let ping = format!("netns exec {} ping -c 1 -W 3 {address}", self.name);
        crate::attempt("ip", &ping).0
    }

    /// A command to be run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }
}
