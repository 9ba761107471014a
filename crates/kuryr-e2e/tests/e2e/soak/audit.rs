//! Neutron, Open vSwitch and the kernel have what Docker has, and the pools.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use neutron_api::{Port, SecurityGroup};

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
        let exposed: Vec<SecurityGroup> = list();
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
        let warm = warm.iter().map(|port| (host_end(port), port.name.clone()));
        let used = used
            .iter()
            .map(|port| (host_end(port), port.device_id.clone()));
        let owners: BTreeMap<String, String> = warm.chain(used).collect();
        let (plugged, links) = (plugged(), links());
        if plugged != owners || !links.iter().eq(owners.keys()) {
            wrong += &format!("ports {owners:?}, in the switch {plugged:?}, links {links:?}\n");
        }
        for group in &exposed {
            let Some(port) = group.name.strip_suffix("-exposed_ports") else {
                continue;
            };
            if !ports.iter().any(|known| known.id.to_string() == port) {
                wrong += &format!("a group of no port: {}\n", group.name);
            }
        }
        wrong
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

/// The ends of containers' interfaces on the host.
fn links() -> BTreeSet<String> {
    let text = on(HOST, "ip -o link | awk -F': ' '{print $2}' | cut -d@ -f1").text;
    let taps = text.lines().filter(|name| name.starts_with("tap"));
    taps.map(str::to_owned).collect()
}

/// The name of the interface that a port's container has on the host.
fn host_end(port: &Port) -> String {
    format!("tap{}", &port.id.to_string()[..11])
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
