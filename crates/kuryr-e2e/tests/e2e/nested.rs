//! Containers in virtual machines of the cloud: two machines on two hosts, with a Docker and a Kuryr
//! in each.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use neutron_api::{
    AddressPair, IpVersion, MacAddress, Network, NetworkId, NewNetwork, NewPort, NewSubnet,
    NewTrunk, Port, PortStatus, SecurityGroup, SecurityGroupId, Subport, Trunk,
};
use neutron_client::Filter;

use crate::guest::Guest;
use crate::lab::{on, until, within};
use crate::traces::{Traces, list, neutron, port_at, wait};

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
    let cloud = Cloud::begin();
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
    cloud.end(guests);
}

/// Two machines' ports on a network of theirs, and the networks of their containers.
struct Cloud {
    before: [Traces; 2],
    network: NetworkId,
    mtu: u32,
    group: SecurityGroupId,
    ports: [Port; 2],
    tenants: Vec<NetworkId>,
}

impl Cloud {
    fn begin() -> Self {
        let before = HOSTS.map(Traces::now);
        let new = NewNetwork {
            name: "machines".to_owned(),
            admin_state_up: true,
            ..NewNetwork::default()
        };
        let network: Network = wait(neutron().create(&new, &Filter::new())).unwrap();
        subnet(network.id, MACHINES);
        let group = stateless_group();
        let ports = HOSTS.map(|host| {
            let new = NewPort {
                name: format!("guest-on-{host}"),
                network_id: Some(network.id),
                device_owner: "compute:nova".to_owned(),
                security_groups: Some(vec![group]),
                host_id: Some(host.to_owned()),
                admin_state_up: true,
                ..NewPort::default()
            };
            wait(neutron().create(&new, &Filter::new())).unwrap()
        });
        Self {
            before,
            network: network.id,
            mtu: network.mtu.unwrap(),
            group,
            ports,
            tenants: Vec::new(),
        }
    }

    fn trunks(&self) -> [Trunk; 2] {
        self.ports.each_ref().map(|port| {
            let new = NewTrunk {
                name: port.name.clone(),
                port_id: port.id,
                sub_ports: vec![],
            };
            wait(neutron().create(&new, &Filter::new())).unwrap()
        })
    }

    /// A network of a project's.
    fn network(&mut self, project: &str, range: &str) -> NetworkId {
        let create =
            format!("openstack network create -f value -c id --project {project} tenant-{project}");
        let id = on("host1", &create).expect("openstack network create");
        let id = id.parse().unwrap();
        subnet(id, range);
        self.tenants.push(id);
        id
    }

    fn addresses(&self) -> impl Iterator<Item = String> {
        self.ports
            .iter()
            .map(|port| port.fixed_ips[0].ip_address.to_string())
    }

    /// The machines, ready but for Kuryr.
    fn boot(&self) -> [Guest; 2] {
        let guests = [0, 1].map(|machine| Guest::boot(HOSTS[machine], &self.ports[machine]));
        on_both(&guests, |machine, guest| {
            guest.settle(&self.ports[machine], self.mtu);
        });
        guests
    }

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

    fn pairs(&self, machine: usize) -> Vec<AddressPair> {
        let port = wait(neutron().find::<Port>(self.ports[machine].id));
        port.unwrap().unwrap().allowed_address_pairs
    }

    /// Fails unless all that Kuryr has made is gone, and the rest can go.
    fn end(self, guests: [Guest; 2]) {
        let own = self.ports.each_ref().map(|port| port.id);
        let is_left = |port: &&Port| {
            (self.tenants.contains(&port.network_id) || self.network == port.network_id)
                && !port.device_owner.starts_with("network:")
                && !own.contains(&port.id)
        };
        within(PATIENCE, "no port of a container left", || {
            list::<Port>().iter().find(is_left).is_none()
        });
        drop(guests);
        self.clear();
        let mut left = String::new();
        let is_clean = until(PATIENCE, || {
            let now = HOSTS.map(Traces::now);
            let differences = self
                .before
                .iter()
                .zip(&now)
                .map(|(before, now)| before.difference(now));
            left = differences.collect();
            left.is_empty()
        });
        assert!(is_clean, "left behind:\n{left}");
    }

    fn clear(&self) {
        let own = self.ports.each_ref().map(|port| port.id);
        for trunk in list::<Trunk>()
            .iter()
            .filter(|trunk| own.contains(&trunk.port_id))
        {
            let _ = wait(neutron().delete::<Trunk>(trunk.id));
        }
        for network in self.tenants.iter().chain([&self.network]) {
            for port in list::<Port>()
                .iter()
                .filter(|port| port.network_id == *network)
            {
                let _ = wait(neutron().delete::<Port>(port.id));
            }
            let _ = wait(neutron().delete::<Network>(*network));
        }
        let _ = wait(neutron().delete::<SecurityGroup>(self.group));
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.clear();
    }
}

/// One that lets everything in, without connection tracking: of that, ovs-vswitchd 3.1.0 dies in its
/// userspace (see docs/upgrading-from-python.md).
fn stateless_group() -> SecurityGroupId {
    let create = "id=$(openstack security group create --stateless -f value -c id guests) && \
         openstack security group rule create --ingress --ethertype IPv4 --protocol any $id >/dev/null && \
         echo $id";
    let id = on("host1", create).expect("a security group");
    id.parse().unwrap()
}

fn subnet(network: NetworkId, range: &str) {
    let new = NewSubnet {
        name: String::new(),
        description: String::new(),
        network_id: network,
        ip_version: IpVersion::V4,
        cidr: Some(range.parse().unwrap()),
        subnetpool_id: None,
        gateway_ip: None,
        allocation_pools: None,
        enable_dhcp: false,
    };
    wait(neutron().create(&new, &Filter::new())).unwrap();
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
