//! A host in a namespace: bridges and interfaces as kuryr-vif makes them, rules as nft takes them.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use kuryr_testkit::netns::Container;
use kuryr_testkit::{attempt, run};
use kuryr_vif::{Host, HostSettings, Instant, Plug};
use neutron_agent::{Batch, Model, script};

use crate::cloud::{Cloud, port_id};

/// The host, and a neighbour `outside` at 192.0.2.2 and 2001:db8::2; the host is `.1` and `::1`.
pub(crate) struct Machine {
    pub(crate) host: Host,
    pub(crate) outside: Container,
    applied: Option<Model>,
    batch: u32,
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

impl Machine {
    pub(crate) fn new() -> Self {
        let outside = Container::new("outside");
        run("ip", "link add uplink type veth peer name far");
        run("ip", "addr add 192.0.2.1/24 dev uplink");
        run("ip", "addr add 2001:db8::1/64 dev uplink nodad");
        run("ip", "link set uplink up");
        outside.take("far", "192.0.2.2/24");
        outside.run("ip", "addr add 2001:db8::2/64 dev eth0 nodad");
        run(
            "sysctl",
            "-q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
        );
        Self {
            host: Host::new(HostSettings {
                ovsdb: None,
                ..HostSettings::default()
            }),
            outside,
            applied: None,
            batch: 0,
        }
    }

    /// Makes what `cloud` wants.
    pub(crate) async fn apply(&mut self, cloud: &Cloud) {
        let wanted = cloud.model(self.applied.as_ref().unwrap_or(&Model::default()));
        for network in wanted.networks.values() {
            self.host
                .ensure_bridge(&network.bridge, soon())
                .await
                .unwrap();
        }
        self.batch += 1;
        let batch = Batch {
            table: "kuryr",
            number: self.batch,
        };
        if let Some(script) = script(self.applied.as_ref(), &wanted, batch) {
            nft(&script);
        }
        self.applied = Some(wanted);
    }

    /// A container on a port, with the port's addresses and its network's gateways.
    pub(crate) async fn start(&self, number: u32) -> Container {
        let model = self.applied.as_ref().unwrap();
        let mut ports = model.ports();
        let (network, port) = ports
            .find(|(_, port)| port.id() == port_id(number))
            .unwrap();
        let vif = port.vif(network, "endpoint").unwrap();
        self.host.plug(&vif, soon()).await.unwrap();
        let container = Container::new(&format!("c{number}"));
        container.run(
            "sysctl",
            "-q -w net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0",
        );
        configure(
            &container,
            vif.attachment.container.as_str(),
            number,
            &network.bridge.addresses,
            &port.addresses(),
        );
        container
    }
}

fn configure(
    container: &Container,
    interface: &str,
    number: u32,
    gateways: &[ipnet::IpNet],
    addresses: &[std::net::IpAddr],
) {
    run("ip", &format!("link set {interface} netns c{number}"));
    container.run("ip", &format!("link set {interface} name eth0"));
    container.run("ip", "link set eth0 up");
    for address in addresses {
        let length = if address.is_ipv4() { 24 } else { 64 };
        let nodad = if address.is_ipv4() { "" } else { "nodad" };
        container.run(
            "ip",
            &format!("addr add {address}/{length} dev eth0 {nodad}"),
        );
    }
    for gateway in gateways {
        if addresses
            .iter()
            .any(|ip| ip.is_ipv4() == gateway.addr().is_ipv4())
        {
            container.run("ip", &format!("route add default via {}", gateway.addr()));
        }
    }
}

/// Gives `script` to the real nft.
pub(crate) fn nft(script: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nft; on Debian: apt-get install nftables");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{script}");
}

/// A server that says "served" to whoever connects, and ends with its namespaces.
pub(crate) fn serve(container: &Container, kind: &str, port: u16) {
    let listen = match kind {
        "tcp" => format!("TCP6-LISTEN:{port},fork,reuseaddr,ipv6only=0"),
        "udp" => format!("UDP6-RECVFROM:{port},fork,reuseaddr,ipv6only=0"),
        other => panic!("no server for {other}"),
    };
    let mut server = container.command("socat");
    server
        .arg(listen)
        .arg("SYSTEM:read question; echo served $SOCAT_PEERADDR")
        .spawn()
        .unwrap();
    let bound = || {
        let letter = if kind == "tcp" { 't' } else { 'u' };
        container
            .run("ss", &format!("-Hln{letter} sport = :{port}"))
            .contains(&port.to_string())
    };
    for _ in 0..100 {
        if bound() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no server on {kind} {port}")
}

/// What a server at `address` says; none if it can't be reached. From a container, or the host itself.
pub(crate) fn ask(from: Option<&Container>, kind: &str, address: &str) -> Option<String> {
    let target = match kind {
        "tcp" => format!("TCP:{address},connect-timeout=1"),
        "udp" => format!("UDP:{address}"),
        other => panic!("no client for {other}"),
    };
    let mut command = from.map_or_else(
        || {
            let mut here = Command::new("timeout");
            here.args(["2", "socat"]);
            here
        },
        |container| {
            let mut there = container.command("timeout");
            there.args(["2", "socat"]);
            there
        },
    );
    let mut child = command
        .args(["-T", "1", "-", &target])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"?\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.starts_with("served").then_some(said)
}

pub(crate) fn answers(from: &Container, kind: &str, address: &str) -> bool {
    ask(Some(from), kind, address).is_some()
}

/// Whether `address` answers a ping soon.
pub(crate) fn pings(from: &Container, address: &str) -> bool {
    let output = from
        .command("ping")
        .args(["-c", "2", "-i", "0.5", "-W", "1", address])
        .output()
        .unwrap();
    output.status.success()
}

/// All rules of everybody but us.
pub(crate) fn rules_of_others() -> String {
    let tables = run("nft", "list tables");
    let others = tables.lines().filter(|table| !table.ends_with(" kuryr"));
    others
        .map(|table| run("nft", &format!("list {table}")))
        .collect()
}

/// Whether there is a table, such as `inet kuryr`.
pub(crate) fn has_nft_table(table: &str) -> bool {
    attempt("nft", &format!("list table {table}")).0
}
