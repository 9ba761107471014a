//! Containers in virtual machines of the cloud: two machines on two hosts, with a Docker and a Kuryr
//! in each.

mod cloud;

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use neutron_api::{AddressPair, MacAddress, Port, PortStatus, Subport, Trunk};

use crate::guest::Guest;
use crate::lab::{until, within};
use crate::traces::{list, neutron, port_at, wait};
use cloud::Cloud;

const PATIENCE: Duration = Duration::from_secs(60);
const HOSTS: [&str; 2] = ["host1", "host2"];
/// The machines' own network.
const MACHINES: &str = "10.30.0.0/24";
/// That of each tenant: what leaks from one to the other would be answered.
const TENANTS: &str = "10.20.0.0/24";

#[test]
#[ignore = "needs the lab: make test"]
fn subports_of_two_guests_reach_their_own_tenants_network_alone() {
    let mut cloud = Cloud::begin();
    let trunks = cloud.trunks();
    let tenants = [
        (
            "front",
            cloud.network("admin", TENANTS),
            ["10.20.0.11", "10.20.0.12"],
        ),
        (
            "back",
            cloud.network("demo", TENANTS),
            ["10.20.0.21", "10.20.0.22"],
        ),
    ];
    let guests = cloud.boot();
    let group = format!("-o neutron.port.security_groups={}", cloud.group);
    on_both(&guests, |machine, guest| {
        guest.start_kuryr("vlan", &["vlan"]);
        for (name, network, addresses) in &tenants {
            guest.network(name, *network, TENANTS, &group);
            guest.server(name, name, &format!("--ip {}", addresses[machine]));
        }
    });
    for (machine, trunk) in trunks.iter().enumerate() {
        let ports = tenants
            .each_ref()
            .map(|(_, _, addresses)| port_at(addresses[machine]));
        let trunk = wait(neutron().find::<Trunk>(trunk.id)).unwrap().unwrap();
        let vlan = |port: &Port| {
            let its = |subport: &&Subport| subport.port_id == port.id;
            trunk.sub_ports.iter().find(its).unwrap().segmentation_id
        };
        assert_eq!(trunk.sub_ports.len(), 2);
        assert_ne!(vlan(&ports[0]), vlan(&ports[1]));
        assert!(ports.iter().all(|port| port.status == PortStatus::Active));
    }
    let everywhere: Vec<String> = tenants
        .iter()
        .flat_map(|(_, _, addresses)| addresses.map(str::to_owned))
        .chain(cloud.addresses())
        .collect();
    on_both(&guests, |_, guest| {
        for (name, _, addresses) in &tenants {
            assert_served(guest, name, &everywhere, addresses);
        }
    });
    // Somebody takes a container's subport away, and its VLAN id for a port of theirs.
    let [front, _] = &tenants;
    let taken = cloud.take_vlan_of(&trunks[0], &port_at(front.2[0]));
    on_both(&guests, |_, guest| {
        guest
            .docker("update --restart always front back")
            .expect("docker update");
        guest.kill("kuryr dockerd");
        guest.start_kuryr("vlan", &["vlan"]);
        guest.has_running(2);
    });
    on_both(&guests, |_, guest| {
        for (name, _, addresses) in &tenants {
            assert_served(guest, name, &everywhere, addresses);
        }
    });
    cloud.give_vlan_back(&trunks[0], &taken);
    for (machine, trunk) in trunks.iter().enumerate() {
        let wanted = tenants
            .each_ref()
            .map(|(_, _, addresses)| port_at(addresses[machine]).id);
        within(PATIENCE, "each container has one subport", || {
            let trunk = wait(neutron().find::<Trunk>(trunk.id)).unwrap().unwrap();
            let has = trunk.sub_ports.iter().map(|subport| subport.port_id);
            has.collect::<BTreeSet<_>>() == BTreeSet::from(wanted)
        });
    }
    on_both(&guests, |_, guest| {
        guest.docker("rm -f front back").expect("docker rm");
        guest
            .docker("network rm front back")
            .expect("docker network rm");
    });
    within(PATIENCE, "no subport left", || {
        list::<Trunk>()
            .iter()
            .all(|trunk| trunk.sub_ports.is_empty())
    });
    cloud.end(guests);
}

