//! The service in `packaging/`, with all that its unit takes away.

use std::time::Duration;

use crate::lab::{neutron_section, on, program, within};
use crate::traces::Traces;
use crate::unit::Unit;

const HOST: &str = "host1";

#[test]
#[ignore = "needs the lab: make test"]
fn under_systemd_containers_start_and_stop_as_without() {
    let before = Traces::now(HOST);
    let unit = Unit::begin(HOST, &program(), &neutron_section(HOST));
    unit.assert_restricted();
    let docker = |arguments: &str| {
        let said = on(HOST, &format!("docker {arguments}"));
        assert!(said.ok, "{arguments}: {}\n{}", said.text, unit.log());
        said.text
    };
    let run = |name: &str| {
        docker(&format!(
            "run -d --name {name} --network service --expose 80 bb:1 sleep 3600"
        ));
    };
    let address = |name: &str| {
        docker(&format!(
            "inspect -f '{{{{.NetworkSettings.Networks.service.IPAddress}}}}' {name}"
        ))
    };
    let ping = |from: &str, to: &str| {
        docker(&format!("exec {from} ping -c 1 -W 2 {}", address(to)));
    };
    docker(
        "network create -d kuryr --ipam-driver kuryr --ipv6 --subnet 10.20.0.0/24 --subnet fd20::/64 service",
    );
    run("service-a");
    run("service-b");
    ping("service-a", "service-b");

    let killed = unit.program();
    unit.systemctl("kill --signal=KILL kuryr")
        .expect("systemctl kill");
    within(Duration::from_secs(10), "another process", || {
        unit.is_active() && unit.program() != killed
    });
    docker("restart -t 0 service-a");
    ping("service-b", "service-a");
    unit.systemctl("restart kuryr").expect("systemctl restart");
    unit.assert_restricted();
    ping("service-a", "service-b");

    unit.systemctl("stop kuryr").expect("systemctl stop");
    let ended = unit.systemctl("show --property=Result --value kuryr").text;
    assert_eq!(ended, "success", "{}", unit.log());
    unit.systemctl("start kuryr.socket")
        .expect("systemctl start kuryr.socket");
    run("service-c");
    assert!(unit.is_active(), "Docker's call has started it");
    ping("service-a", "service-c");
    docker("rm -f service-a service-b service-c");
    docker("network rm service");
    let left = before.left_on(HOST, Duration::from_secs(30));
    assert!(left.is_empty(), "left behind:\n{left}\n{}", unit.log());
    for said in ["not permitted", "Read-only", "WARN"] {
        assert!(!unit.log().contains(said), "{said}: {}", unit.log());
    }
}
