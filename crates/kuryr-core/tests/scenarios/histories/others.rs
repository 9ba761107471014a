//! What is others': networks and ports that were there before, and are to stay as they are.

use kuryr_core::IpVersion;
use neutron_api::{Network, NewNetwork, NewPort, NewSubnet, PortId, Subnet, WantedIp};

use super::script::Kind;
use crate::world::World;

/// Hosts of the subnets of those networks, by what their ports are for.
pub(super) const PORT: usize = 150;
pub(super) const MACHINE: usize = 151;
const ELSEWHERE: usize = 152;

/// A network of somebody else's with what is on it.
pub(super) struct Others {
    pub(super) network: Network,
    subnets: Vec<Subnet>,
    /// The port that containers may use.
    pub(super) port: PortId,
    /// All ports, with what they were.
    ports: Vec<(PortId, serde_json::Value)>,
}

impl Others {
    /// Makes one, where a network of this kind needs it.
    pub(super) async fn make(world: &World, number: usize, kind: Kind) -> Option<Self> {
        let versions = match kind {
            Kind::Theirs => &[IpVersion::V4][..],
            Kind::TheirsOfBothFamilies => &[IpVersion::V4, IpVersion::V6],
            Kind::Subnet
            | Kind::BothFamilies
            | Kind::Part
            | Kind::Default
            | Kind::DefaultOfBothFamilies => return None,
        };
        let new = NewNetwork {
            name: format!("theirs-{number}"),
            description: String::new(),
            admin_state_up: true,
            shared: false,
        };
        let network = world.make(&new).await;
        let mut subnets = Vec::new();
        for version in versions {
            let new = NewSubnet {
                name: "theirs".into(),
                description: String::new(),
                network_id: network.id,
                ip_version: *version,
                cidr: Some(cidr(number, *version).parse().unwrap()),
                subnetpool_id: None,
                gateway_ip: None,
                allocation_pools: None,
                enable_dhcp: true,
            };
            subnets.push(world.make(&new).await);
        }
        let at = |host: usize| {
            let wanted = subnets.iter().map(move |subnet| WantedIp {
                subnet_id: subnet.id,
                ip_address: subnet.cidr.hosts().nth(host - 1),
            });
            wanted.collect::<Vec<_>>()
        };
        let new = |host: usize, bound: &str, owner: &str, name: &str| NewPort {
            name: name.to_owned(),
            network_id: Some(network.id),
            fixed_ips: Some(at(host)),
            device_owner: owner.to_owned(),
            host_id: Some(bound.to_owned()),
            admin_state_up: true,
            ..NewPort::default()
        };
        let mut ports = Vec::new();
        for new in [
            new(PORT, "", "", "theirs"),
            new(MACHINE, "host1", "compute:nova", "machine"),
            new(ELSEWHERE, "host2", "compute:kuryr", "kuryr-unbound-port"),
        ] {
            let id = world.make(&new).await.id;
            ports.push((id, world.whole(id).await));
        }
        // It counts what has come onto it.
        let network = world.neutron.find::<Network>(network.id).await.unwrap();
        Some(Self {
            port: ports[0].0,
            network: network.unwrap(),
            subnets,
            ports,
        })
    }

    /// Fails unless all is as it was; but for the port, while a container may have it.
    pub(super) async fn check(&self, world: &World, may_use_port: bool) -> Result<(), String> {
        for (id, before) in &self.ports {
            let now = world.whole(*id).await;
            if now != *before && !(may_use_port && *id == self.port) {
                return Err(format!("a port of others was {before} and is {now}"));
            }
        }
        let now = world
            .neutron
            .find::<Network>(self.network.id)
            .await
            .unwrap();
        if now.as_ref() != Some(&self.network) {
            return Err(format!(
                "a network of others was {:?} and is {now:?}",
                self.network
            ));
        }
        let subnets = world.all::<Subnet>().await;
        let lost = self.subnets.iter().find(|subnet| !subnets.contains(subnet));
        lost.map_or(Ok(()), |subnet| {
            Err(format!("a subnet of others has changed: {subnet:?}"))
        })
    }

    pub(super) fn has(&self, port: PortId) -> bool {
        self.ports.iter().any(|(id, _)| *id == port)
    }

    pub(super) async fn remove(&self, world: &World) {
        for (id, _) in &self.ports {
            world
                .neutron
                .delete::<neutron_api::Port>(*id)
                .await
                .unwrap();
        }
        world
            .neutron
            .delete::<Network>(self.network.id)
            .await
            .unwrap();
    }
}

/// The range of a network of this number.
pub(super) fn cidr(number: usize, version: IpVersion) -> String {
    match version {
        IpVersion::V4 => format!("10.2{number}.0.0/24"),
        IpVersion::V6 => format!("fd2{number}::/64"),
    }
}
