//! Subnets.

use std::net::IpAddr;

use ipnet::IpNet;
use neutron_api::{AllocationPool, HostRoute, IpVersion, NetworkId, SubnetId, SubnetPoolId};
use serde::Serialize;

use crate::address::{contains, default_pools, is_within, next, overlap, version, width};
use crate::body::{Attribute, Body, fixed, settable, shown};
use crate::cloud::Cloud;
use crate::network::Network;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::store::Common;
use crate::subnet_pool::SubnetPool;

/// A subnet as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
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

/// Where a new subnet's range comes from, and what goes with it.
struct Range {
    cidr: IpNet,
    gateway_ip: Option<IpAddr>,
    subnetpool_id: Option<SubnetPoolId>,
}

impl Resource for Subnet {
    const ONE: &'static str = "subnet";
    const MANY: &'static str = "subnets";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description"),
        fixed("project_id"),
        fixed("tenant_id"),
        fixed("network_id"),
        fixed("ip_version"),
        fixed("cidr"),
        fixed("prefixlen").unfiltered(),
        fixed("subnetpool_id"),
        fixed("use_default_subnetpool")
            .of("default-subnetpools")
            .unfiltered(),
        settable("gateway_ip"),
        settable("allocation_pools").unfiltered(),
        settable("host_routes").unfiltered(),
        settable("dns_nameservers").unfiltered(),
        settable("enable_dhcp"),
        fixed("ipv6_ra_mode"),
        fixed("ipv6_address_mode"),
        shown("tags").of("standard-attr-tag"),
        shown("revision_number").of("standard-attr-revisions"),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Subnet {id} could not be found.");
        Refusal::not_found("SubnetNotFound", message)
    }

    fn create(cloud: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        let network_id: NetworkId = body.need("network_id")?;
        let ip_version: IpVersion = body.need("ip_version")?;
        let pools: Option<Vec<AllocationPool>> = body.take("allocation_pools")?;
        let range = range(cloud, &mut body, ip_version, pools.is_some())?;
        let Range {
            cidr,
            gateway_ip,
            subnetpool_id,
        } = range;
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
        let network: Network = cloud
            .store
            .find(network_id)
            .cloned()
            .ok_or_else(|| Network::missing(&network_id.to_string()))?;
        let subnet = subnet.checked()?;
        subnet.check_neighbours(cloud)?;
        // A subnet more is a change of the network.
        let mut network = network;
        network.common.revision_number += 1;
        cloud.store.insert(network);
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

    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal> {
        let used = |port: &&Port| !port.goes_with_network();
        if cloud.store.ports_in(self.id()).any(|port| used(&port)) {
            let message = format!(
                "Unable to complete operation on subnet {}: One or more ports have an IP \
                 allocation from this subnet.",
                self.common.id
            );
            return Err(Refusal::conflict("SubnetInUse", message));
        }
        let mut ports: Vec<Port> = cloud.store.ports_in(self.id()).cloned().collect();
        for port in &mut ports {
            port.fixed_ips.retain(|ip| ip.subnet_id != self.id());
            cloud.store.replace(port.clone());
        }
        Ok(())
    }
}

impl Subnet {
    fn checked(self) -> Result<Self, Refusal> {
        self.check_dhcp()?;
        self.check_gateway()?;
        self.check_pools()?;
        let wrong = |address: &IpAddr| IpVersion::of(*address) != self.ip_version;
        if let Some(route) = self
            .host_routes
            .iter()
            .find(|route| wrong(&route.nexthop) || version(route.destination) != self.ip_version)
        {
            let (hop, version) = (route.nexthop, u8::from(self.ip_version));
            return Err(Refusal::input(format_args!(
                "nexthop '{hop}' does not match the ip_version '{version}'"
            )));
        }
        if let Some(server) = self.dns_nameservers.iter().find(|server| wrong(server)) {
            let version = u8::from(self.ip_version);
            return Err(Refusal::input(format_args!(
                "dns_nameserver '{server}' does not match the ip_version '{version}'"
            )));
        }
        Ok(self)
    }

    fn check_gateway(&self) -> Result<(), Refusal> {
        let Some(gateway) = self.gateway_ip else {
            return Ok(());
        };
        let version = u8::from(self.ip_version);
        if IpVersion::of(gateway) != self.ip_version {
            return Err(Refusal::input(format_args!(
                "gateway_ip '{gateway}' does not match the ip_version '{version}'"
            )));
        }
        let ends = [self.cidr.network(), self.cidr.broadcast()];
        if self.ip_version == IpVersion::V4 && ends.contains(&gateway) {
            return Err(Refusal::input("Gateway is not valid on subnet"));
        }
        let mut pools = self.allocation_pools.iter();
        match pools.find(|pool| contains(**pool, gateway)) {
            // A subnet of one address has it as its pool, gateway or not.
            Some(pool) if self.cidr.prefix_len() < width(self.ip_version) => {
                let message = format!(
                    "Gateway ip {gateway} conflicts with allocation pool {}-{}.",
                    pool.start, pool.end
                );
                Err(Refusal::conflict(
                    "GatewayConflictWithAllocationPools",
                    message,
                ))
            }
            _ => Ok(()),
        }
    }

    fn check_dhcp(&self) -> Result<(), Refusal> {
        if self.cidr.prefix_len() == 0 {
            return Err(Refusal::input("0 is not allowed as CIDR prefix length"));
        }
        // A DHCP server and a client need an address each.
        if self.enable_dhcp && self.cidr.prefix_len() > width(self.ip_version) - 2 {
            return Err(Refusal::input(
                "Subnet has a prefix length that is incompatible with DHCP service enabled",
            ));
        }
        Ok(())
    }

