//! Warm ports: Docker waits for no Neutron, not even for one that is away.

use std::time::Duration;

use neutron_api::{Port, PortStatus};

use crate::lab::{Kuryr, lab, on, within};
use crate::traces::{list, port_at};

const POOL: &str = "[port_pool]\nmin = 3";

#[test]
#[ignore = "needs the lab: make test"]
fn containers_start_and_stop_without_neutron_where_ports_are_warm() {
    let kuryr = Kuryr::begin_on("host1", POOL);
    let network = kuryr.network("--ipv6 --subnet 10.20.0.0/24 --subnet fd20::/64");
    // What the first container exposes is waited for.
    let target = kuryr.sleeper(&network, "--expose 80");
    let four = kuryr.address(&target, &network, "IPAddress");
    let six = kuryr.address(&target, &network, "GlobalIPv6Address");
    wait_until_warm(3);
    lab(&["stop", "neutron"]).expect("lab stop neutron");
    let label = &kuryr.driver;
    let ping = format!("ping -c 1 -W 1 {four} && ping -6 -c 1 -W 1 {six}");
    let on = format!("--label {label} --network {network} --expose 80");
    let first = kuryr.docker(&format!("run --rm {on} bb:1 sh -c '{ping}'"));
    let second = kuryr.try_sleeper(&network, "--expose 80");
    lab(&["start", "neutron"]).expect("lab start neutron");
    first.expect("docker run without Neutron: its first packets, and its end");
    let second = second.expect("another one");
    let address = kuryr.address(&second, &network, "IPAddress");
    within(
        Duration::from_secs(120),
        "Neutron knows whose the port is, and lets in what is for it",
        || {
            let port = port_at(&address);
            port.name.ends_with("-port") && port.security_groups.len() == 2
        },
    );
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_port_that_goes_round_answers_from_the_first_packet_on() {
    let kuryr = Kuryr::begin_on("host1", POOL);
    // OVN tracks no connections of ports without security: Open vSwitch 3.1.0 dies of an assertion
    // (conntrack.c:1063) when connections of one address come and go often enough.
    let open = "-o neutron.port.port_security=false";
    let network = kuryr.network(&format!("--subnet 10.20.0.0/24 {open}"));
    let target = kuryr.sleeper(&network, "");
    let address = kuryr.address(&target, &network, "IPAddress");
    wait_until_warm(3);
    let label = &kuryr.driver;
    let run = format!(
        "docker run --rm --label {label} --network {network} bb:1 ping -c 1 -W 1 {address}"
    );
    let loop_ = format!("for i in $(seq 30); do {run} >/dev/null || echo lost $i; done");
    assert_eq!(on("host1", &loop_).expect("30 starts"), "");
    assert!(warm().len() >= 3, "ports come back: {:?}", warm());
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn warm_ports_are_found_again_by_a_daemon_that_was_killed() {
    let mut kuryr = Kuryr::begin_on("host1", POOL);
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let a = kuryr.sleeper(&network, "");
    wait_until_warm(3);
    let before: Vec<_> = warm().iter().map(|port| port.id).collect();
    kuryr.stop("-KILL");
    kuryr.start();
    let b = kuryr.sleeper(&network, "");
    let (a, address) = (a, kuryr.address(&b, &network, "IPAddress"));
    kuryr
        .inside(&a, &format!("ping -c 1 -W 1 {address}"))
        .expect("a packet");
    std::thread::sleep(Duration::from_secs(5));
    let now: Vec<_> = warm().iter().map(|port| port.id).collect();
    assert!(
        before.iter().all(|port| now.contains(port)),
        "{before:?} {now:?}"
    );
    kuryr.end();
}

pub(crate) fn wait_until_warm(count: usize) {
    within(Duration::from_secs(30), "warm ports", || {
        let up = |port: &Port| port.status == PortStatus::Active;
        warm().iter().filter(|port| up(port)).count() >= count
    });
}

fn warm() -> Vec<Port> {
    let mut ports = list::<Port>();
    ports.retain(|port| port.name.starts_with("kuryr-pool-port-host1-"));
    ports
}
