//! Subnets, gateways, ranges and addresses, as `docker network create` and `docker run` ask for them.

use std::time::Duration;

use neutron_api::{Port, Subnet};

use crate::lab::{Kuryr, lab, within};
use crate::traces::{list, port_at};

#[test]
#[ignore = "needs the lab: make test"]
fn without_a_subnet_the_default_pool_gives_one() {
    let kuryr = Kuryr::begin();
    let (one, two) = (kuryr.network(""), kuryr.network(""));
    let (a, b, c) = (
        kuryr.sleeper(&one, ""),
        kuryr.sleeper(&one, ""),
        kuryr.sleeper(&two, ""),
    );
    let address = kuryr.address(&b, &one, "IPAddress");
    assert!(address.starts_with("10.10."), "{address}");
    let prefix = kuryr.address(&b, &one, "IPPrefixLen");
    assert_eq!(prefix, "24");
    let ping = format!("ping -c 1 -W 1 {address}");
    kuryr.inside(&a, &ping).expect("ping");
    kuryr
        .inside(&c, &ping)
        .expect_failure("ping from another network");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn gateway_range_and_reserved_addresses_are_as_asked_for() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network(
        "--subnet 10.20.0.0/24 --gateway 10.20.0.254 --ip-range 10.20.0.32/29 --aux-address spare=10.20.0.33",
    );
    let a = kuryr.sleeper(&network, "");
    let route = kuryr.inside(&a, "ip route").expect("ip route");
    assert!(route.contains("default via 10.20.0.254"), "{route}");
    for container in [a, kuryr.sleeper(&network, ""), kuryr.sleeper(&network, "")] {
        let address = kuryr.address(&container, &network, "IPAddress");
        let last: u8 = address.rsplit('.').next().unwrap().parse().unwrap();
        assert!((32..40).contains(&last) && last != 33, "{address}");
    }
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn an_internal_network_has_no_way_out() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--internal --subnet 10.20.0.0/24");
    let (a, b) = (kuryr.sleeper(&network, ""), kuryr.sleeper(&network, ""));
    let route = kuryr.inside(&a, "ip route").expect("ip route");
    assert!(!route.contains("default"), "{route}");
    let address = kuryr.address(&b, &network, "IPAddress");
    let port = port_at(&address);
    let subnet = list::<Subnet>()
        .into_iter()
        .find(|s| s.network_id == port.network_id)
        .unwrap();
    assert_eq!(subnet.gateway_ip, None);
    kuryr
        .inside(&a, &format!("ping -c 1 -W 1 {address}"))
        .expect("ping");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_full_subnet_is_a_clear_error() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/29");
    // OVN's metadata port has one of the five addresses.
    let mut error = String::new();
    for _ in 0..6 {
        let run = kuryr.try_sleeper(&network, "");
        if !run.ok {
            error = run.text;
            break;
        }
    }
    assert!(error.contains("IpAddressGenerationFailure"), "{error}");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_taken_address_is_a_clear_error_and_stays_where_it_is() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let a = kuryr.sleeper(&network, "--ip 10.20.0.77");
    let before = port_at("10.20.0.77");
    let error = kuryr
        .try_sleeper(&network, "--ip 10.20.0.77")
        .expect_failure("a second --ip");
    assert!(
        error.contains("10.20.0.77 is in use by port") && error.contains("compute:kuryr"),
        "{error}"
    );
    let after = port_at("10.20.0.77");
    assert_eq!((before.id, before.host_id), (after.id, after.host_id));
    assert_eq!(kuryr.address(&a, &network, "IPAddress"), "10.20.0.77");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn an_address_and_a_mac_address_of_choice_are_the_ports() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let b = kuryr.sleeper(&network, "");
    let a = kuryr.sleeper(&network, "--ip 10.20.0.50 --mac-address 02:11:22:33:44:55");
    let port = port_at("10.20.0.50");
    assert_eq!(port.mac_address.to_string(), "02:11:22:33:44:55");
    let address = kuryr.address(&b, &network, "IPAddress");
    kuryr
        .inside(&a, &format!("ping -c 1 -W 1 {address}"))
        .expect("ping");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn an_ip_range_outside_of_its_subnet_is_refused() {
    let kuryr = Kuryr::begin();
    let error = kuryr
        .try_network("--subnet 10.20.0.0/24 --aux-address a=10.20.0.1 --gateway 10.20.0.1")
        .expect_failure("an address for two");
    assert!(error.contains("10.20.0.1"), "{error}");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_newer_docker_does_ipv6_only_and_both_defaults() {
    lab(&["docker", "host1", "28"]).expect("lab docker host1 28");
    let outcome = std::panic::catch_unwind(|| {
        let kuryr = Kuryr::begin();
        let six = kuryr.network("--ipv4=false --ipv6 --subnet fd20::/64");
        let (a, b) = (kuryr.sleeper(&six, ""), kuryr.sleeper(&six, ""));
        let address = kuryr.address(&b, &six, "GlobalIPv6Address");
        kuryr
            .inside(&a, &format!("ping -6 -c 1 -W 3 {address}"))
            .expect("IPv6");
        assert_eq!(kuryr.address(&a, &six, "IPAddress"), "");
        let both = kuryr.network("--ipv6");
        let (c, d) = (kuryr.sleeper(&both, ""), kuryr.sleeper(&both, ""));
        let four = kuryr.address(&d, &both, "IPAddress");
        kuryr
            .inside(&c, &format!("ping -c 1 -W 1 {four}"))
            .expect("IPv4");
        let six = kuryr.address(&d, &both, "GlobalIPv6Address");
        kuryr
            .inside(&c, &format!("ping -6 -c 1 -W 3 {six}"))
            .expect("IPv6");
        assert!(six.starts_with("fd00:10:"), "{six}");
        let internal = kuryr.network("--internal --subnet 10.21.0.0/24");
        let e = kuryr.sleeper(&internal, "");
        let route = kuryr.inside(&e, "ip route").expect("ip route");
        assert!(!route.contains("default"), "{route}");
        kuryr
            .docker(&format!("network connect {both} {e}"))
            .expect("docker network connect");
        kuryr
            .inside(&e, &format!("ping -c 1 -W 1 {four}"))
            .expect("IPv4 after connect");
        kuryr
            .docker(&format!("network disconnect {both} {e}"))
            .expect("disconnect");
        within(
            Duration::from_secs(10),
            "five ports for five endpoints",
            || {
                let ports = list::<Port>();
                let of_endpoint = |port: &&Port| {
                    port.device_owner == "compute:kuryr"
                        && !port.name.starts_with("kuryr-pool-port-")
                };
                ports.iter().filter(of_endpoint).count() == 5
            },
        );
        kuryr.end();
    });
    lab(&["docker", "host1", "20"]).expect("lab docker host1 20");
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
