//! What a Neutron has, written down by hand: with identifiers that stay the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use neutron_agent::{AgentSettings, Bridges, Model};
use neutron_api::{Network, NetworkId, Port, PortId, SecurityGroup, SecurityGroupId, Subnet};
use neutron_embedded::{HostPort, HostPorts, Objects, Snapshot};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The host that ports are bound to.
pub(crate) const HOST: &str = "here";

/// A Neutron to be.
#[derive(Clone, Default)]
pub(crate) struct Cloud {
    pub(crate) snapshot: Snapshot,
}

/// An identifier: `number` shows in the names of interfaces.
fn id(kind: u16, number: u32) -> String {
    format!("{number:08x}-{kind:04x}-4000-8000-000000000000")
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn network_id(number: u32) -> NetworkId {
    read(json!(id(1, number)))
}

pub(crate) fn port_id(number: u32) -> PortId {
    read(json!(id(3, number)))
}

pub(crate) fn group_id(number: u32) -> SecurityGroupId {
    read(json!(id(4, number)))
}

fn put<I: Ord, T>(objects: &mut Objects<I, T>, id: I, object: T) {
    objects.insert_mut(id, Arc::new(object));
}

impl Cloud {
    /// A network with its subnets; the first address of each is the gateway.
    pub(crate) fn network(&mut self, number: u32, subnets: &[&str]) {
        let id_of_network = id(1, number);
        let network: Network = read(json!({"id": id_of_network, "mtu": 1500}));
        put(&mut self.snapshot.networks, network.id, network);
        for (index, cidr) in (0..).zip(subnets) {
            let range: ipnet::IpNet = cidr.parse().unwrap();
            let subnet: Subnet = read(json!({
                "id": id(2, number * 16 + index),
                "network_id": id_of_network,
                "cidr": range,
                "gateway_ip": range.hosts().find(|ip| *ip != range.network()).unwrap(),
            }));
            let subnets = self.snapshot.subnets.get(&subnet.network_id);
            let mut subnets = subnets.cloned().unwrap_or_default();
            Arc::make_mut(&mut subnets).push(Arc::new(subnet));
            self.snapshot
                .subnets
                .insert_mut(network_id(number), subnets);
        }
    }

    /// A network that nothing leads out of.
    pub(crate) fn without_gateway(&mut self, number: u32) {
        let mut subnets = self.snapshot.subnets[&network_id(number)].clone();
        for subnet in Arc::make_mut(&mut subnets) {
            Arc::make_mut(subnet).gateway_ip = None;
        }
        self.snapshot
            .subnets
            .insert_mut(network_id(number), subnets);
    }

    /// A security group; a rule is `ingress`, IPv4 and whatever protocol unless it says otherwise.
    pub(crate) fn group(&mut self, number: u32, rules: &[Value]) {
        let rules: Vec<Value> = (0..)
            .zip(rules)
            .map(|(index, rule)| {
                let mut whole = json!({
                    "id": id(5, number * 65_536 + index),
                    "security_group_id": id(4, number),
                    "direction": "ingress",
                    "ethertype": "IPv4",
                });
                let keys = rule.as_object().unwrap().clone();
                whole.as_object_mut().unwrap().extend(keys);
                whole
            })
            .collect();
        let group: SecurityGroup =
            read(json!({"id": id(4, number), "security_group_rules": rules}));
        put(&mut self.snapshot.security_groups, group.id, group);
    }

    /// A port that is bound here, with more of it in `more`.
    pub(crate) fn port(
        &mut self,
        number: u32,
        network: u32,
        ips: &[&str],
        groups: &[u32],
        more: &Value,
    ) {
        let groups: Vec<_> = groups.iter().map(|number| group_id(*number)).collect();
        let ips: Vec<_> = ips
            .iter()
            .map(|ip| json!({"subnet_id": id(2, network * 16), "ip_address": ip}))
            .collect();
        let mut whole = json!({
            "id": id(3, number),
            "network_id": id(1, network),
            "mac_address": mac(number),
            "fixed_ips": ips,
            "security_groups": groups,
            "admin_state_up": true,
            "binding:host_id": HOST,
            "binding:vif_type": "bridge",
            "port_security_enabled": true,
        });
        let keys = more.as_object().cloned().unwrap_or_default();
        whole.as_object_mut().unwrap().extend(keys);
        let port = on_host(read(whole));
        let networks = self.here();
        let mut ports = networks.get(&port.network_id).cloned().unwrap_or_default();
        let network = port.network_id;
        put(Arc::make_mut(&mut ports), port.id, port);
        networks.insert_mut(network, ports);
    }

    /// Takes a port away.
    pub(crate) fn without_port(&mut self, number: u32, network: u32) {
        let network = network_id(network);
        let networks = self.here();
        let mut ports = networks.get(&network).cloned().unwrap();
        Arc::make_mut(&mut ports).remove_mut(&port_id(number));
        networks.insert_mut(network, ports);
    }

    fn here(&mut self) -> &mut HostPorts {
        let hosts: &mut BTreeMap<String, HostPorts> = &mut self.snapshot.ports;
        hosts.entry(HOST.to_owned()).or_default()
    }

    /// What is to be on the host.
    pub(crate) fn model(&self, before: &Model) -> Model {
        let settings = AgentSettings::new(HOST);
        Model::of(&self.snapshot, &settings, &Bridges::default(), before).unwrap()
    }
}

/// What the agent sees of a port.
fn on_host(port: Port) -> HostPort {
    HostPort {
        id: port.id,
        network_id: port.network_id,
        mac_address: port.mac_address,
        addresses: port.fixed_ips.iter().map(|ip| ip.ip_address).collect(),
        is_bridged: port.vif_type.as_deref() == Some("bridge"),
        status: port.status,
        admin_state_up: port.admin_state_up,
        security_groups: port.security_groups,
        allowed_address_pairs: port.allowed_address_pairs,
        port_security_enabled: port.port_security_enabled.unwrap_or(true),
        binding_profile: port.binding_profile,
    }
}

/// The MAC address of a port.
pub(crate) fn mac(number: u32) -> String {
    format!("fa:16:3e:00:00:{number:02x}")
}

/// Rules for whatever leaves a port, of both versions.
pub(crate) fn all_egress() -> [Value; 2] {
    ["IPv4", "IPv6"].map(|version| json!({"direction": "egress", "ethertype": version}))
}