    fn check_pools(&self) -> Result<(), Refusal> {
        let text = |pool: &AllocationPool| format!("{}-{}", pool.start, pool.end);
        for (index, pool) in self.allocation_pools.iter().enumerate() {
            let versions = [IpVersion::of(pool.start), IpVersion::of(pool.end)];
            if versions != [self.ip_version; 2] || pool.start > pool.end {
                let message = format!("The allocation pool {} is not valid.", text(pool));
                return Err(Refusal::invalid("InvalidAllocationPool", message));
            }
            if !is_within(*pool, self.cidr) {
                let message = format!(
                    "The allocation pool {} spans beyond the subnet cidr {}.",
                    text(pool),
                    self.cidr
                );
                return Err(Refusal::invalid("OutOfBoundsAllocationPool", message));
            }
            let mut earlier = self.allocation_pools.iter().take(index);
            let meets =
                |other: &&AllocationPool| other.start <= pool.end && pool.start <= other.end;
            if let Some(other) = earlier.find(meets) {
                let message = format!(
                    "Found overlapping allocation pools: {} {} for subnet {}.",
                    text(other),
                    text(pool),
                    self.cidr
                );
                return Err(Refusal::conflict("OverlappingAllocationPools", message));
            }
        }
        Ok(())
    }

    /// The other subnets of the network must be elsewhere, and of the same pool.
    fn check_neighbours(&self, cloud: &Cloud) -> Result<(), Refusal> {
        for other in cloud.store.subnets_on(self.network_id) {
            if overlap(other.cidr, self.cidr) {
                return Err(Refusal::input(format_args!(
                    "Requested subnet with cidr: {} for network: {} overlaps with another subnet",
                    self.cidr, self.network_id
                )));
            }
            if other.ip_version == self.ip_version && other.subnetpool_id != self.subnetpool_id {
                let message = "Subnets hosted on the same network must be allocated from the same subnet pool.";
                return Err(Refusal::invalid("NetworkSubnetPoolAffinityError", message));
            }
        }
        Ok(())
    }
}

fn range(
    cloud: &Cloud,
    body: &mut Body,
    ip_version: IpVersion,
    has_pools: bool,
) -> Result<Range, Refusal> {
    let cidr: Option<IpNet> = body.or("cidr", None)?.map(|cidr: IpNet| cidr.trunc());
    let length: Option<u8> = body.or("prefixlen", None)?;
    let gateway: Option<Option<IpAddr>> = body.take("gateway_ip")?;
    if cidr.is_some() && length.is_some() {
        return Err(bad("cidr and prefixlen must not be supplied together"));
    }
    if let Some(cidr) = cidr.filter(|cidr| version(*cidr) != ip_version) {
        let version = u8::from(ip_version);
        return Err(Refusal::input(format_args!(
            "cidr '{cidr}' does not match the ip_version '{version}'"
        )));
    }
    let pool = pool(cloud, body, ip_version)?;
    let (cidr, from_any) = match (pool, cidr, gateway.flatten()) {
        (None, None, _) => {
            return Err(bad(
                "a subnetpool must be specified in the absence of a cidr",
            ));
        }
        (Some(_), None, _) if has_pools => {
            return Err(bad(
                "allocation_pools allowed only for specific subnet requests.",
            ));
        }
        (None, Some(cidr), _) => (cidr, false),
        (Some(pool), Some(cidr), _) => {
            pool.check_range(cloud, cidr)?;
            (cidr, false)
        }
        (Some(pool), None, Some(gateway)) => (pool.range_around(cloud, gateway, length)?, false),
        (Some(pool), None, None) => (pool.any_range(cloud, length)?, true),
    };
    let gateway_ip = gateway.unwrap_or_else(|| match ip_version {
        // Neutron makes the routers' anycast address (RFC 4291, 2.6.1) the gateway.
        IpVersion::V6 if !from_any => Some(cidr.network()),
        IpVersion::V4 | IpVersion::V6 => Some(next(cidr.network())),
    });
    Ok(Range {
        cidr,
        gateway_ip,
        subnetpool_id: pool.map(SubnetPool::id),
    })
}

fn pool<'a>(
    cloud: &'a Cloud,
    body: &mut Body,
    ip_version: IpVersion,
) -> Result<Option<&'a SubnetPool>, Refusal> {
    let id: Option<SubnetPoolId> = body.or("subnetpool_id", None)?;
    let wants_default = body.flag("use_default_subnetpool")?.unwrap_or(false);
    let pool = match id {
        Some(_) if wants_default => {
            return Err(bad(
                "subnetpool_id and use_default_subnetpool cannot both be specified",
            ));
        }
        Some(id) => cloud
            .store
            .find(id)
            .ok_or_else(|| SubnetPool::missing(&id.to_string()))?,
        None if wants_default => cloud
            .store
            .all::<SubnetPool>()
            .find(|pool| pool.is_default && pool.ip_version == ip_version)
            .ok_or_else(|| bad(&format!("No default subnetpool found for {ip_version}")))?,
        None => return Ok(None),
    };
    if pool.ip_version != ip_version {
        let reason = format!(
            "Cannot allocate {ip_version} subnet from {} subnet pool",
            pool.ip_version
        );
        return Err(bad(&reason));
    }
    Ok(Some(pool))
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
            "Invalid input for {name}. Reason: '{other}' is not in ['dhcpv6-stateful', \
             'dhcpv6-stateless', 'slaac', None]."
        ))),
    }
}

fn bad(reason: &str) -> Refusal {
    Refusal::invalid("BadRequest", format!("Bad subnets request: {reason}."))
}
