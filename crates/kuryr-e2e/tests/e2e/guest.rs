//! Virtual machines of the lab's cloud, with a Docker and a Kuryr in each: see `tools/guest`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use neutron_api::{NetworkId, Port};
use tempfile::TempDir;

use crate::commands::with_rights;
use crate::lab::{Said, enter, on, until, within};

/// All that a machine does is emulated.
const PATIENCE: Duration = Duration::from_secs(120);
/// More than fits into one packet.
const SERVED: u32 = 300_000;
/// The machine's interface that is its port's.
const CLOUD: &str = "eth0";

/// A machine that ends with this.
pub(crate) struct Guest {
    /// The host of the lab that it runs on.
    host: &'static str,
    /// Where its Docker and a shell of its answer.
    address: &'static str,
    tap: String,
    folder: TempDir,
    machine: Child,
}

impl Guest {
    /// Switches a machine on whose first interface is a port, with this address, of a network with
    /// this MTU. It is not ready yet.
    pub(crate) fn boot(host: &'static str, port: &Port) -> Self {
        let address = match host {
            "host1" => "10.99.0.11",
            _ => "10.99.0.12",
        };
        let image = std::env::var_os("KURYR_TEST_GUEST").expect("KURYR_TEST_GUEST, by tools/guest");
        let boot = PathBuf::from(image).join("boot");
        // As Nova calls it.
        let tap = format!("tap{}", &port.id.to_string()[..11]);
        let folder = tempfile::tempdir().unwrap();
        let console = File::create(folder.path().join("console")).unwrap();
        let run = format!(
            "exec {} {address} {tap} {}",
            boot.display(),
            port.mac_address
        );
        let machine = enter(host, &run)
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .expect("lab/lab");
        let guest = Self {
            host,
            address,
            tap,
            folder,
            machine,
        };
        let (tap, id, mac) = (&guest.tap, port.id, port.mac_address);
        within(PATIENCE, "the machine's tap device", || {
            on(host, &format!("ip link set {tap} up")).ok
        });
        let plug = format!(
            "ovs-vsctl --timeout=20 add-port br-int {tap} -- set interface {tap} external-ids:iface-id={id} \
             external-ids:attached-mac={mac} external-ids:iface-status=active"
        );
        on(host, &plug).expect("ovs-vsctl");
        guest
    }

    /// Waits for its Docker, and gives its interface the port's address and MTU, and Docker an image.
    pub(crate) fn settle(&self, port: &Port, mtu: u32) {
        let is_up = until(PATIENCE, || self.docker("version").ok);
        assert!(is_up, "no Docker in the machine:\n{}", self.console());
        let (address, name) = (port.fixed_ips[0].ip_address, &port.name);
        let settle = format!(
            "hostname {name} && ip link set {CLOUD} mtu {mtu} up && \
             ip address add {address}/24 dev {CLOUD}"
        );
        self.run(&settle).expect("the machine's address");
        let image = "docker image save bb:1";
        let load = format!("{image} | {} load", self.client());
        on("host1", &load).expect("docker load");
    }

    /// Starts a Kuryr in it, for these drivers, the first by default.
    pub(crate) fn start_kuryr(&self, port_driver: &str, drivers: &[&str]) {
        let env = |name: &str| on("host1", &format!("echo ${name}")).text;
        let conf = format!(
            "[DEFAULT]\ndebug = true\nlog_file = /run/kuryr.log\n\
             default_port_driver = {port_driver}\nenabled_port_drivers = {port_driver}\n\
             [binding]\ndefault_driver = {}\nenabled_drivers = {}\nlink_iface = {CLOUD}\n\
             [neutron]\nauth_type = password\nauth_url = {}\nusername = {}\npassword = {}\n\
             project_name = {}\nuser_domain_name = Default\nproject_domain_name = Default\n",
            drivers[0],
            drivers.join(", "),
            env("OS_AUTH_URL"),
            env("OS_USERNAME"),
            env("OS_PASSWORD"),
            env("OS_PROJECT_NAME"),
        );
        let start = format!(
            "cat >/etc/kuryr/kuryr.conf <<'E'\n{conf}E\n\
             /bin/{} kuryr serve </dev/null >/run/kuryr.out 2>&1 &\n\
             for i in $(seq 100); do test -S /run/docker/plugins/kuryr.sock && exit 0; sleep 0.1; done\n\
             cat /run/kuryr.*; exit 1",
            with_rights("")
        );
        self.run(&start).expect("Kuryr in the machine");
    }

