//! Linux bridges: finds, makes and removes them. Blocking.

use std::fs;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo,
};

use super::link::{
    EADDRNOTAVAIL, EEXIST, ENODEV, by_index, find, flagged, list, named, open, refusal,
};
use super::{KernelError, Netlink};
use crate::{Bridge, Error, IfName};

/// Makes `bridge` exist as it is described, whatever was there of it.
pub(crate) fn ensure(bridge: &Bridge) -> Result<(), Error> {
    let name = &bridge.name;
    let mut kernel = open(name)?;
    match kernel.ask(create(bridge), NLM_F_CREATE | NLM_F_EXCL) {
        Ok(_) => {}
        Err(error) if error.is(EEXIST) => {}
        Err(error) => return Err(refusal("create", name)(error)),
    }
    let found = find(&mut kernel, name)?;
    let link = found.ok_or_else(|| Error::NotPlugged {
        interface: name.clone(),
    })?;
    // A bridge that has just been made has no alias yet.
    if link.kind != "bridge" || !(link.alias.is_empty() || link.alias == bridge.alias) {
        return Err(Error::NameTaken {
            interface: name.clone(),
            wanted: "bridge",
            kind: match link.alias.as_str() {
                "" => format!("of kind {}", link.kind),
                alias => format!("{:?}", alias),
            },
        });
    }
    configure_ip(bridge);
    let mut change = flagged(name, LinkFlags::Up, LinkFlags::Up);
    change.attributes = described(bridge);
    change
        .attributes
        .push(LinkAttribute::IfAlias(bridge.alias.clone()));
    kernel
        .ask(Message::SetLink(change), 0)
        .map_err(refusal("bring up", name))?;
    ensure_addresses(&mut kernel, bridge, link.index).map_err(refusal("give its address to", name))
}

/// Deletes the bridge; its ports stay, wired into nothing.
pub(crate) fn remove(name: &IfName) -> Result<(), Error> {
    let mut kernel = open(name)?;
    let Some(link) = find(&mut kernel, name)? else {
        return Ok(());
    };
    if link.kind != "bridge" {
        return Err(Error::NameTaken {
            interface: name.clone(),
            wanted: "bridge",
            kind: format!("of kind {}", link.kind),
        });
    }
    match kernel.ask(Message::DelLink(by_index(link.index)), 0) {
        Err(error) if error.is(ENODEV) => Ok(()),
        outcome => outcome.map(drop).map_err(refusal("delete", name)),
    }
}

/// The bridges whose alias begins with `prefix`, with what follows it.
pub(crate) fn marked(prefix: &str) -> Result<Vec<(IfName, String)>, KernelError> {
    let bridges = list(&mut Netlink::route()?, InfoKind::Bridge)?;
    let ours = bridges.into_iter().filter_map(|link| {
        let rest = link.alias.strip_prefix(prefix)?.to_owned();
        Some((link.name.parse().ok()?, rest))
    });
    Ok(ours.collect())
}

fn create(bridge: &Bridge) -> Message {
    let mut link = named(&bridge.name);
    link.attributes.extend(described(bridge));
    Message::NewLink(link)
}

/// Bridged frames pass the host's packet filter: that is where security groups are.
fn described(bridge: &Bridge) -> Vec<LinkAttribute> {
    vec![
        LinkAttribute::IfName(bridge.name.to_string()),
        LinkAttribute::Address(bridge.mac.octets().to_vec()),
        LinkAttribute::Mtu(bridge.mtu),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(vec![
                InfoBridge::NfCallIpTables(true),
                InfoBridge::NfCallIp6Tables(true),
            ])),
        ]),
    ]
}

/// Only `/proc` can set these for one interface. Where IPv6 is off altogether, its switches are absent.
fn configure_ip(bridge: &Bridge) {
    let ipv6 = bridge
        .addresses
        .iter()
        .any(|net| matches!(net, IpNet::V6(_)));
    let off = if ipv6 { "0" } else { "1" };
    for (switch, value) in [
        // The gateway is a router: it takes no advertisements, and its address is nobody else's.
        ("ipv6/conf/{}/accept_ra", "0"),
        ("ipv6/conf/{}/accept_dad", "0"),
        ("ipv6/conf/{}/disable_ipv6", off),
        // Published ports are reached from the host by 127.0.0.1, too.
        ("ipv4/conf/{}/route_localnet", "1"),
        ("ipv4/conf/{}/forwarding", "1"),
    ] {
        let path = format!(
            "/proc/sys/net/{}",
            switch.replace("{}", bridge.name.as_str())
        );
        if let Err(error) = fs::write(&path, value) {
            tracing::debug!(path, %error, "stays as it is");
        }
    }
}

fn ensure_addresses(kernel: &mut Netlink, bridge: &Bridge, index: u32) -> Result<(), KernelError> {
    let has = addresses(kernel, index)?;
    for extra in has.iter().filter(|net| !bridge.addresses.contains(net)) {
        match kernel.ask(Message::DelAddress(address(*extra, index)), 0) {
            Err(error) if error.is(EADDRNOTAVAIL) => {}
            outcome => drop(outcome?),
        }
    }
    for lacking in bridge.addresses.iter().filter(|net| !has.contains(net)) {
        let message = Message::NewAddress(address(*lacking, index));
        kernel.ask(message, NLM_F_CREATE | NLM_F_REPLACE)?;
    }
    Ok(())
}

/// The addresses of an interface that others than its neighbours may use.
fn addresses(kernel: &mut Netlink, index: u32) -> Result<Vec<IpNet>, KernelError> {
    let said = kernel.ask(Message::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
    let mut found = Vec::new();
    for message in said {
        let Message::NewAddress(AddressMessage {
            header, attributes, ..
        }) = message
        else {
            continue;
        };
        if header.index != index || header.scope != AddressScope::Universe {
            continue;
        }
        let local = attributes.iter().find_map(|attribute| {
            let AddressAttribute::Local(ip) = attribute else {
                return None;
            };
            Some(*ip)
        });
        // IPv6 has no other end, and so no local one.
        let ip = local.or_else(|| {
            attributes.iter().find_map(|attribute| {
                let AddressAttribute::Address(ip) = attribute else {
                    return None;
                };
                Some(*ip)
            })
        });
        found.extend(ip.and_then(|ip| IpNet::new(ip, header.prefix_len).ok()));
    }
    Ok(found)
}

fn address(net: IpNet, index: u32) -> AddressMessage {
    let ip = net.addr();
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: match ip {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        },
        prefix_len: net.prefix_len(),
        scope: AddressScope::Universe,
        index,
        ..AddressHeader::default()
    };
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    match net {
        IpNet::V4(net) => message
            .attributes
            .push(AddressAttribute::Broadcast(net.broadcast())),
        IpNet::V6(_) => message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    message
}
