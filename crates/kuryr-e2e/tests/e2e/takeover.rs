//! Kuryr in the place of the Python daemon, with the same `kuryr.conf` and running containers; and
//! back. docs/upgrading-from-python.md is this in prose.

mod place;

use neutron_api::{
    IpVersion, Network, NetworkId, NewNetwork, NewPort, NewSubnet, Port, Subnet, SubnetPool,
    WantedIp,
};
use neutron_client::Filter;

use crate::traces::{list, neutron, wait};
use place::Place;

#[test]
#[ignore = "needs the lab: make test"]
fn kuryr_takes_the_python_daemons_place_under_twenty_running_containers() {
    let mut place = Place::begin();
    let empty = place.cloud();
    let theirs = Theirs::make();
    place.spare_switch(&empty);
    let clean = place.cloud();
    place.live_restore(true);
    place.start_python();
    let adopted = format!("-o neutron.net.uuid={}", theirs.plain);
    let range = "--subnet 10.21.0.0/24 --gateway 10.21.0.1";
    place.network("adopted", &format!("{range} {adopted}"));
    // The Python daemon can use a default pool only where there is a subnet that is all of it.
    let whole = format!("-o neutron.net.uuid={}", theirs.whole_pool);
    place.network("pool", &format!("{whole} -o neutron.pool.name=kuryr"));
    place.network("dual", DUAL);
    place.spare_switch(&clean);
    // And both families only on ports that exist.
    let ports = theirs_on("10.22.0.0/24", 6);
    let macs: Vec<String> = ports
        .iter()
        .map(|port| port.mac_address.to_string())
        .collect();
    let before = place.cloud();
    let mut boxes = place.run("adopted", 7, &[]);
    boxes.extend(place.run("pool", 7, &[]));
    boxes.extend(place.run("dual", 6, &macs));
    place.ping(&boxes);

    place.stop_python();
    place.start_kuryr();
    // The others' pings go to these.
    let is_watcher = |name: &&String| name.ends_with("-0") || name.ends_with("-1");
    let watchers: Vec<String> = boxes.iter().filter(is_watcher).cloned().collect();
    let others: Vec<String> = boxes.iter().filter(|it| !is_watcher(it)).cloned().collect();
    place.assert_answered(&others, 10);
    place.stop_and_start(&others);
    place.restart_docker();
    place.reconnect(&others);
    place.assert_answered(&watchers, 50);
    for number in ["-0", "-1"] {
        let these = watchers.iter().filter(|name| name.ends_with(number));
        let these: Vec<String> = these.cloned().collect();
        place.stop_and_start(&these);
        place.reconnect(&these);
    }

    place.remove_containers();
    place.assert_cloud(&before, "ports that were there", |it| {
        it.contains("\"theirs")
    });
    for port in ports {
        wait(neutron().delete::<Port>(port.id)).unwrap();
    }
    place.remove_networks();
    place.assert_cloud(&clean, "networks and all", |_| true);
    theirs.remove();
    place.end();
}

#[test]
#[ignore = "needs the lab: make test"]
fn the_python_daemon_takes_its_place_back() {
    let mut place = Place::begin();
    let clean = place.cloud();
    place.live_restore(true);
    place.start_python();
    place.stop_python();
    place.start_kuryr();
    place.restart_docker();
    place.network("single", "--subnet 10.21.0.0/24 --gateway 10.21.0.1");
    place.network("dual", DUAL);
    place.spare_switch(&clean);
    let single = place.run("single", 4, &[]);
    let dual = place.run("dual", 2, &[]);
    place.ping(&[single.clone(), dual.clone()].concat());

    place.stop_kuryr();
    place.start_kuryr_without_pool();
    place.stop_kuryr();
    place.start_python();
    place.restart_docker();
    place.assert_answered(&single[2..], 10);
    place.stop_and_start(&single[2..]);
    place.reconnect(&single[2..]);
    place.assert_answered(&[single[..2].to_vec(), dual].concat(), 10);
    place.remove_containers();
    place.remove_networks();
    place.assert_cloud(&clean, "networks and all", |_| true);
    place.end();
}

const DUAL: &str = "--ipv6 --subnet 10.22.0.0/24 --gateway 10.22.0.1 \
                    --subnet fd22::/64 --gateway fd22::1";

/// Networks that are there before any Docker network is on them.
struct Theirs {
    plain: NetworkId,
    /// Its subnet is all of the default subnet pool.
    whole_pool: NetworkId,
}

impl Theirs {
    fn make() -> Self {
        let pools = list::<SubnetPool>();
        let kuryr = pools.into_iter().find(|pool| pool.name == "kuryr").unwrap();
        Self {
            plain: network("10.21.0.0/24", None),
            whole_pool: network("10.10.0.0/16", Some(&kuryr)),
        }
    }

    fn remove(self) {
        for network in [self.plain, self.whole_pool] {
            wait(neutron().delete::<Network>(network)).unwrap();
        }
    }
}

/// What was there before, and what was put on it, after a failure.
fn remove_theirs() {
    for port in list::<Port>() {
        if port.name.starts_with("theirs") {
            let _ = wait(neutron().delete::<Port>(port.id));
        }
    }
    for network in list::<Network>() {
        if network.name == "theirs" {
            let _ = wait(neutron().delete::<Network>(network.id));
        }
    }
}

fn network(range: &str, pool: Option<&SubnetPool>) -> NetworkId {
    let new = NewNetwork {
        name: "theirs".into(),
        admin_state_up: true,
        ..NewNetwork::default()
    };
    let network = wait(neutron().create(&new, &Filter::new())).unwrap();
    let new = NewSubnet {
        name: "theirs".into(),
        description: String::new(),
        network_id: network.id,
        ip_version: IpVersion::V4,
        cidr: Some(range.parse().unwrap()),
        subnetpool_id: pool.map(|pool| pool.id),
        gateway_ip: None,
        allocation_pools: None,
        enable_dhcp: true,
    };
    wait(neutron().create(&new, &Filter::new())).unwrap();
    network.id
}

/// Ports that are there before the containers that use them, with addresses 100 and so on.
fn theirs_on(range: &str, count: usize) -> Vec<Port> {
    let subnets = list::<Subnet>();
    let first = subnets
        .iter()
        .find(|it| it.cidr.to_string() == range)
        .unwrap();
    let network = first.network_id;
    let of_network = subnets.iter().filter(|it| it.network_id == network);
    let of_network: Vec<&Subnet> = of_network.collect();
    let make = |number: usize| {
        let fixed_ips = of_network.iter().map(|subnet| {
            let prefix = subnet
                .cidr
                .to_string()
                .replace("0/24", "")
                .replace("/64", "");
            WantedIp {
                subnet_id: subnet.id,
                ip_address: Some(format!("{prefix}10{number}").parse().unwrap()),
            }
        });
        let new = NewPort {
            name: format!("theirs-{number}"),
            network_id: Some(network),
            fixed_ips: Some(fixed_ips.collect()),
            admin_state_up: true,
            ..NewPort::default()
        };
        wait(neutron().create(&new, &Filter::new())).unwrap()
    };
    (0..count).map(make).collect()
}
