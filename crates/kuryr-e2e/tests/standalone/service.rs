//! The service in `packaging/`, with all that its unit takes away, on a host without a cloud.

use std::time::Duration;

use crate::alone::{here, outside, program, traces, until};
use crate::unit::Unit;

#[test]
#[ignore = "needs the lab: make test"]
fn under_systemd_bridges_rules_and_published_ports_are_as_without() {
    let before = traces();
    let unit = Unit::begin("alone", &program(), "[standalone]\nenabled = true\n");
    unit.assert_restricted();
    let docker = |arguments: &str| {
        let said = here(&format!("docker {arguments}"));
        assert!(said.ok, "{arguments}: {}\n{}", said.text, unit.log());
        said.text
    };
    docker("network create -d kuryr --ipam-driver kuryr --subnet 10.83.0.0/24 service");
    let serve = "sh -c 'while true; do echo served | nc -l -p 80; done'";
    docker(&format!(
        "run -d --name service-a --network service -p 80:80 bb:1 {serve}"
    ));
    docker("run -d --name service-b --network service bb:1 sleep 3600");
    let address = docker("inspect -f '{{.NetworkSettings.Networks.service.IPAddress}}' service-a");
    docker(&format!("exec service-b ping -c 1 -W 2 {address}"));
    docker("exec service-b ping -c 1 -W 2 10.99.0.254");
    let published = || {
        outside("busybox nc -w 2 10.99.0.30 80 </dev/null")
            .text
            .contains("served")
    };
    assert!(until(Duration::from_secs(5), published), "{}", unit.log());
    unit.systemctl("restart kuryr").expect("systemctl restart");
    docker("restart -t 0 service-b");
    docker(&format!("exec service-b ping -c 1 -W 2 {address}"));
    docker("rm -f service-a service-b");
    docker("network rm service");
    let clean = until(Duration::from_secs(20), || traces() == before);
    assert!(clean, "{}\n{before}\n{}", traces(), unit.log());
    unit.systemctl("stop kuryr").expect("systemctl stop");
    let ended = unit.systemctl("show --property=Result --value kuryr").text;
    assert_eq!(ended, "success", "{}", unit.log());
}
