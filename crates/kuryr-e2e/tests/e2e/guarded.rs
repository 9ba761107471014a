//! Security groups hold from a container's first moment on.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::lab::{Kuryr, enter, within};
use crate::ports::{other_group, remove_group};
use crate::warm::wait_until_warm;

/// Datagrams to every address of 10.20.0.0/27, a hundred times a second.
const FLOOD: &str = r#"
import socket, time
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flood.setblocking(False)
while True:
    for host in range(2, 31):
        try:
            flood.sendto(b"x", ("10.20.0.%d" % host, 7777))
        except OSError:
            pass
    time.sleep(0.01)
"#;

struct Flood(Child);

impl Flood {
    fn from(kuryr: &Kuryr, container: &str) -> Self {
        let pid = kuryr.docker(&format!("inspect -f '{{{{.State.Pid}}}}' {container}"));
        let inside = format!("nsenter --net --target {}", pid.expect("docker inspect"));
        // Who has just got an address is asked for soon, and not a second later.
        let soon = format!("{inside} sysctl -qw net.ipv4.neigh.eth0.retrans_time_ms=20");
        let mut flood = enter(
            kuryr.host,
            &format!("{soon} && exec {inside} python3 -c '{FLOOD}'"),
        );
        let flood = flood.stdin(Stdio::null()).spawn();
        Self(flood.expect("lab/lab"))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Kuryr {
    /// How many datagrams have reached a container at ports that nobody has opened, since it is.
    fn reached(&self, container: &str) -> u64 {
        self.datagrams(container, "NoPorts")
    }

    /// What a container's kernel has counted.
    fn datagrams(&self, container: &str, what: &str) -> u64 {
        let counted = self
            .inside(container, "grep ^Udp: /proc/net/snmp")
            .expect("counters");
        let mut lines = counted.lines().map(|line| line.split_whitespace());
        let (mut names, mut counts) = (lines.next().unwrap(), lines.next().unwrap());
        let column = names.position(|name| name == what).unwrap();
        counts.nth(column).unwrap().parse().unwrap()
    }
}

#[test]
#[ignore = "needs the lab: make test"]
fn nothing_reaches_a_container_before_its_security_groups_hold() {
    let kuryr = Kuryr::begin_on("host1", "[port_pool]\nmin = 3");
    let network = kuryr.network("--subnet 10.20.0.0/27");
    let group = other_group(&kuryr);
    let options = format!(
        "name={network},driver-opt=neutron.port.security_groups={}",
        group.name
    );
    let stranger = kuryr.sleeper(&options, "");
    let friend = kuryr.sleeper(&network, "");
    wait_until_warm(3);
    let flood = Flood::from(&kuryr, &stranger);
    // Their addresses are among those to which nobody has answered yet. Three on warm ports, three on new ones.
    let mut containers = Vec::new();
    for how in [
        "",
        "",
        "",
        "--mac-address 02:00:00:00:00:28",
        "--mac-address 02:00:00:00:00:29",
        "--mac-address 02:00:00:00:00:30",
    ] {
        let container = kuryr.sleeper(&network, how);
        sleep(Duration::from_millis(500));
        containers.push(container);
    }
    let reached = |container: &String| kuryr.reached(container);
    let by_stranger: Vec<u64> = containers.iter().map(reached).collect();
    drop(flood);
    assert_eq!(by_stranger, [0; 6]);
    assert!(kuryr.datagrams(&stranger, "OutDatagrams") > 1000);
    // Who is let in reaches all of them, in the same way.
    let flood = Flood::from(&kuryr, &friend);
    for container in &containers {
        within(Duration::from_secs(10), "a friend's datagram", || {
            kuryr.reached(container) > 0
        });
    }
    drop(flood);
    kuryr.clear();
    remove_group(&group);
    kuryr.end();
}
