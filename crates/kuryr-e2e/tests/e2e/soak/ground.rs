//! What is there whether containers are or not, and must not grow with what they have been through.

use std::collections::BTreeSet;

use neutron_api::{Port, SecurityGroup, Trunk};

use super::HOST;
use crate::lab::on;
use crate::traces::list;

/// What no endpoint has: of the host bridges, rules, ports of switches and interfaces; of Neutron what
/// Kuryr gives to ports that are not its own, and security groups.
#[derive(Debug)]
pub(super) struct Ground(BTreeSet<String>);

impl Ground {
    pub(super) fn now() -> Self {
        let mut all = BTreeSet::new();
        for (kind, command) in [
            (
                "bridge",
                "ip -o link show type bridge | awk -F': ' '{print $2}'",
            ),
            ("OVS bridge", "ovs-vsctl list-br"),
            ("OVS port", "ovs-vsctl --bare --columns=name list Port"),
            (
                "OVS interface",
                "ovs-vsctl --bare --columns=name list Interface",
            ),
            ("link", "ip -o link | awk -F': ' '{print $2}' | cut -d@ -f1"),
            ("nftables table", "nft -s list tables"),
            ("nftables line", "nft -s list ruleset"),
            (
                "tc filter",
                "tc filter show dev mgmt0; tc filter show dev tunnel0",
            ),
        ] {
            let said = on(HOST, command).expect(command);
            let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
            all.extend(lines.map(|line| format!("{kind} {line}")));
        }
        all.retain(|thing| !is_of_a_container(thing));
        let ports = list::<Port>();
        all.extend(ports.iter().flat_map(|port| {
            let pairs = port.allowed_address_pairs.iter();
            pairs.map(|pair| format!("address pair of port {}: {pair:?}", port.id))
        }));
        all.extend(list::<Trunk>().iter().flat_map(|trunk| {
            let subports = trunk.sub_ports.iter();
            subports.map(|subport| format!("subport of trunk {}: {subport:?}", trunk.id))
        }));
        let groups = list::<SecurityGroup>().into_iter();
        let lasting = groups.filter(|group| !group.name.ends_with("-exposed_ports"));
        all.extend(lasting.map(|group| format!("security group {} {}", group.id, group.name)));
        Self(all)
    }

    /// What is there now and was not, and the other way round; empty if all is the same.
    pub(super) fn difference(&self) -> String {
        let Self(now) = Self::now();
        let added = now.difference(&self.0).map(|thing| format!("+ {thing}\n"));
        let removed = self.0.difference(&now).map(|thing| format!("- {thing}\n"));
        added.chain(removed).collect()
    }
}

/// What the audit compares with the endpoints one by one; and what OVN has on a host with a network's
/// first port, and some time after its last.
fn is_of_a_container(thing: &str) -> bool {
    let name = thing.rsplit(' ').next().unwrap_or_default();
    name.starts_with("tap") || name.starts_with("t_c") || thing.contains("ovnmeta")
}
