//! Neutron, Open vSwitch and the kernel have what Docker has, and the pools.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use neutron_api::{Network, Port, SecurityGroup, Subnet, SubnetPool};

use super::{Days, HOST};
use crate::lab::{on, until};
use crate::traces::list;

/// Without anyone's help, after whatever has happened.
const AT_REST: Duration = Duration::from_secs(150);
const POOL: &str = "kuryr-pool-port-host1-";
/// `max` of a pool, by default.
const MOST: usize = 64;

impl Days {
    /// Neutron's and the host's are exactly Docker's and the pools', after a while; and packets go.
    pub(super) fn audit(&self) {
        let mut wrong = String::new();
        let right = until(AT_REST, || {
            wrong = self.difference();
            wrong.is_empty()
        });
        assert!(right, "{wrong}\n{}", self.kuryr.log());
        for network in &self.networks {
            let boxes = self.containers(network);
            for pair in boxes.windows(2) {
                let address = self.kuryr.address(&pair[1], network, "IPAddress");
                let ping = format!("ping -c 1 -W 5 {address}");
                let reached = until(Duration::from_secs(10), || {
                    self.kuryr.inside(&pair[0], &ping).ok
                });
                assert!(reached, "{} {ping}\n{}", pair[0], self.kuryr.log());
            }
        }
    }

    fn difference(&self) -> String {
        let (networks, endpoints) = self.of_docker();
        let mut ports = list::<Port>();
        ports.retain(|port| port.device_owner == "compute:kuryr");
        let (warm, used): (Vec<&Port>, Vec<&Port>) =
            ports.iter().partition(|port| port.name.starts_with(POOL));
        let of_used: BTreeMap<String, String> = used
            .iter()
            .map(|port| (port.device_id.clone(), addresses(port)))
            .collect();
        let mut wrong = String::new();
        if of_used != endpoints || used.len() != endpoints.len() {
            wrong += &format!("ports of {of_used:?}, endpoints {endpoints:?}\n");
        }
        for port in &warm {
            if !networks.iter().any(|id| port.name[POOL.len()..] == **id) {
                wrong += &format!("a warm port of no network: {port:?}\n");
            }
        }
        if warm.len() > networks.len() * MOST {
            wrong += &format!("{} warm ports on {} networks\n", warm.len(), networks.len());
        }
        let of_warm = warm.iter().map(|port| (host_end(port), port.name.clone()));
        let of_used = used
            .iter()
            .map(|port| (host_end(port), port.device_id.clone()));
        let owners: BTreeMap<String, String> = of_warm.chain(of_used).collect();
        let (plugged, taps) = (plugged(), links("tap"));
        if plugged != owners || !taps.iter().eq(owners.keys()) {
            wrong += &format!("ports {owners:?}, in the switch {plugged:?}, links {taps:?}\n");
        }
        // A container has its own end; those of warm ports are still here.
        let (waiting, ends) = (warm.iter().map(|port| other_end(port)), links("t_c"));
        if ends != waiting.collect() {
            wrong += &format!("ends of interfaces {ends:?}, warm ports {warm:?}\n");
        }
        wrong += &self.groups(&ports);
        wrong += &of_networks(&networks);
        wrong += &self.ground.difference();
        wrong
    }

    /// Each endpoint whose container exposes a port has a security group for that, on its port; nobody
    /// else has one.
    fn groups(&self, ports: &[Port]) -> String {
        let exposing = self.exposing();
        let mut exposed: BTreeMap<String, SecurityGroup> = BTreeMap::new();
        let mut wrong = String::new();
        for group in list::<SecurityGroup>() {
            if let Some(port) = group.name.strip_suffix("-exposed_ports")
                && let Some(twin) = exposed.insert(port.to_owned(), group)
            {
                wrong += &format!("two groups are called {}\n", twin.name);
            }
        }
        for port in ports {
            let own = exposed.remove(&port.id.to_string()).map(|group| group.id);
            let has_it = own.is_some_and(|own| port.security_groups.contains(&own));
            let is_to = exposing.contains(&port.device_id);
            let count = 1 + usize::from(is_to);
            if (is_to, is_to) != (own.is_some(), has_it) || port.security_groups.len() != count {
                wrong += &format!("group {own:?}, to expose {is_to}: {port:?}\n");
            }
        }
        for (port, group) in exposed {
            wrong += &format!("group {} of no port {port}\n", group.id);
        }
        wrong
    }

