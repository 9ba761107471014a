//! The lab's hosts, and a Kuryr on one of them for the length of a test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub(crate) use crate::commands::{Said, until, within};
use crate::commands::{script, with_rights};
use crate::traces::Traces;

/// Runs a shell command on a host of the lab.
pub(crate) fn on(host: &str, command: &str) -> Said {
    Said::by(enter(host, command))
}

/// Runs `lab/lab` itself.
pub(crate) fn lab(args: &[&str]) -> Said {
    let output = Command::new(script()).args(args).output().expect("lab/lab");
    let text = [output.stdout, output.stderr].concat();
    Said {
        ok: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// Starts anew what has ended of the lab, and says what that was: without its switch a host fails all
/// tests that follow.
pub(crate) fn mend() {
    let status = lab(&["status"]).text;
    for line in status.lines() {
        let [part, "stopped", log] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            continue;
        };
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n");
        eprintln!("{part} has ended ({log}):\n{last}");
    }
    if status.contains(" stopped ") {
        eprintln!("{}", lab(&["up", "--all"]).text);
    }
}

pub(crate) fn enter(host: &str, command: &str) -> Command {
    let mut enter = Command::new(script());
    enter.args(["enter", host, "--", "sh", "-c", command]);
    enter
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    let named = std::env::var_os("KURYR_TEST_PROGRAM");
    named.map_or_else(
        || {
            let target = std::env::current_exe().unwrap();
            target.ancestors().nth(2).unwrap().join("kuryr")
        },
        PathBuf::from,
    )
}

/// What a variable of the environment says, such as how long a test is to be.
pub(crate) fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let Ok(value) = text.parse() else {
        panic!("{name}={text} is not a number");
    };
    Some(value)
}

/// A Kuryr on a host, and what it is for: networks and containers that end with it.
pub(crate) struct Kuryr {
    pub(crate) host: &'static str,
    /// The driver's name: this Kuryr's own, so that others don't meet it.
    pub(crate) driver: String,
    child: Option<Child>,
    before: Option<Traces>,
    program: PathBuf,
    /// Goes before the folder that it is mounted in.
    disk: Option<SmallDisk>,
    folder: TempDir,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Kuryr {
    /// On host1, with nothing special in its configuration.
    pub(crate) fn begin() -> Self {
        Self::begin_on("host1", "")
    }

    /// With more lines at the end of its configuration.
    pub(crate) fn begin_on(host: &'static str, more: &str) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let driver = format!("kuryr{}x{number}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let before = Some(Traces::now(host));
        let mut kuryr = Self {
            host,
            driver,
            child: None,
            before,
            program: program(),
            disk: None,
            folder,
        };
        kuryr.configure("", more);
        kuryr.start();
        kuryr
    }

    /// Starts anew with a journal on a small disk of its own.
    pub(crate) fn move_to_small_disk(&mut self) {
        self.stop("-TERM");
        let state = self.folder.path().join("state").display().to_string();
        self.disk = Some(SmallDisk::at(self.host, state));
        self.start();
    }

    pub(crate) fn small_disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("move_to_small_disk() was called")
    }

    /// From the next start on, the program is another file: a copy.
    pub(crate) fn replace_program(&mut self) {
        let copy = self.folder.path().join("kuryr-new");
        fs::copy(&self.program, &copy).unwrap();
        self.program = copy;
    }

    /// Writes the configuration: the lab's cloud, but for what `neutron` says otherwise.
    pub(crate) fn configure(&self, neutron: &str, more: &str) {
        let folder = self.folder.path().display();
        let driver = &self.driver;
        let credentials = neutron_section(self.host);
        let text = format!(
            "[DEFAULT]\nkuryr_uri = unix:///run/docker/plugins/{driver}.sock\n\
             admin_uri = unix://{folder}/admin.sock\nstate_path = {folder}/state\n\
             log_file = {folder}/log\ndebug = true\n\
             {credentials}{neutron}\n{more}\n"
        );
        let conf = self.folder.path().join("kuryr.conf");
        fs::write(&conf, text).unwrap();
        fs::set_permissions(conf, fs::Permissions::from_mode(0o640)).unwrap();
    }

