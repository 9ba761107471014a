//! Where a new subnet's range comes from.

use std::net::IpAddr;

use ipnet::IpNet;
use neutron_api::{IpVersion, NetworkId, SubnetPoolId};

use super::Subnet;
use crate::address::{next, overlap, version};
use crate::body::Body;
use crate::cloud::Cloud;
use crate::network::Network;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::subnet_pool::SubnetPool;

/// A new subnet's range, and what goes with it.
pub(super) struct Range {
    pub(super) cidr: IpNet,
    pub(super) gateway_ip: Option<IpAddr>,
    pub(super) subnetpool_id: Option<SubnetPoolId>,
}

/// The range that a request for a subnet asks for, or gets.
pub(super) fn choose(
    cloud: &Cloud,
    body: &mut Body,
    (network, project): (NetworkId, &str),
    ip_version: IpVersion,
    has_pools: bool,
) -> Result<Range, Refusal> {
    let cidr = body.or::<Option<String>>("cidr", None)?;
    let cidr = cidr.as_deref().map(parsed).transpose()?;
    let length: Option<u8> = body.number("prefixlen")?;
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
        (None, Some(cidr), _) => {
            check_use(cloud, cidr, network)?;
            (cidr, false)
        }
        (Some(pool), Some(cidr), _) => {
            pool.check_range(cloud, cidr)?;
            check_use(cloud, cidr, network)?;
            (cidr, false)
        }
        (Some(pool), None, Some(gateway)) => {
            let cidr = pool.range_around(cloud, gateway, length)?;
            check_use(cloud, cidr, network)?;
            (cidr, false)
        }
        (Some(pool), None, None) => (pool.any_range(cloud, length)?, true),
    };
    if let Some(pool) = pool {
        pool.check_quota(cloud, cidr, project)?;
    }
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

/// A range as users write them: an address alone is one, too.
fn parsed(text: &str) -> Result<IpNet, Refusal> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let range = text.parse().ok().or_else(address);
    range
        .map(|range: IpNet| range.trunc())
        .ok_or_else(|| Refusal::input(format_args!("{text} is not in a CIDR format")))
}

/// Where all networks share one routing table, a range leads to one of them, and to nothing else.
fn check_use(cloud: &Cloud, cidr: IpNet, network: NetworkId) -> Result<(), Refusal> {
    if !cloud.settings.one_routing_table {
        return Ok(());
    }
    let address = cidr.network();
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() {
        return Err(bad(&format!(
            "{cidr} is not for hosts: choose another range"
        )));
    }
    let mut subnets = cloud.store.all::<Subnet>();
    let elsewhere = |subnet: &&Subnet| subnet.network_id != network && overlap(subnet.cidr, cidr);
    if let Some(other) = subnets.find(elsewhere) {
        let name = cloud.store.find::<Network>(other.network_id);
        let name = name.map_or("", |network| network.common.name.as_str());
        return Err(bad(&format!(
            "{cidr} overlaps with {} of network {name} ({}), and one host has one routing table: \
             choose another range",
            other.cidr, other.network_id
        )));
    }
    match cloud
        .ranges_in_use
        .iter()
        .find(|used| overlap(used.range, cidr))
    {
        None => Ok(()),
        Some(used) => Err(bad(&format!(
            "{cidr} overlaps with {}, which is in use by {}: choose another range",
            used.range, used.by
        ))),
    }
}

fn bad(reason: &str) -> Refusal {
    Refusal::invalid("BadRequest", format!("Bad subnets request: {reason}."))
}