    /// The endpoints of containers that run and expose a port.
    fn exposing(&self) -> BTreeSet<String> {
        let ps = format!("docker ps -q --filter label={}", self.kuryr.driver);
        let each = "{{if .Config.ExposedPorts}}{{range .NetworkSettings.Networks}}{{.EndpointID}}{{println}}{{end}}{{end}}";
        let inspect = format!("ids=$({ps}); test -z \"$ids\" || docker inspect -f '{each}' $ids");
        let text = on(HOST, &inspect).expect("docker inspect");
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Docker's networks of this Kuryr; and its endpoints, of containers that run, with their
    /// addresses.
    fn of_docker(&self) -> (Vec<String>, BTreeMap<String, String>) {
        let driver = &self.kuryr.driver;
        let ls = format!("docker network ls -q --no-trunc --filter driver={driver}");
        let networks = on(HOST, &ls).expect("docker network ls");
        let each = "{{range .Containers}}{{.EndpointID}} {{.IPv4Address}} {{.IPv6Address}}{{println}}{{end}}";
        let inspect = format!("docker network inspect -f '{each}' $({ls})");
        let text = on(HOST, &inspect).expect("docker network inspect");
        let endpoints = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let endpoint = words.next()?.to_owned();
            let bare = words.map(|word| word.split('/').next().unwrap().to_owned());
            Some((endpoint, joined(bare.collect())))
        });
        (
            networks.lines().map(str::to_owned).collect(),
            endpoints.collect(),
        )
    }

    fn containers(&self, network: &str) -> Vec<String> {
        let names = "{{range .Containers}}{{.Name}} {{end}}";
        let said = self
            .kuryr
            .docker(&format!("network inspect -f '{names}' {network}"));
        let text = said.expect("docker network inspect");
        text.split_whitespace().map(str::to_owned).collect()
    }
}

/// Whom each interface in the switch is plugged for.
fn plugged() -> BTreeMap<String, String> {
    let rows = on(
        HOST,
        "ovs-vsctl --format=csv --no-headings --columns=name,external_ids list Interface",
    );
    let rows = rows.expect("ovs-vsctl list");
    let taps = rows.lines().filter(|row| row.starts_with("tap"));
    taps.map(|row| {
        let (name, ids) = row.split_once(',').unwrap();
        let owner = ids.split("vm-uuid=").nth(1).unwrap_or_default();
        let owner = owner.split([',', '}', '"']).find(|word| !word.is_empty());
        (name.to_owned(), owner.unwrap_or_default().to_owned())
    })
    .collect()
}

/// Neutron's networks with a mark of ours are Docker's, and its subnet pools are theirs.
fn of_networks(of_docker: &[String]) -> String {
    let mut made = list::<Network>();
    made.retain(|network| network.name.starts_with("kuryr-net-"));
    let names: BTreeSet<&str> = made.iter().map(|network| network.name.as_str()).collect();
    let expected: BTreeSet<String> = of_docker
        .iter()
        .map(|id| format!("kuryr-net-{}", &id[..8]))
        .collect();
    let mut wrong = String::new();
    if made.len() != of_docker.len() || !names.iter().eq(expected.iter()) {
        wrong += &format!("networks {made:?}, Docker's {of_docker:?}\n");
    }
    let subnets = list::<Subnet>().into_iter();
    let used: BTreeSet<_> = subnets
        .filter(|subnet| made.iter().any(|network| network.id == subnet.network_id))
        .filter_map(|subnet| subnet.subnetpool_id)
        .collect();
    for pool in list::<SubnetPool>() {
        if pool.name.starts_with("kuryrPool-") && !used.contains(&pool.id) {
            wrong += &format!("a subnet pool of no network: {pool:?}\n");
        }
    }
    wrong
}

/// The interfaces on the host whose names begin so.
fn links(prefix: &str) -> BTreeSet<String> {
    let text = on(HOST, "ip -o link | awk -F': ' '{print $2}' | cut -d@ -f1").text;
    let some = text.lines().filter(|name| name.starts_with(prefix));
    some.map(str::to_owned).collect()
}

/// The name of the interface that a port's container has on the host.
fn host_end(port: &Port) -> String {
    format!("tap{}", &port.id.to_string()[..11])
}

/// That of the end that a container is to have.
fn other_end(port: &Port) -> String {
    format!("t_c{}", &port.id.to_string()[..11])
}

fn addresses(port: &Port) -> String {
    joined(
        port.fixed_ips
            .iter()
            .map(|ip| ip.ip_address.to_string())
            .collect(),
    )
}

fn joined(mut addresses: Vec<String>) -> String {
    addresses.sort();
    addresses.join(" ")
}