    pub(crate) fn start(&mut self) {
        let command = format!(
            "exec {} {} serve --config-file {}/kuryr.conf",
            with_rights(""),
            self.program.display(),
            self.folder.path().display()
        );
        let log = fs::File::create(self.folder.path().join("stdout")).unwrap();
        let child = enter(self.host, &command)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("lab/lab");
        self.child = Some(child);
        let socket = format!("test -S /run/docker/plugins/{}.sock", self.driver);
        within(Duration::from_secs(10), "Kuryr's socket", || {
            on(self.host, &socket).ok
        });
    }

    /// What is said of this host, Neutron and the configuration.
    pub(crate) fn upgrade_check(&self) -> Said {
        let conf = self.folder.path().join("kuryr.conf");
        let (program, conf) = (program(), conf.display().to_string());
        let check = format!(
            "{} status --config-file {conf} upgrade check",
            program.display()
        );
        on(self.host, &check)
    }

    /// SIGTERM, or SIGKILL; returns when the program has ended.
    pub(crate) fn stop(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // The child is the program itself: every shell on the way has exec'd.
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
        let read = |name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("stdout") + &read("log")
    }

    /// The daemon's resident memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let id = self.child.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn docker(&self, args: &str) -> Said {
        on(self.host, &format!("docker {args}"))
    }

    /// What the admin socket answers.
    pub(crate) fn admin(&self, path: &str) -> String {
        let socket = self.folder.path().join("admin.sock");
        let curl = format!(
            "curl -s --unix-socket {} http://kuryr{path}",
            socket.display()
        );
        on(self.host, &curl).text
    }

    /// Asks this Kuryr itself, as Docker does.
    pub(crate) fn ask(&self, verb: &str, body: &Value) -> Value {
        let socket = format!("/run/docker/plugins/{}.sock", self.driver);
        let curl =
            format!("curl -s --unix-socket {socket} -X POST -d '{body}' http://kuryr/{verb}");
        let reply = on(self.host, &curl).expect(verb);
        serde_json::from_str(&reply).unwrap_or_else(|_| panic!("{verb}: {reply}"))
    }

    /// The pool of a network's subnet, as Docker was told.
    pub(crate) fn pool(&self, network: &str) -> String {
        let first = self.sleeper(network, "");
        let address = self.address(&first, network, "IPAddress");
        let subnet = crate::traces::port_at(&address).fixed_ips[0].subnet_id;
        self.docker(&format!("rm -f {first}")).expect("docker rm");
        let subnets = crate::traces::list::<neutron_api::Subnet>();
        let subnet = subnets
            .into_iter()
            .find(|known| known.id == subnet)
            .unwrap();
        subnet.subnetpool_id.unwrap().to_string()
    }

    /// `docker network create` with this Kuryr as both drivers; the network's name.
    pub(crate) fn network(&self, options: &str) -> String {
        self.try_network(options).expect("docker network create")
    }

    pub(crate) fn try_network(&self, options: &str) -> Said {
        let (driver, name) = (&self.driver, self.unique("net"));
        let create = format!(
            "network create -d {driver} --ipam-driver {driver} {options} {name} >/dev/null && echo {name}"
        );
        self.docker(&create)
    }

    /// A container that sleeps; its name.
    pub(crate) fn sleeper(&self, network: &str, options: &str) -> String {
        self.try_sleeper(network, options).expect("docker run")
    }

    pub(crate) fn try_sleeper(&self, network: &str, options: &str) -> Said {
        let name = self.unique("box");
        let label = &self.driver;
        let run = format!(
            "run -d --label {label} --cap-add NET_ADMIN --name {name} --network {network} {options} \
             bb:1 sleep 3600 >/dev/null && echo {name}"
        );
        self.docker(&run)
    }

    /// Runs a shell command in a container.
    pub(crate) fn inside(&self, container: &str, command: &str) -> Said {
        self.docker(&format!("exec {container} sh -c '{command}'"))
    }

    /// The address of a container on a network (`IPAddress` or `GlobalIPv6Address`).
    pub(crate) fn address(&self, container: &str, network: &str, field: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").{field}}}}}");
        self.docker(&format!("inspect -f '{format}' {container}"))
            .expect("docker inspect")
    }

    fn unique(&self, kind: &str) -> String {
        format!(
            "{kind}-{}-{}",
            self.driver,
            COUNT.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Removes containers and networks, and fails unless the lab is as it was before.
    pub(crate) fn end(mut self) {
        self.clear();
        let before = self.before.as_ref().unwrap();
        let left = before.left_on(self.host, Duration::from_secs(30));
        assert!(left.is_empty(), "left behind:\n{left}\n{}", self.log());
        self.stop("-TERM");
        let before = self.before.as_ref().unwrap();
        let left = before.difference(&Traces::now(self.host));
        assert!(left.is_empty(), "left behind by the program:\n{left}");
        self.before = None;
    }

    /// Removes this Kuryr's containers and networks.
    pub(crate) fn clear(&self) {
        let driver = &self.driver;
        let containers = format!("docker ps -aq --filter label={driver}");
        on(
            self.host,
            &format!("ids=$({containers}); test -z \"$ids\" || docker rm -f $ids"),
        );
        let networks = format!("docker network ls -q --filter driver={driver}");
        on(
            self.host,
            &format!("ids=$({networks}); test -z \"$ids\" || docker network rm $ids"),
        );
    }
}

/// A part of the lab that does nothing as long as this lives.
pub(crate) struct Paused(&'static str);

impl Paused {
    pub(crate) fn begin(part: &'static str) -> Self {
        lab(&["pause", part]).expect("lab pause");
        Self(part)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        lab(&["resume", self.0]);
    }
}

/// `[neutron]` of a configuration: the lab's cloud.
pub(crate) fn neutron_section(host: &str) -> String {
    let credentials = [
        ("auth_url", "OS_AUTH_URL"),
        ("username", "OS_USERNAME"),
        ("password", "OS_PASSWORD"),
        ("project_name", "OS_PROJECT_NAME"),
        ("user_domain_name", "OS_USER_DOMAIN_NAME"),
        ("project_domain_name", "OS_PROJECT_DOMAIN_NAME"),
    ];
    let credentials = credentials
        .map(|(key, name)| format!("{key} = {}\n", on(host, &format!("echo ${name}")).text));
    format!("[neutron]\nauth_type = password\n{}", credentials.concat())
}

/// A folder of a host with little room.
pub(crate) struct SmallDisk {
    host: &'static str,
    folder: String,
}

impl SmallDisk {
    fn at(host: &'static str, folder: String) -> Self {
        let mount = format!("mkdir -p {folder} && mount -t tmpfs -o size=256k tmpfs {folder}");
        on(host, &mount).expect("mount");
        Self { host, folder }
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let folder = &self.folder;
        let fill = format!("dd if=/dev/zero of={folder}/full bs=4k 2>&1");
        let said = on(self.host, &fill).expect_failure("dd on a small disk");
        assert!(said.contains("No space left"), "{said}");
    }

    pub(crate) fn make_room(&self) {
        on(self.host, &format!("rm {}/full", self.folder)).expect("rm");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        on(self.host, &format!("umount -l {}", self.folder));
    }
}

impl Drop for Kuryr {
    /// After a failure: shows why, and clears up for the tests that follow.
    fn drop(&mut self) {
        let Some(_) = self.before.take() else { return };
        eprintln!("{}", self.log());
        mend();
        if self.child.is_none() {
            self.configure("", "");
            self.start();
        }
        self.clear();
        sleep(Duration::from_secs(2));
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
        crate::traces::sweep();
    }
}