    /// Kills programs by their names. What it starts of itself it starts again, and that is dockerd.
    pub(crate) fn kill(&self, programs: &str) {
        let kill = format!("kill -KILL $(pidof {programs})");
        self.run(&kill).expect("a program killed");
    }

    /// Waits until so many containers run.
    pub(crate) fn has_running(&self, containers: usize) {
        let run = || {
            let ids = self.docker("ps -q");
            ids.ok && ids.text.lines().count() == containers
        };
        assert!(until(PATIENCE, run), "{}", self.docker("ps -a").text);
    }

    /// A Docker network that is this one of Neutron's.
    pub(crate) fn network(&self, name: &str, id: NetworkId, subnet: &str, options: &str) {
        let create = format!(
            "network create -d kuryr --ipam-driver kuryr --subnet {subnet} -o neutron.net.uuid={id} {options} {name}"
        );
        self.docker(&create).expect("docker network create");
    }

    /// A container that serves `SERVED` bytes on TCP port 7000.
    pub(crate) fn server(&self, name: &str, network: &str, options: &str) {
        self.try_server(name, network, options).expect("docker run");
    }

    pub(crate) fn try_server(&self, name: &str, network: &str, options: &str) -> Said {
        self.docker(&format!(
            "run -d --cap-add NET_ADMIN --name {name} --network {network} {options} \
             bb:1 nc -ll -p 7000 -e head -c {SERVED} /dev/zero"
        ))
    }

    /// Which of the addresses serve a container all that they should, in order.
    pub(crate) fn served(&self, container: &str, addresses: &[String]) -> Vec<String> {
        let addresses = addresses.join(" ");
        // With no answer at all to a ping, nobody is to be waited for.
        let look = format!(
            "for it in {addresses}; do (ping -c 1 -W 4 $it >/dev/null && \
             test $(nc -w 20 $it 7000 </dev/null | wc -c) = {SERVED} && echo $it) & done; wait"
        );
        let said = self.inside(container, &look).expect("docker exec");
        let mut served: Vec<String> = said.lines().map(str::to_owned).collect();
        served.sort();
        served
    }

    /// Runs a shell command in a container.
    pub(crate) fn inside(&self, container: &str, command: &str) -> Said {
        self.docker(&format!("exec {container} sh -c '{command}'"))
    }

    pub(crate) fn docker(&self, args: &str) -> Said {
        on("host1", &format!("{} {args}", self.client()))
    }

    fn client(&self) -> String {
        format!("timeout 120 docker -H tcp://{}:2375", self.address)
    }

    /// Runs a shell command in the machine.
    pub(crate) fn run(&self, command: &str) -> Said {
        let said = self.type_in(command);
        let text = said.unwrap_or_else(|error| format!("no shell: {error}"));
        let ended = text.trim_end().rsplit_once("ended with ");
        let (text, code) = ended.unwrap_or((&text, "nothing"));
        Said {
            ok: code == "0",
            text: text.trim().to_owned(),
        }
    }

    fn type_in(&self, command: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((self.address, 2323))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let script = format!("(\n{command}\n) 2>&1\necho \"ended with $?\"\nexit\n");
        stream.write_all(script.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    fn console(&self) -> String {
        fs::read_to_string(self.folder.path().join("console")).unwrap_or_default()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.console());
            eprintln!("{}", self.run("cat /run/kuryr.out /run/kuryr.log").text);
        }
        // The child is QEMU itself: every shell on the way has exec'd. Its tap device goes with it.
        let id = self.machine.id().to_string();
        let _ = Command::new("kill").args(["-KILL", &id]).status();
        let _ = self.machine.wait();
        let unplug = format!(
            "ovs-vsctl --timeout=20 --if-exists del-port br-int {}",
            self.tap
        );
        on(self.host, &unplug);
    }
}
