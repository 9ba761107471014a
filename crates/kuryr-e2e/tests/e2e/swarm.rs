//! Compose files, and what Docker's swarm mode does with a driver like this one.

use std::fs;

use crate::lab::{Kuryr, on};
use crate::traces::port_at;

/// A network of the file's own, with options for both drivers, and one that was there before.
#[test]
#[ignore = "needs the lab: make test"]
fn a_compose_file_has_networks_with_the_drivers_options() {
    let kuryr = Kuryr::begin();
    let (driver, back) = (&kuryr.driver, kuryr.network("--subnet 10.26.0.0/24"));
    let file = format!(
        r#"version: "3.5"
x-container: &container
  image: bb:1
  command: sleep 3600
  labels: ["{driver}"]
services:
  front:
    <<: *container
    networks: {{front: {{ipv4_address: 10.10.250.50}}}}
  both:
    <<: *container
    networks: {{front: {{}}, back: {{}}}}
networks:
  front:
    driver: {driver}
    driver_opts: {{neutron.port.name: from-compose}}
    ipam:
      driver: {driver}
      options: {{neutron.pool.name: kuryr}}
      config: [{{subnet: 10.10.250.0/24}}]
  back:
    external: true
    name: {back}
"#
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compose.yml");
    fs::write(&path, file).unwrap();
    let compose = |command: &str| {
        let compose = format!("docker-compose -p {driver} -f {}", path.display());
        on("host1", &format!("{compose} {command}"))
    };
    compose("up -d").expect("docker-compose up");
    let ping = compose("exec -T both ping -c 1 -W 10 10.10.250.50");
    ping.expect("a ping from service to service");
    let named = || port_at("10.10.250.50").name == "from-compose";
    let patience = std::time::Duration::from_secs(10);
    crate::lab::within(patience, "the port's name", named);
    let peer = kuryr.sleeper(&back, "");
    let address = kuryr.address(&peer, &back, "IPAddress");
    let ping = compose(&format!("exec -T both ping -c 1 -W 10 {address}"));
    ping.expect("a ping on the network that was there before");
    compose("down").expect("docker-compose down");
    kuryr.end();
}

/// Not even one of scope global: see docs/python-compatibility.md.
#[test]
#[ignore = "needs the lab: make test"]
fn docker_takes_no_driver_with_a_socket_into_a_swarm() {
    for flavour in ["20", "28"] {
        crate::lab::lab(&["docker", "host1", flavour]).expect("lab docker");
        let kuryr = Kuryr::begin_on("host1", "[DEFAULT]\ncapability_scope = global");
        let driver = &kuryr.driver;
        on("host1", "docker swarm init --advertise-addr 10.99.0.11").expect("swarm init");
        let create = format!("--driver {driver} --ipam-driver {driver} --subnet 10.20.0.0/24");
        let refused = kuryr.docker(&format!("network create --scope swarm {create} all"));
        on("host1", "docker swarm leave --force").expect("swarm leave");
        on("host1", "docker network rm docker_gwbridge").expect("its bridge");
        let said = refused.expect_failure("a network of a swarm");
        assert!(said.contains("is not supported in swarm mode"), "{said}");
        kuryr.end();
    }
    crate::lab::lab(&["docker", "host1", "20"]).expect("lab docker");
}