#[test]
#[ignore = "needs the lab: make test"]
fn guests_let_their_containers_through_for_as_long_as_they_run() {
    let mut cloud = Cloud::begin();
    let guests = cloud.boot();
    on_both(&guests, |_, guest| {
        guest.start_kuryr("nested", &["ipvlan", "macvlan"]);
        guest.network("shared", cloud.network, MACHINES, "");
    });
    let macs = cloud.ports.each_ref().map(|port| port.mac_address);
    cloud.assert_let_through(&guests, ["", ""], macs);
    on_both(&guests, |_, guest| {
        guest
            .docker("network rm shared")
            .expect("docker network rm");
        let macvlan = "-o kuryr.driver=macvlan";
        guest.network("shared", cloud.network, MACHINES, macvlan);
    });
    let refused = guests[0].try_server("refused", "shared", "");
    let refused = refused.expect_failure("an interface with a MAC address of its own");
    assert!(refused.contains("InvalidVirtualMACAddress"), "{refused}");
    guests[0].docker("rm refused").expect("docker rm");
    // What OVN of 2026.1 takes: those that are for VRRP.
    let macs = ["00:00:5e:00:01:65", "00:00:5e:00:01:66"];
    let options = macs.map(|mac| format!("--mac-address {mac}"));
    let options = options.each_ref().map(String::as_str);
    cloud.assert_let_through(&guests, options, macs.map(|mac| mac.parse().unwrap()));
    on_both(&guests, |_, guest| {
        guest
            .docker("network rm shared")
            .expect("docker network rm");
    });
    routed(&mut cloud, &guests);
    cloud.end(guests);
}

/// The guests' own interfaces are where their containers' networks are routed to.
fn routed(cloud: &mut Cloud, guests: &[Guest; 2]) {
    let ranges = ["10.31.0.0/24", "10.32.0.0/24"];
    let networks = ranges.map(|range| cloud.network("admin", range));
    let addresses = ["10.31.0.11", "10.32.0.11"];
    let machines: Vec<String> = cloud.addresses().collect();
    on_both(guests, |machine, guest| {
        guest.kill("kuryr");
        guest.start_kuryr("nested", &["ipvlan_l3"]);
        let peer = 1 - machine;
        let route = format!("ip route add {} via {}", ranges[peer], machines[peer]);
        guest
            .run(&route)
            .expect("a route to the other's containers");
        guest.network("routed", networks[machine], ranges[machine], "");
        guest.server("routed", "routed", &format!("--ip {}", addresses[machine]));
        let wanted = AddressPair {
            ip_address: addresses[machine].to_owned(),
            mac_address: Some(cloud.ports[machine].mac_address),
        };
        assert_eq!(cloud.pairs(machine), [wanted]);
    });
    on_both(guests, |_, guest| {
        assert_served(guest, "routed", &addresses.map(str::to_owned), &addresses);
    });
    on_both(guests, |machine, guest| {
        guest.docker("rm -f routed").expect("docker rm");
        guest
            .docker("network rm routed")
            .expect("docker network rm");
        within(PATIENCE, "no address let through", || {
            cloud.pairs(machine).is_empty()
        });
    });
}

impl Cloud {
    /// Containers of both machines reach each other, and nobody else does by way of the machines'
    /// ports, which let them through for as long as they run.
    fn assert_let_through(&self, guests: &[Guest; 2], options: [&str; 2], macs: [MacAddress; 2]) {
        let addresses = ["10.30.0.101", "10.30.0.102"];
        on_both(guests, |machine, guest| {
            let options = format!("--ip {} {}", addresses[machine], options[machine]);
            guest.server("shared", "shared", &options);
        });
        for machine in [0, 1] {
            let wanted = AddressPair {
                ip_address: addresses[machine].to_owned(),
                mac_address: Some(macs[machine]),
            };
            assert_eq!(self.pairs(machine), [wanted]);
        }
        on_both(guests, |machine, guest| {
            let peer = addresses[1 - machine];
            assert_served(guest, "shared", &addresses.map(str::to_owned), &addresses);
            let other = format!("10.30.0.20{machine}");
            let others =
                format!("ip address add {other}/24 dev eth0 && ! ping -c 2 -W 2 -I {other} {peer}");
            guest
                .inside("shared", &others)
                .expect("no answer to an address that is not the container's");
        });
        on_both(guests, |_, guest| {
            guest.docker("rm -f shared").expect("docker rm");
        });
        for machine in [0, 1] {
            within(PATIENCE, "no address let through", || {
                self.pairs(machine).is_empty()
            });
        }
    }
}

/// Fails unless a container has these answers, its own among them, of all these addresses.
#[track_caller]
fn assert_served(guest: &Guest, container: &str, of: &[String], wanted: &[&str]) {
    let mut served = Vec::new();
    until(PATIENCE, || {
        served = guest.served(container, of);
        wanted.iter().all(|it| served.iter().any(|has| has == it))
    });
    assert_eq!(served, wanted, "what serves {container}");
}

/// Does the same on both machines, at the same time.
fn on_both(guests: &[Guest; 2], act: impl Fn(usize, &Guest) + Sync) {
    thread::scope(|scope| {
        let other = scope.spawn(|| act(1, &guests[1]));
        act(0, &guests[0]);
        if let Err(failure) = other.join() {
            resume_unwind(failure);
        }
    });
}
