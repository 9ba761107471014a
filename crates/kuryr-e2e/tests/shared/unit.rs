//! `packaging/kuryr.service` as it is, under a real systemd on a host of the lab.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::commands::{Said, until};
use crate::commands::{UNIT, rights_of_unit, script};

/// What systemd wants to exist before it starts a service.
const TARGETS: [&str; 5] = [
    "basic.target",
    "network-online.target",
    "shutdown.target",
    "sockets.target",
    "sysinit.target",
];

/// A systemd that has started the service, with all that the service has on the host; gone when dropped.
pub(crate) struct Unit {
    host: &'static str,
    group: String,
    units: TempDir,
    systemd: Child,
}

impl Unit {
    /// Starts `program` as the unit says, configured by `conf`, and waits until it has said that it
    /// is ready.
    pub(crate) fn begin(host: &'static str, program: &Path, conf: &str) -> Self {
        let units = tempfile::tempdir().unwrap();
        for target in TARGETS {
            let text = format!("[Unit]\nDescription={target}\nDefaultDependencies=no\n");
            fs::write(units.path().join(target), text).unwrap();
        }
        fs::write(units.path().join("kuryr.service"), UNIT).unwrap();
        let socket = include_str!("../../../../packaging/kuryr.socket");
        fs::write(units.path().join("kuryr.socket"), socket).unwrap();
        // The only thing that is not in the unit: there is no journal of systemd's to read.
        let more = units.path().join("kuryr.service.d");
        fs::create_dir(&more).unwrap();
        let log = units.path().join("log");
        let output = format!("[Service]\nStandardOutput=append:{}\n", log.display());
        fs::write(more.join("log.conf"), output).unwrap();
        fs::write(units.path().join("program"), "").unwrap();
        fs::write(units.path().join("kuryr.conf"), conf).unwrap();
        let copy = format!(
            "mkdir -p /etc/kuryr && install -m 640 {}/kuryr.conf /etc/kuryr/",
            units.path().display()
        );
        Said::by(enter(host, &copy)).expect("install kuryr.conf");
        let group = format!("{}/unit", group_of(host));
        let begin = format!(
            "exec {} {} {} {group}",
            systemd_script().display(),
            units.path().display(),
            program.display()
        );
        let said = fs::File::create(units.path().join("said")).unwrap();
        let systemd = enter(host, &begin)
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .expect("lab/lab");
        let unit = Self {
            host,
            group,
            units,
            systemd,
        };
        let active = until(Duration::from_secs(20), || unit.is_active());
        assert!(
            active,
            "{}\n{}",
            unit.systemctl("status kuryr").text,
            unit.log()
        );
        unit
    }

    pub(crate) fn is_active(&self) -> bool {
        self.systemctl("is-active kuryr").text == "active"
    }

    pub(crate) fn systemctl(&self, arguments: &str) -> Said {
        let mut systemctl = Command::new("nsenter");
        let first = self.children(self.systemd.id()).first().copied();
        let target = first.unwrap_or(self.systemd.id()).to_string();
        systemctl.args([
            "--target",
            &target,
            "--mount",
            "--pid",
            "systemctl",
            "--no-pager",
        ]);
        systemctl.args(arguments.split(' '));
        Said::by(systemctl)
    }

    /// What the program and systemd have said.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.units.path().join(name)).unwrap_or_default();
        read("said") + &read("log")
    }

    /// Fails unless the kernel holds the program to what the unit says.
    pub(crate) fn assert_restricted(&self) {
        let program = self.program();
        let status = fs::read_to_string(format!("/proc/{program}/status")).unwrap();
        let rights = rights_of_unit();
        let bits = [("net_admin", 12), ("net_raw", 13), ("net_bind_service", 10)];
        let bit = |name: &String| bits.iter().find(|(known, _)| known == name).unwrap().1;
        let mask: u64 = rights.iter().map(|name| 1 << bit(name)).sum();
        for (line, value) in [
            ("CapBnd", format!("{mask:016x}")),
            ("CapEff", format!("{mask:016x}")),
            ("NoNewPrivs", "1".to_owned()),
            ("Seccomp", "2".to_owned()),
        ] {
            assert!(
                status.contains(&format!("{line}:\t{value}\n")),
                "{line}: {status}"
            );
        }
        let mounts = fs::read_to_string(format!("/proc/{program}/mountinfo")).unwrap();
        let root = mounts
            .lines()
            .find(|line| line.split(' ').nth(4) == Some("/"));
        let options = root.and_then(|line| line.split(' ').nth(5)).unwrap();
        assert!(
            options.split(',').any(|option| option == "ro"),
            "/ is {options}"
        );
    }

    /// The process that systemd has made of the service.
    pub(crate) fn program(&self) -> u32 {
        let systemd = self.children(self.systemd.id())[0];
        let named = |id: &u32| {
            let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            name.trim() == "kuryr"
        };
        let programs: Vec<u32> = self.children(systemd).into_iter().filter(named).collect();
        assert_eq!(programs.len(), 1, "{programs:?}: {}", self.log());
        programs[0]
    }

    #[allow(
        clippy::unused_self,
        reason = "of the machine's processes, which are this unit's"
    )]
    fn children(&self, parent: u32) -> Vec<u32> {
        let list = format!("/proc/{parent}/task/{parent}/children");
        let list = fs::read_to_string(list).unwrap_or_default();
        list.split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // Its children go with it: it is the first process of their namespace.
        let _ = self.systemd.kill();
        let _ = self.systemd.wait();
        let forget = "rm -rf /etc/kuryr/kuryr.conf /var/lib/kuryr/* /var/log/kuryr/* /run/kuryr \
             /run/docker/plugins/kuryr.sock; rmdir /run/systemd";
        Said::by(enter(self.host, forget));
        let groups = format!(
            "test -e /sys/fs/cgroup/cgroup.controllers && cd /sys/fs/cgroup || cd /sys/fs/cgroup/systemd; \
             find .{} -depth -type d -exec rmdir {{}} +",
            self.group
        );
        until(Duration::from_secs(5), || {
            Said::by(enter(self.host, &groups)).ok
        });
    }
}

fn enter(host: &str, command: &str) -> Command {
    let mut enter = Command::new(script());
    enter.args(["enter", host, "--", "sh", "-c", command]);
    enter
}

/// The control group that the lab removes with the host.
fn group_of(host: &str) -> String {
    let state = std::env::var("KURYR_LAB_STATE").unwrap_or("/run/kuryr-lab".to_owned());
    let name = Path::new(&state)
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    format!("/{name}-{host}")
}

fn systemd_script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/shared/systemd.sh")
}
