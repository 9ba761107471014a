//! The lab's host without a cloud, and a standalone Kuryr on it for the length of a test.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

pub(crate) use crate::commands::{Said, until, within};
use crate::commands::{script, with_rights};

/// Runs a shell command on the host.
pub(crate) fn here(command: &str) -> Said {
    in_space("alone", command)
}

/// Runs a shell command in the world beyond the host's default route.
pub(crate) fn outside(command: &str) -> Said {
    in_space("underlay", command)
}

/// Runs a command of the lab itself, such as `stop dockerd@alone`.
pub(crate) fn lab(command: &str) -> Said {
    let mut lab = Command::new(script());
    lab.args(command.split(' '));
    Said::by(lab)
}

fn in_space(space: &str, command: &str) -> Said {
    Said::by(enter(space, command))
}

fn enter(space: &str, command: &str) -> Command {
    let mut enter = Command::new(script());
    enter.args(["enter", space, "--", "timeout", "60", "sh", "-c", command]);
    enter
}

pub(crate) fn program() -> PathBuf {
    let named = std::env::var_os("KURYR_TEST_PROGRAM");
    named.map(PathBuf::from).expect("make test sets it")
}

/// A standalone Kuryr, and what it is for: networks and containers that end with it.
pub(crate) struct Kuryr {
    pub(crate) driver: String,
    pub(crate) folder: TempDir,
    child: Option<Child>,
    before: Option<String>,
}

