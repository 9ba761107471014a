//! Subnets: what they are. Where their ranges come from: `range`; what they must be like: `check`.

mod check;
mod range;

use std::net::IpAddr;

use ipnet::IpNet;
use neutron_api::{AllocationPool, HostRoute, IpVersion, NetworkId, SubnetId, SubnetPoolId};
use serde::{Deserialize, Serialize};

use crate::address::default_pools;
use crate::body::{Attribute, Body, fixed, moment, settable, shown};
use crate::cloud::Cloud;
use crate::network::Network;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::store::{Common, Key};
use range::Range;

/// A subnet as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Subnet {
    #[serde(flatten)]
    pub(crate) common: Common,
    pub(crate) network_id: NetworkId,
    ip_version: IpVersion,
    pub(crate) cidr: IpNet,
    gateway_ip: Option<IpAddr>,
    pub(crate) allocation_pools: Vec<AllocationPool>,
    host_routes: Vec<HostRoute>,
    dns_nameservers: Vec<IpAddr>,
    enable_dhcp: bool,
    pub(crate) subnetpool_id: Option<SubnetPoolId>,
    ipv6_ra_mode: Option<String>,
    ipv6_address_mode: Option<String>,
}

impl Subnet {
    pub(crate) fn id(&self) -> SubnetId {
        self.common.id.into()
    }

    pub(crate) fn looked_up_by(&self) -> Vec<Key> {
        let pool = self.subnetpool_id.map(Key::RangeFrom);
        [Key::SubnetOn(self.network_id)]
            .into_iter()
            .chain(pool)
            .collect()
    }

    /// As clients read it.
    pub(crate) fn shown(&self) -> neutron_api::Subnet {
        neutron_api::Subnet {
            id: self.id(),
            name: self.common.name.clone(),
            network_id: self.network_id,
            project_id: self.common.project_id.clone(),
            cidr: self.cidr,
            gateway_ip: self.gateway_ip,
            enable_dhcp: self.enable_dhcp,
            host_routes: self.host_routes.clone(),
            allocation_pools: self.allocation_pools.clone(),
            subnetpool_id: self.subnetpool_id,
            tags: self.common.tags.iter().cloned().collect(),
            revision_number: Some(self.common.revision_number),
        }
    }

    /// All its addresses.
    pub(crate) fn everything(&self) -> AllocationPool {
        AllocationPool {
            start: self.cidr.network(),
            end: self.cidr.broadcast(),
        }
    }

    pub(crate) fn version(&self) -> IpVersion {
        self.ip_version
    }

    /// Whether hosts give themselves their addresses.
    pub(crate) fn is_self_assigned(&self) -> bool {
        let mode = self.ipv6_address_mode.as_deref();
        matches!(mode, Some("slaac" | "dhcpv6-stateless"))
    }

    /// Whether a port may have this address; the ends of an IPv4 range are not for ports.
    pub(crate) fn takes(&self, address: IpAddr) -> bool {
        let is_end = match self.ip_version {
            IpVersion::V4 => [self.cidr.network(), self.cidr.broadcast()].contains(&address),
            IpVersion::V6 => self.cidr.network() == address,
        };
        self.cidr.contains(&address) && !is_end
    }
}

