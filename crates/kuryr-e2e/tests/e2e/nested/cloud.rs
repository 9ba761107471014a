//! What the tests of virtual machines have in Neutron.

use neutron_api::{
    AddressPair, IpVersion, Network, NetworkId, NewNetwork, NewPort, NewSubnet, NewTrunk, Port,
    SecurityGroup, SecurityGroupId, Subport, Trunk,
};
use neutron_client::Filter;

use super::{HOSTS, MACHINES, PATIENCE, on_both};
use crate::guest::Guest;
use crate::lab::{mend, on, until, within};
use crate::traces::{Traces, list, neutron, wait};

/// Two machines' ports on a network of theirs, and the networks of their containers.
pub(super) struct Cloud {
    before: [Traces; 2],
    pub(super) network: NetworkId,
    mtu: u32,
    pub(super) group: SecurityGroupId,
    pub(super) ports: [Port; 2],
    tenants: Vec<NetworkId>,
}

impl Cloud {
    pub(super) fn begin() -> Self {
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

    pub(super) fn trunks(&self) -> [Trunk; 2] {
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
    pub(super) fn network(&mut self, project: &str, range: &str) -> NetworkId {
        let create =
            format!("openstack network create -f value -c id --project {project} tenant-{project}");
        let id = on("host1", &create).expect("openstack network create");
        let id = id.parse().unwrap();
        subnet(id, range);
        self.tenants.push(id);
        id
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = String> {
        self.ports
            .iter()
            .map(|port| port.fixed_ips[0].ip_address.to_string())
    }

    /// A port of somebody's that has the VLAN id which another's had.
    pub(super) fn take_vlan_of(&self, trunk: &Trunk, port: &Port) -> Port {
        let now = wait(neutron().find::<Trunk>(trunk.id)).unwrap().unwrap();
        let its = |subport: &&Subport| subport.port_id == port.id;
        let vlan = now.sub_ports.iter().find(its).unwrap().segmentation_id;
        let new = NewPort {
            name: "theirs".to_owned(),
            network_id: Some(self.network),
            admin_state_up: true,
            ..NewPort::default()
        };
        let theirs = wait(neutron().create(&new, &Filter::new())).unwrap();
        let subport = [Subport::tagged(theirs.id, vlan)];
        wait(neutron().remove_subports(trunk.id, &[port.id])).unwrap();
        wait(neutron().add_subports(trunk.id, &subport)).unwrap();
        theirs
    }

    pub(super) fn give_vlan_back(&self, trunk: &Trunk, theirs: &Port) {
        wait(neutron().remove_subports(trunk.id, &[theirs.id])).expect("it is still theirs");
        assert!(wait(neutron().delete::<Port>(theirs.id)).unwrap());
    }

    /// The machines, ready but for Kuryr.
    pub(super) fn boot(&self) -> [Guest; 2] {
        let guests = [0, 1].map(|machine| Guest::boot(HOSTS[machine], &self.ports[machine]));
        on_both(&guests, |machine, guest| {
            guest.settle(&self.ports[machine], self.mtu);
        });
        guests
    }

    pub(super) fn pairs(&self, machine: usize) -> Vec<AddressPair> {
        let port = wait(neutron().find::<Port>(self.ports[machine].id));
        port.unwrap().unwrap().allowed_address_pairs
    }

    /// Fails unless all that Kuryr has made is gone, and the rest can go.
    pub(super) fn end(self, guests: [Guest; 2]) {
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
        if std::thread::panicking() {
            mend();
        }
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
