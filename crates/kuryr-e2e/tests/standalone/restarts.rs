//! Containers that come back when dockerd or the machine restarts.

use std::time::Duration;

use crate::alone::{Kuryr, here, lab, outside, within};
use crate::networks::{HOST, ask, ask_inside};

/// Address and MAC address of a container.
fn identity(kuryr: &Kuryr, container: &str) -> (String, String) {
    (
        kuryr.address(container, "IPAddress"),
        kuryr.address(container, "MacAddress"),
    )
}

fn runs(kuryr: &Kuryr, container: &str) -> bool {
    let inspect = format!("inspect -f '{{{{.State.Running}}}}' {container}");
    kuryr.docker(&inspect).text == "true"
}

/// Two containers that Docker starts again by itself, of which one chose its addresses.
struct Pair {
    server: String,
    other: String,
    before: [(String, String); 2],
}

impl Pair {
    fn start(kuryr: &Kuryr, range: &str, port: u16) -> Self {
        let network = kuryr.network(&format!("--subnet {range}.0/24"));
        let chosen = format!(
            "--restart always -p {port}:80 --ip {range}.20 --mac-address 02:42:0a:53:00:14"
        );
        let server = kuryr.server(&network, &chosen);
        let other = kuryr.sleeper(&network, "--restart always");
        let before = [identity(kuryr, &server), identity(kuryr, &other)];
        Self {
            server,
            other,
            before,
        }
    }

    /// Both run again as they were, reach each other, and the world reaches what is published.
    fn is_back(&self, kuryr: &Kuryr, port: u16) {
        within(Duration::from_secs(30), "both run again", || {
            runs(kuryr, &self.server) && runs(kuryr, &self.other)
        });
        let after = [identity(kuryr, &self.server), identity(kuryr, &self.other)];
        assert_eq!(after, self.before);
        let question = ask_inside(&self.before[0].0, 80);
        within(Duration::from_secs(10), "the server answers", || {
            kuryr.inside(&self.other, &question).ok
        });
        outside(&ask(HOST, port)).expect("the published port");
    }
}

#[test]
#[ignore = "needs the lab: make test"]
fn containers_come_back_as_they_were_when_dockerd_restarts() {
    let kuryr = Kuryr::begin();
    let pair = Pair::start(&kuryr, "10.83.0", 8085);
    lab("stop dockerd@alone").expect("dockerd ends");
    lab("start dockerd@alone").expect("dockerd starts");
    pair.is_back(&kuryr, 8085);
    lab("kill dockerd@alone").expect("dockerd is killed");
    lab("start dockerd@alone").expect("dockerd starts");
    pair.is_back(&kuryr, 8085);
    kuryr.end();
}

/// As if the power had failed: what is left is on disk.
fn lose_power(kuryr: &mut Kuryr, containers: [&String; 2]) {
    let pids = containers.map(|container| {
        let inspect = format!("inspect -f '{{{{.State.Pid}}}}' {container}");
        kuryr.docker(&inspect).expect("docker inspect")
    });
    let [one, two] = &pids;
    let shims = here(&format!("ps -o ppid= -p {one},{two} | xargs")).expect("ps");
    kuryr.stop("-KILL");
    lab("kill dockerd@alone").expect("dockerd is killed");
    lab("kill containerd@alone").expect("containerd is killed");
    here(&format!("kill -9 {shims} {one} {two}")).expect("kill");
    let interfaces = "ls /sys/class/net | grep -E '^(brq|tap|t_c|docker0)'";
    here(&format!(
        "for link in $({interfaces}); do ip link del $link 2>&1; done; true"
    ))
    .expect("ip");
    here("nft flush ruleset; umount -l /run/docker/netns/*; rm -rf /run/docker /run/containerd /run/docker.pid; true")
        .expect("rm");
    here("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0").expect("sysctl");
    within(Duration::from_secs(5), "no interface is left", || {
        !here(interfaces).ok
    });
}

#[test]
#[ignore = "needs the lab: make test"]
fn containers_come_back_as_they_were_when_the_machine_restarts() {
    let mut kuryr = Kuryr::begin();
    let pair = Pair::start(&kuryr, "10.84.0", 8086);
    lose_power(&mut kuryr, [&pair.server, &pair.other]);
    let driver = kuryr.driver.clone();
    here("mkdir -p /run/docker/plugins").expect("mkdir");
    kuryr.start();
    lab("start containerd@alone").expect("containerd starts");
    lab("start dockerd@alone").expect("dockerd starts");
    pair.is_back(&kuryr, 8086);
    here(&format!("nft list table bridge {driver}")).expect("the table is back");
    // Docker sets it only where it is Docker that switches forwarding on: here it was Kuryr.
    here("iptables -P FORWARD DROP").expect("iptables");
    kuryr.end();
}