impl Resource for Subnet {
    const ONE: &'static str = "subnet";
    const MANY: &'static str = "subnets";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description").unsorted(),
        fixed("project_id"),
        fixed("tenant_id"),
        fixed("network_id"),
        fixed("ip_version").number(),
        fixed("cidr"),
        fixed("prefixlen").unfiltered().unsorted(),
        fixed("subnetpool_id"),
        fixed("use_default_subnetpool")
            .of("default-subnetpools")
            .unfiltered()
            .unsorted(),
        settable("gateway_ip"),
        settable("allocation_pools").unfiltered().unsorted(),
        settable("host_routes").unfiltered().unsorted(),
        settable("dns_nameservers").unfiltered().unsorted(),
        settable("enable_dhcp").truth(),
        fixed("ipv6_ra_mode"),
        fixed("ipv6_address_mode"),
        shown("tags").of("standard-attr-tag").unsorted(),
        moment("created_at"),
        moment("updated_at"),
        shown("revision_number")
            .of("standard-attr-revisions")
            .number()
            .unsorted(),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Subnet {id} could not be found.");
        Refusal::not_found("SubnetNotFound", message)
    }

    fn create(cloud: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        let network_id: NetworkId = body.need("network_id")?;
        let ip_version = ip_version(&mut body)?;
        let pools: Option<Vec<AllocationPool>> = body.take("allocation_pools")?;
        let Range {
            cidr,
            gateway_ip,
            subnetpool_id,
        } = range::choose(
            cloud,
            &mut body,
            (network_id, &common.project_id),
            ip_version,
            pools.is_some(),
        )?;
        let subnet = Self {
            common,
            network_id,
            ip_version,
            cidr,
            gateway_ip,
            allocation_pools: pools
                .filter(|pools| !pools.is_empty())
                .unwrap_or_else(|| default_pools(cidr, gateway_ip)),
            host_routes: body.or("host_routes", None)?.unwrap_or_default(),
            dns_nameservers: body.or("dns_nameservers", None)?.unwrap_or_default(),
            enable_dhcp: body.flag("enable_dhcp")?.unwrap_or(true),
            subnetpool_id,
            ipv6_ra_mode: mode(&mut body, "ipv6_ra_mode", ip_version)?,
            ipv6_address_mode: mode(&mut body, "ipv6_address_mode", ip_version)?,
        };
        if cloud.store.find::<Network>(network_id).is_none() {
            return Err(Network::missing(&network_id.to_string()));
        }
        let subnet = subnet.checked()?;
        subnet.check_neighbours(cloud)?;
        // A subnet more is a change of the network.
        cloud.store.touch::<Network>(network_id);
        Ok(subnet)
    }

    fn update(self, _: &Cloud, mut body: Body) -> Result<Self, Refusal> {
        let subnet = Self {
            gateway_ip: body.or("gateway_ip", self.gateway_ip)?,
            allocation_pools: body.or("allocation_pools", self.allocation_pools)?,
            host_routes: body
                .or("host_routes", Some(self.host_routes))?
                .unwrap_or_default(),
            dns_nameservers: body
                .or("dns_nameservers", Some(self.dns_nameservers))?
                .unwrap_or_default(),
            enable_dhcp: body.flag("enable_dhcp")?.unwrap_or(self.enable_dhcp),
            ..self
        };
        subnet.checked()
    }

    fn key(attribute: &str, value: &str) -> Option<Key> {
        match attribute {
            "network_id" => value.parse().ok().map(Key::SubnetOn),
            "subnetpool_id" => value.parse().ok().map(Key::RangeFrom),
            _ => None,
        }
    }

    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal> {
        let used = |port: &&Port| !port.goes_with_network();
        if cloud.store.ports_in(self).iter().any(used) {
            let message = format!(
                "Unable to complete operation on subnet {}: One or more ports have an IP \
                 allocation from this subnet.",
                self.common.id
            );
            return Err(Refusal::conflict("SubnetInUse", message));
        }
        let ports = cloud.store.ports_in(self);
        let mut ports: Vec<Port> = ports.into_iter().cloned().collect();
        for port in &mut ports {
            port.fixed_ips.retain(|ip| ip.subnet_id != self.id());
            cloud.store.replace(port.clone());
        }
        Ok(())
    }
}

fn mode(body: &mut Body, name: &str, version: IpVersion) -> Result<Option<String>, Refusal> {
    let mode: Option<String> = body.or(name, None)?;
    match (mode.as_deref(), version) {
        (None, _) | (Some("slaac" | "dhcpv6-stateful" | "dhcpv6-stateless"), IpVersion::V6) => {
            Ok(mode)
        }
        (Some(_), IpVersion::V4) => Err(Refusal::input(format_args!(
            "{name} is not valid when ip_version is 4"
        ))),
        (Some(other), IpVersion::V6) => Err(Refusal::bad_request(format!(
            "Invalid input for {name}. Reason: {other} is not in valid_values."
        ))),
    }
}

fn ip_version(body: &mut Body) -> Result<IpVersion, Refusal> {
    let Some(number) = body.number::<i64>("ip_version")? else {
        return body.need("ip_version");
    };
    let version = u8::try_from(number).ok().map(IpVersion::try_from);
    version.and_then(Result::ok).ok_or_else(|| {
        Refusal::bad_request(format!(
            "Invalid input for ip_version. Reason: {number} is not in valid_values."
        ))
    })
}