/// Where its API listens.
pub(crate) const API: &str = "127.0.0.1:19696";

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Kuryr {
    pub(crate) fn begin() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short: it is also the name of tables, and begins the aliases of bridges.
        let driver = format!("k{}x{number}", std::process::id());
        let mut kuryr = Self {
            driver,
            folder: tempfile::tempdir().unwrap(),
            child: None,
            before: Some(traces()),
        };
        kuryr.configure("");
        kuryr.start();
        kuryr
    }

    pub(crate) fn configure(&self, more: &str) {
        let (folder, driver) = (self.folder.path().display(), &self.driver);
        let text = format!(
            "[DEFAULT]\nkuryr_uri = unix:///run/docker/plugins/{driver}.sock\n\
             admin_uri = unix://{folder}/admin.sock\nstate_path = {folder}/state\ndebug = true\n\
             [standalone]\nenabled = true\nneutron_listen = {API}\n{more}\n"
        );
        fs::write(self.folder.path().join("kuryr.conf"), text).unwrap();
    }

    pub(crate) fn start(&mut self) {
        let log = self.folder.path().join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log);
        let log = log.unwrap();
        let mut serve = Command::new(script());
        serve.args(["enter", "alone", "--"]);
        let rights = with_rights(",+sys_ptrace");
        serve.args(rights.split(' ')).arg(program());
        serve
            .args(["serve", "--config-file"])
            .arg(self.folder.path().join("kuryr.conf"));
        let child = serve
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("lab/lab");
        self.child = Some(child);
        let ready = format!(
            "curl -sf --unix-socket {}/admin.sock http://kuryr/readyz",
            self.folder.path().display()
        );
        within(Duration::from_secs(10), "Kuryr's readiness", || {
            here(&ready).ok
        });
    }

    /// SIGTERM, or SIGKILL; returns when the program has ended.
    pub(crate) fn stop(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let _ = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        let status = child.wait().unwrap();
        assert!(
            signal != "-TERM" || status.success(),
            "{status}: {}",
            self.log()
        );
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn docker(&self, arguments: &str) -> Said {
        here(&format!("docker {arguments}"))
    }

    /// The real `openstack` command on this Kuryr's Neutron.
    pub(crate) fn openstack(&self, arguments: &str) -> Said {
        here(&format!(
            "env -u OS_USERNAME -u OS_PASSWORD -u OS_PROJECT_NAME -u OS_USER_DOMAIN_NAME \
             -u OS_PROJECT_DOMAIN_NAME -u OS_AUTH_URL OS_AUTH_TYPE=none OS_ENDPOINT=http://{API} \
             openstack {arguments}"
        ))
    }

    pub(crate) fn try_network(&self, options: &str) -> Said {
        let (driver, name) = (&self.driver, self.unique("net"));
        let create = format!("network create -d {driver} --ipam-driver {driver} {options} {name}");
        self.docker(&format!("{create} >/dev/null && echo {name}"))
    }

    pub(crate) fn network(&self, options: &str) -> String {
        self.try_network(options).expect("docker network create")
    }

    pub(crate) fn try_run(&self, network: &str, options: &str, command: &str) -> Said {
        let (name, label) = (self.unique("box"), &self.driver);
        let run = format!(
            "run -d --label {label} --cap-add NET_ADMIN --name {name} --network {network} {options} bb:1 {command}"
        );
        self.docker(&format!("{run} >/dev/null && echo {name}"))
    }

    /// A container that sleeps.
    pub(crate) fn sleeper(&self, network: &str, options: &str) -> String {
        self.try_run(network, options, "sleep 3600")
            .expect("docker run")
    }

    /// A container that says "served" to whoever connects to its TCP port 80.
    pub(crate) fn server(&self, network: &str, options: &str) -> String {
        let serve = "sh -c 'while true; do echo served | nc -l -p 80; done'";
        let name = self.try_run(network, options, serve).expect("docker run");
        let listens = format!("exec {name} sh -c 'netstat -ltn | grep -q :80'");
        within(Duration::from_secs(10), "the server", || {
            self.docker(&listens).ok
        });
        name
    }

    /// Runs a shell command in a container.
    pub(crate) fn inside(&self, container: &str, command: &str) -> Said {
        self.docker(&format!("exec {container} sh -c '{command}'"))
    }

    pub(crate) fn address(&self, container: &str, field: &str) -> String {
        let format = format!("{{{{range .NetworkSettings.Networks}}}}{{{{.{field}}}}}{{{{end}}}}");
        let inspect = format!("inspect -f '{format}' {container}");
        self.docker(&inspect).expect("docker inspect")
    }

    fn unique(&self, kind: &str) -> String {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("{kind}-{}-{number}", self.driver)
    }

    /// Removes containers and networks, and fails unless the host is as it was before.
    pub(crate) fn end(mut self) {
        self.clear();
        let before = self.before.clone().unwrap();
        let mut now = String::new();
        let clean = until(Duration::from_secs(20), || {
            now = traces();
            now == before
        });
        assert!(clean, "before:\n{before}\nafter:\n{now}\n{}", self.log());
        self.stop("-TERM");
        assert_eq!(traces(), before);
        self.before = None;
    }

    fn clear(&self) {
        let driver = &self.driver;
        let containers = format!("docker ps -aq --filter label={driver}");
        here(&format!(
            "ids=$({containers}); test -z \"$ids\" || docker rm -f $ids"
        ));
        let networks = format!("docker network ls -q --filter driver={driver}");
        here(&format!(
            "ids=$({networks}); test -z \"$ids\" || docker network rm $ids"
        ));
    }
}

impl Drop for Kuryr {
    /// After a failure: shows why, and clears up for the tests that follow.
    fn drop(&mut self) {
        if self.before.take().is_none() {
            return;
        }
        eprintln!("{}", self.log());
        self.clear();
        sleep(Duration::from_secs(1));
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
        let driver = &self.driver;
        here(&format!(
            "nft delete table inet {driver}; nft delete table bridge {driver}"
        ));
        here("for b in $(ls /sys/class/net | grep ^brq); do ip link del $b; done");
    }
}

/// What the host has: networks, interfaces, and every rule of its packet filter, without counters.
pub(crate) fn traces() -> String {
    let commands = [
        "docker ps -aq",
        "docker network ls --format '{{.Name}} {{.Driver}}'",
        "ip -o link | grep -v docker0 | sed 's/^[0-9]*: //; s/@.*//' | cut -d: -f1 | sort",
        // Sorted: a dockerd that restarts makes its chains in another order.
        "nft list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*/counter/' | sort",
        "ls /run/netns 2>/dev/null",
    ];
    let said = commands.map(|command| here(command).text);
    said.join("\n")
}
