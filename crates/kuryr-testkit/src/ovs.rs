//! An Open vSwitch of the test's own, with the userspace datapath.
//!
//! Only for a body of [`netns_test!`](crate::netns_test): its files are in the private `/run`, and
//! the namespace of processes ends its daemons.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{NEEDED, run};

/// ovsdb-server and ovs-vswitchd, both running.
pub struct Ovs {
    server: Child,
    switch: Child,
}

/// Where the database answers; Open vSwitch's default.
pub const SOCKET: &str = "/run/openvswitch/db.sock";
const DATABASE: &str = "/run/openvswitch/conf.db";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

impl Ovs {
    /// Starts both, with one bridge `br-int` that learns addresses by itself.
    ///
    /// # Panics
    /// When Open vSwitch is not installed, or does not start.
    pub fn start() -> Self {
        assert!(
            Path::new(SCHEMA).exists(),
            "Open vSwitch is not installed; {NEEDED}"
        );
        fs::create_dir_all("/run/openvswitch").expect("a directory for Open vSwitch");
        run("ovsdb-tool", &format!("create {DATABASE} {SCHEMA}"));
        let server = start_server();
        run("ovs-vsctl", "--no-wait init");
        let switch = start("ovs-vswitchd", &[&format!("unix:{SOCKET}")]);
        let ovs = Self { server, switch };
        ovs.add_bridge("br-int");
        ovs
    }

    /// Adds a bridge with the userspace datapath.
    pub fn add_bridge(&self, name: &str) {
        self.vsctl(&format!(
            "add-br {name} -- set bridge {name} datapath_type=netdev"
        ));
    }

    /// Adds a bridge with the kernel's datapath, which needs the module openvswitch.
    pub fn add_kernel_bridge(&self, name: &str) {
        self.vsctl(&format!(
            "add-br {name} -- set bridge {name} datapath_type=system"
        ));
    }

    /// Asks or changes the database with ovs-vsctl; what it printed, without the line's end.
    pub fn vsctl(&self, args: &str) -> String {
        let said = run("ovs-vsctl", &format!("--timeout=10 {args}"));
        said.trim_end().to_owned()
    }

    /// Kills ovsdb-server and starts it again on the same database.
    pub fn restart_server(&mut self) {
        self.stop_server();
        self.start_server();
    }

    /// Starts ovsdb-server again after `stop_server`.
    pub fn start_server(&mut self) {
        self.server = start_server();
    }

    /// Kills ovsdb-server.
    pub fn stop_server(&mut self) {
        self.server.kill().expect("ovsdb-server ends");
        self.server.wait().expect("ovsdb-server has ended");
        let _ = fs::remove_file(SOCKET);
    }

    /// Makes ovs-vswitchd hang.
    pub fn freeze_switch(&self) {
        run("kill", &format!("-STOP {}", self.switch.id()));
    }

    /// Lets ovs-vswitchd go on.
    pub fn thaw_switch(&self) {
        run("kill", &format!("-CONT {}", self.switch.id()));
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for daemon in [&mut self.switch, &mut self.server] {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn start_server() -> Child {
    let server = start(
        "ovsdb-server",
        &[&format!("--remote=punix:{SOCKET}"), DATABASE],
    );
    let last = Instant::now() + Duration::from_secs(10);
    while !Path::new(SOCKET).exists() {
        assert!(Instant::now() < last, "ovsdb-server does not start");
        sleep(Duration::from_millis(5));
    }
    server
}

fn start(program: &str, args: &[&str]) -> Child {
    let log = || -> Stdio {
        let path = format!("/run/openvswitch/{program}.log");
        File::options()
            .create(true)
            .append(true)
            .open(path)
            .expect("a log file")
            .into()
    };
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .spawn()
        .unwrap_or_else(|error| panic!("could not run {program}: {error}; {NEEDED}"))
}
