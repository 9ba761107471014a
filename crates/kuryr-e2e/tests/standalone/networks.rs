//! Networks, containers and the ways between them.

use std::time::Duration;

use crate::alone::{API, Kuryr, here, outside, within};

const WORLD: &str = "10.99.0.254";
const WORLD6: &str = "fd00:99::254";
pub(crate) const HOST: &str = "10.99.0.30";
const HOST6: &str = "fd00:99::30";

fn ping(address: &str) -> String {
    format!("ping -c 1 -W 2 {address}")
}

/// What a server at an address says to somebody on the host, or elsewhere.
pub(crate) fn ask(address: &str, port: u16) -> String {
    format!("echo | busybox nc -w 2 {address} {port} | grep served")
}

pub(crate) fn ask_inside(address: &str, port: u16) -> String {
    format!("echo | nc -w 2 {address} {port} | grep served")
}

#[test]
#[ignore = "needs the lab: make test"]
fn containers_reach_each_other_the_host_and_the_world() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--ipv6");
    let (one, two) = (kuryr.sleeper(&network, ""), kuryr.sleeper(&network, ""));
    let (four, six) = (
        kuryr.address(&two, "IPAddress"),
        kuryr.address(&two, "GlobalIPv6Address"),
    );
    for address in [&four, &six, WORLD, WORLD6, HOST, HOST6] {
        kuryr.inside(&one, &ping(address)).expect(address);
    }
    // The host reaches them, and nobody else may come in.
    here(&ping(&four)).expect("from the host");
    outside(&format!("ip route add {four}/32 via {HOST}")).expect("a route");
    let from_outside = outside(&ping(&four));
    outside(&format!("ip route del {four}/32"));
    from_outside.expect_failure("a ping from outside");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn networks_are_isolated_from_each_other_and_from_dockers_own() {
    let kuryr = Kuryr::begin();
    let (blue, red) = (kuryr.network(""), kuryr.network(""));
    let (one, two) = (kuryr.sleeper(&blue, ""), kuryr.sleeper(&red, ""));
    let address = kuryr.address(&two, "IPAddress");
    kuryr
        .inside(&one, &ping(&address))
        .expect_failure("a ping across networks");
    let label = &kuryr.driver;
    let docker = format!(
        "run --rm --label {label} --network bridge bb:1 {}",
        ping(&address)
    );
    kuryr
        .docker(&docker)
        .expect_failure("a ping from Docker's bridge");
    kuryr
        .docker(&format!("network connect {red} {one}"))
        .expect("docker network connect");
    kuryr
        .inside(&one, &ping(&address))
        .expect("a ping on the same network");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn published_ports_are_reached_from_everywhere() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--ipv6");
    let server = kuryr.server(&network, "-p 8080:80 -p 127.0.0.1:8081:80");
    let client = kuryr.sleeper(&network, "");
    for address in ["127.0.0.1", HOST, HOST6] {
        here(&ask(address, 8080)).expect(address);
    }
    for address in [HOST, HOST6] {
        outside(&ask(address, 8080)).expect(address);
        kuryr
            .inside(&client, &ask_inside(address, 8080))
            .expect(address);
    }
    here(&ask("127.0.0.1", 8081)).expect("the port of the host alone");
    outside(&ask(HOST, 8081)).expect_failure("the port of the host alone, from outside");
    // Docker lets go of them when the container stops.
    kuryr
        .docker(&format!("stop -t 0 {server}"))
        .expect("docker stop");
    outside(&ask(HOST, 8080)).expect_failure("a port of a container that is stopped");
    kuryr
        .docker(&format!("start {server}"))
        .expect("docker start");
    within(Duration::from_secs(5), "the port is back", || {
        outside(&ask(HOST, 8080)).ok
    });
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_port_in_use_names_who_has_it() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("");
    let held = here("busybox nc -l -p 8082 >/dev/null 2>&1 & echo $!").expect("a server");
    within(Duration::from_secs(5), "the server", || {
        here("ss -Hltn sport = :8082 | grep -q 8082").ok
    });
    let refused = kuryr
        .try_run(&network, "-p 8082:80", "true")
        .expect_failure("a port in use");
    here(&format!("kill {held}"));
    assert!(
        refused.contains("8082/tcp") && refused.contains("busybox"),
        "{refused}"
    );
    kuryr.sleeper(&network, "-p 8083:80");
    let refused = kuryr
        .try_run(&network, "-p 8083:80", "true")
        .expect_failure("a port in use");
    assert!(
        refused.contains("by the container with endpoint"),
        "{refused}"
    );
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn security_groups_rule_what_passes_also_while_it_runs() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("");
    let (server, client) = (kuryr.server(&network, ""), kuryr.sleeper(&network, ""));
    let address = kuryr.address(&server, "IPAddress");
    kuryr
        .inside(&client, &ask_inside(&address, 80))
        .expect("the default group");
    kuryr
        .openstack("security group create web")
        .expect("openstack");
    let list = format!("port list --fixed-ip ip-address={address} -f value -c ID");
    let port = kuryr.openstack(&list).expect("openstack");
    let set = format!("port set --no-security-group --security-group web {port}");
    kuryr.openstack(&set).expect("openstack");
    within(Duration::from_secs(5), "nothing may come in", || {
        !kuryr.inside(&client, &ask_inside(&address, 80)).ok
    });
    let rule = "security group rule create web --protocol tcp --dst-port 80 --remote-ip 0.0.0.0/0";
    kuryr.openstack(rule).expect("openstack");
    within(Duration::from_secs(5), "TCP port 80 may come in", || {
        kuryr.inside(&client, &ask_inside(&address, 80)).ok
    });
    kuryr
        .inside(&client, &ping(&address))
        .expect_failure("a ping that no rule allows");
    kuryr.docker(&format!("rm -f {server}")).expect("docker rm");
    within(Duration::from_secs(5), "the group can go", || {
        kuryr.openstack("security group delete web").ok
    });
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_container_has_no_other_address_than_its_own() {
    let kuryr = Kuryr::begin();
    let network = kuryr.network("--subnet 10.77.0.0/24");
    let (one, two) = (kuryr.sleeper(&network, ""), kuryr.sleeper(&network, ""));
    let address = kuryr.address(&two, "IPAddress");
    kuryr
        .inside(&one, "ip addr add 10.77.0.99/24 dev eth0")
        .expect("ip addr");
    let forged = format!("ping -c 1 -W 1 -I 10.77.0.99 {address}");
    kuryr
        .inside(&one, &forged)
        .expect_failure("a ping from a forged address");
    kuryr
        .inside(&one, &ping(&address))
        .expect("a ping from its own");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn addresses_and_networks_outlive_the_daemon() {
    let mut kuryr = Kuryr::begin();
    let network = kuryr.network("");
    let (server, client) = (
        kuryr.server(&network, "-p 8084:80"),
        kuryr.sleeper(&network, ""),
    );
    let before = (
        kuryr.address(&server, "IPAddress"),
        kuryr.address(&server, "MacAddress"),
    );
    for signal in ["-KILL", "-TERM"] {
        kuryr.stop(signal);
        // Nothing needs the daemon for what is there.
        kuryr
            .inside(&client, &ask_inside(&before.0, 80))
            .expect("without the daemon");
        outside(&ask(HOST, 8084)).expect("a published port without the daemon");
        kuryr.start();
        kuryr
            .inside(&client, &ask_inside(&before.0, 80))
            .expect("with it again");
        outside(&ask(HOST, 8084)).expect("a published port with it again");
        let refused = kuryr.try_run(&network, "-p 8084:80", "true");
        refused.expect_failure("a port that is still in use");
    }
    let after = (
        kuryr.address(&server, "IPAddress"),
        kuryr.address(&server, "MacAddress"),
    );
    assert_eq!(before, after);
    let ports = here(&format!(
        "curl -s http://{API}/v2.0/ports?fields=mac_address"
    ))
    .text;
    assert!(ports.contains(&before.1), "{ports}");
    kuryr.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn a_default_pool_gives_ranges_that_are_free_and_subnets_of_ones_own_work() {
    let kuryr = Kuryr::begin();
    let one = kuryr.network("--subnet 10.78.0.0/24 --gateway 10.78.0.254 --ip-range 10.78.0.64/26");
    let container = kuryr.sleeper(&one, "--mac-address 02:42:0a:4e:00:05");
    assert!(
        kuryr
            .address(&container, "IPAddress")
            .starts_with("10.78.0.")
    );
    assert_eq!(kuryr.address(&container, "MacAddress"), "02:42:0a:4e:00:05");
    assert_eq!(kuryr.address(&container, "Gateway"), "10.78.0.254");
    kuryr
        .inside(&container, &ping("10.78.0.254"))
        .expect("the gateway");
    let two = kuryr.network("");
    let chosen = kuryr.sleeper(&two, "");
    assert!(kuryr.address(&chosen, "IPAddress").starts_with("10."));
    kuryr.end();
}
