//! Which ranges this host reaches by which interface. Blocking.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType,
};

use super::link::all;
use super::{KernelError, Netlink};
use crate::HostRoute;

/// The routes of the main table but the default ones and those for neighbours only.
pub(crate) fn routes() -> Result<Vec<HostRoute>, KernelError> {
    let mut kernel = Netlink::route()?;
    let links = all(&mut kernel)?;
    let names: HashMap<u32, String> = links.into_iter().map(|l| (l.index, l.name)).collect();
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family;
        for message in kernel.ask(Message::GetRoute(wanted), NLM_F_DUMP)? {
            let Message::NewRoute(route) = message else {
                continue;
            };
            found.extend(read(&route, &names));
        }
    }
    Ok(found)
}

/// The interface that the default route goes by; of several, that of the first, IPv4 before IPv6.
pub(crate) fn default_interface() -> Result<Option<String>, KernelError> {
    let mut kernel = Netlink::route()?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family;
        for message in kernel.ask(Message::GetRoute(wanted), NLM_F_DUMP)? {
            let Message::NewRoute(route) = message else {
                continue;
            };
            let header = &route.header;
            let is_default = header.destination_prefix_length == 0
                && header.table == RouteHeader::RT_TABLE_MAIN
                && header.kind == RouteType::Unicast;
            if let Some(index) = is_default.then(|| interface(&route)).flatten() {
                let links = all(&mut kernel)?;
                let found = links.into_iter().find(|link| link.index == index);
                return Ok(found.map(|link| link.name));
            }
        }
    }
    Ok(None)
}

fn interface(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| {
        let RouteAttribute::Oif(index) = attribute else {
            return None;
        };
        Some(*index)
    })
}

fn read(route: &RouteMessage, names: &HashMap<u32, String>) -> Option<HostRoute> {
    let header = &route.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let destination = route.attributes.iter().find_map(|attribute| {
        let RouteAttribute::Destination(to) = attribute else {
            return None;
        };
        match to {
            RouteAddress::Inet(ip) => Some(IpAddr::from(*ip)),
            RouteAddress::Inet6(ip) => Some(IpAddr::from(*ip)),
            RouteAddress::Mpls(_) | RouteAddress::Other(_) | _ => None,
        }
    })?;
    let index = interface(route);
    let range = IpNet::new(destination, header.destination_prefix_length).ok()?;
    let for_neighbours = match destination {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast(),
    };
    (range.prefix_len() > 0 && !for_neighbours).then(|| HostRoute {
        range,
        interface: index.and_then(|index| names.get(&index).cloned()),
    })
}
