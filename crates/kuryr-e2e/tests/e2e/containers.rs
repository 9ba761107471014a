//! Containers are ports, and packets go between them.

use crate::lab::{Kuryr, on};
use crate::traces::{list, port_at};
use neutron_api::{Network, Port, PortStatus, Subnet};

#[test]
#[ignore = "needs the lab: make test"]
fn containers_reach_each_other_from_the_first_packet_on() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let (a, b) = (kuryr.sleeper(&network, ""), kuryr.sleeper(&network, ""));
    let address = kuryr.address(&b, &network, "IPAddress");
    kuryr
        .inside(&a, &format!("ping -c 1 -W 1 {address}"))
        .expect("the first packet");
    assert_tcp(&kuryr, &a, &b, &address);
    let ten_seconds = std::time::Duration::from_secs(10);
    crate::lab::within(ten_seconds, "Neutron has heard that the port is up", || {
        port_at(&address).status == PortStatus::Active
    });
    let port = port_at(&address);
    assert_eq!(port.host_id.as_deref(), Some("host1"));
    assert_eq!(port.device_owner, "compute:kuryr");
    let mac = kuryr.address(&b, &network, "MacAddress");
    assert_eq!(
        mac,
        port.mac_address.to_string(),
        "Neutron's MAC address wins"
    );
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn an_address_with_a_new_owner_is_answered_from_the_first_packet_on() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--ipv6 --subnet 10.20.0.0/24 --subnet fd20::/64");
    let target = kuryr.sleeper(&network, "");
    let four = kuryr.address(&target, &network, "IPAddress");
    let six = kuryr.address(&target, &network, "GlobalIPv6Address");
    let label = &kuryr.driver;
    // Each of these containers has another MAC address than the one before, which the target knows.
    let run = format!("run --rm --label {label} --network {network} --ip 10.20.0.77");
    for turn in 0..5 {
        let pings = format!("ping -c 1 -W 1 {four} && ping -6 -c 1 -W 3 {six}");
        kuryr
            .docker(&format!("{run} --ip6 fd20::77 bb:1 sh -c '{pings}'"))
            .expect(&format!("the first packets of container {turn}"));
    }
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn both_families_work_on_one_port() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--ipv6 --subnet 10.20.0.0/24 --subnet fd20::/64");
    let (a, b) = (kuryr.sleeper(&network, ""), kuryr.sleeper(&network, ""));
    let four = kuryr.address(&b, &network, "IPAddress");
    let six = kuryr.address(&b, &network, "GlobalIPv6Address");
    assert_eq!(port_at(&four).id, port_at(&six).id);
    kuryr
        .inside(&a, &format!("ping -c 1 -W 1 {four}"))
        .expect("IPv4");
    kuryr
        .inside(&a, &format!("ping -6 -c 1 -W 3 {six}"))
        .expect("IPv6");
    assert_tcp(&kuryr, &a, &b, &six);
    let route = kuryr.inside(&a, "ip -6 route").expect("ip route");
    assert!(route.contains("default via fd20::1"), "{route}");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn the_interface_is_the_networks() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let a = kuryr.sleeper(&network, "");
    let port = port_at(&kuryr.address(&a, &network, "IPAddress"));
    let endpoint = endpoint(&kuryr, &a, &network);
    let inside = kuryr
        .inside(&a, "ip addr show eth0; ip route")
        .expect("ip addr");
    assert!(
        inside.contains("mtu 1442"),
        "Geneve leaves 1442 of 1500 bytes: {inside}"
    );
    assert!(inside.contains("default via 10.20.0.1"), "{inside}");
    let tap = format!("tap{}", port.id)[..14].to_owned();
    let host = on("host1", &format!("ip addr show {tap}")).expect("the host's end");
    assert!(host.contains("mtu 1442"), "{host}");
    assert!(
        !host.contains("inet"),
        "an address in the host's namespace: {host}"
    );
    let row = on(
        "host1",
        &format!("ovs-vsctl get Interface {tap} external_ids"),
    )
    .text;
    for (key, value) in [
        ("iface-id", port.id.to_string()),
        ("attached-mac", port.mac_address.to_string()),
        ("vm-uuid", endpoint),
        ("iface-status", "active".to_owned()),
        ("owner", "kuryr".to_owned()),
    ] {
        assert!(
            row.contains(key) && row.contains(&value),
            "{key} {value}: {row}"
        );
    }
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_running_container_is_connected_and_disconnected() {
    let kuryr = Kuryr::begin();
    let (one, two) = (
        kuryr.network("--subnet 10.20.0.0/24"),
        kuryr.network("--subnet 10.21.0.0/24"),
    );
    let (a, b) = (kuryr.sleeper(&one, ""), kuryr.sleeper(&two, ""));
    let address = kuryr.address(&b, &two, "IPAddress");
    let ping = format!("ping -c 1 -W 1 {address}");
    kuryr
        .inside(&a, &ping)
        .expect_failure("ping into a network that it is not on");
    kuryr
        .docker(&format!("network connect {two} {a}"))
        .expect("docker network connect");
    kuryr.inside(&a, &ping).expect("ping on the second network");
    let both = kuryr.inside(&a, "ip -o -4 addr").expect("ip addr");
    assert!(
        both.contains("10.20.0.") && both.contains("10.21.0."),
        "{both}"
    );
    kuryr
        .docker(&format!("network disconnect {two} {a}"))
        .expect("docker network disconnect");
    kuryr
        .inside(&a, &ping)
        .expect_failure("ping after the disconnection");
    kuryr
        .docker(&format!("network connect {two} {a}"))
        .expect("docker network connect again");
    kuryr
        .inside(&a, &ping)
        .expect("ping on the second network again");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_container_is_restarted() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let (a, b) = (kuryr.sleeper(&network, ""), kuryr.sleeper(&network, ""));
    for verb in ["restart -t 0", "kill", "start"] {
        kuryr.docker(&format!("{verb} {a}")).expect(verb);
    }
    let address = kuryr.address(&b, &network, "IPAddress");
    kuryr
        .inside(&a, &format!("ping -c 1 -W 1 {address}"))
        .expect("ping after a restart");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn ports_bear_the_names_and_tags_of_the_python_kuryr() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.20.0.0/24");
    let a = kuryr.sleeper(&network, "");
    let id = kuryr
        .docker(&format!("network inspect -f '{{{{.Id}}}}' {network}"))
        .text;
    let endpoint = endpoint(&kuryr, &a, &network);
    let address = kuryr.address(&a, &network, "IPAddress");
    let halves = |id: &str| {
        [
            format!("kuryr.net.uuid.lh:{}", &id[..32]),
            format!("kuryr.net.uuid.uh:{}", &id[32..]),
        ]
    };
    let mut port: Option<Port> = None;
    crate::lab::within(
        std::time::Duration::from_secs(10),
        "the port's tags",
        || {
            let found = port_at(&address);
            let tagged = halves(&endpoint).iter().all(|tag| found.tags.contains(tag));
            port = Some(found);
            tagged
        },
    );
    let port = port.unwrap();
    assert_eq!(port.name, format!("{endpoint}-port"));
    assert_eq!(port.device_id, endpoint);
    let made = list::<Network>()
        .into_iter()
        .find(|n| n.id == port.network_id)
        .unwrap();
    assert_eq!(made.name, format!("kuryr-net-{}", &id[..8]));
    assert!(
        halves(&id).iter().all(|tag| made.tags.contains(tag)),
        "{:?}",
        made.tags
    );
    let subnet = list::<Subnet>()
        .into_iter()
        .find(|s| s.network_id == made.id)
        .unwrap();
    assert_eq!(subnet.name, "kuryr-subnet-10.20.0.0/24");
    kuryr.end();
}

/// A stream of some hundred packets, checked at its end.
pub(crate) fn assert_tcp(kuryr: &Kuryr, from: &str, to: &str, address: &str) {
    assert_tcp_between(kuryr, from, kuryr, to, address);
}

pub(crate) fn assert_tcp_between(here: &Kuryr, from: &str, there: &Kuryr, to: &str, address: &str) {
    let server = "nc -l -p 7000 -e head -c 300000 /dev/zero";
    there
        .docker(&format!("exec -d {to} {server}"))
        .expect("nc -l");
    let client = format!(
        "for i in 1 2 3 4 5; do sleep 0.2; test $(nc -w 3 {address} 7000 </dev/null | wc -c) = 300000 && exit 0; done; exit 1"
    );
    here.inside(from, &client).expect("TCP");
}

/// Docker's id of the container's endpoint. The port gets it after Docker's answer.
fn endpoint(kuryr: &Kuryr, container: &str, network: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").EndpointID}}}}");
    kuryr
        .docker(&format!("inspect -f '{format}' {container}"))
        .text
}
