//! Veth pairs: finds, makes and removes them. Blocking.

use std::fs;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
};

use super::link::{
    EAFNOSUPPORT, EINVAL, ENODEV, EOPNOTSUPP, by_index, find, flagged, list, named, open, refusal,
};
use super::shared::KINDS;
use super::{KernelError, Netlink, mark, offload};
use crate::{Attachment, Error, IfName, MacAddress, Vif, needs};

/// What this namespace has of a pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pair {
    /// Neither end as it shall be.
    Absent,
    /// Both ends, as they shall be.
    Here {
        /// Whether the host end is up: the last step of [`ensure`].
        up: bool,
    },
    /// The host end; the container end is in another namespace.
    Moved {
        /// As before.
        up: bool,
    },
}

impl Pair {
    /// Whether `ensure` has nothing left to do: but where it puts a mark on the host end, or that in a bridge, or
    /// where a container has had the other end, and may have changed what is offloaded.
    pub(crate) fn is_up(self) -> bool {
        match self {
            Self::Absent => false,
            Self::Here { up } | Self::Moved { up } => up,
        }
    }
}

/// Whether `ensure` made the pair or found it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Made {
    New,
    Found,
}

/// Says what is here of the pair of `vif`.
pub(crate) fn inspect(vif: &Vif) -> Result<Pair, Error> {
    let (host, container) = (&vif.attachment.host, &vif.attachment.container);
    let mut kernel = open(host)?;
    let Some(near) = find(&mut kernel, host)? else {
        return Ok(Pair::Absent);
    };
    near.must_be_veth(host)?;
    let up = near.is_up;
    if near.peer_elsewhere {
        return Ok(Pair::Moved { up });
    }
    let right = find(&mut kernel, container)?.is_some_and(|far| {
        far.index == near.peer
            && far.mac == vif.mac.octets()
            && far.mtu == vif.mtu
            && near.mtu == vif.mtu
    });
    Ok(if right {
        Pair::Here { up }
    } else {
        Pair::Absent
    })
}

/// Whether both ends are here and nothing tells that a container has had its end: who may set up
/// interfaces in a container may leave a program on one (XDP), other names, or a listening mode.
pub(crate) fn is_as_new(vif: &Vif) -> Result<bool, Error> {
    let Pair::Here { .. } = inspect(vif)? else {
        return Ok(false);
    };
    let container = &vif.attachment.container;
    let far = find(&mut open(container)?, container)?;
    Ok(far.is_some_and(|far| !far.is_touched && far.alias.is_empty() && far.controller == 0))
}

/// Makes the pair of `vif` exist, with its host end up and without addresses.
pub(crate) fn ensure(vif: &Vif) -> Result<Made, Error> {
    let (host, container) = (&vif.attachment.host, &vif.attachment.container);
    let pair = inspect(vif)?;
    let made = if pair == Pair::Absent {
        // Leftovers of a crash, or of another address or MTU.
        remove(host)?;
        remove(container)?;
        let mut kernel = open(host)?;
        create(&mut kernel, (host, container), Some(vif.mac), vif.mtu)?;
        Made::New
    } else {
        Made::Found
    };
    let ready = offload_of(vif, pair).and_then(|()| bring_up(&vif.attachment, pair));
    match (made, ready) {
        (_, Ok(())) => Ok(made),
        (Made::Found, Err(error)) => Err(error),
        (Made::New, Err(error)) => Error::join(Err(error), remove(host)).map(|()| made),
    }
    .inspect(|made| tracing::debug!(%host, %container, ?made, "veth pair"))
}

/// Whether there is an interface of this name in this namespace.
pub(crate) fn is_here(interface: &IfName) -> Result<bool, Error> {
    Ok(find(&mut open(interface)?, interface)?.is_some())
}

/// Whether the other end of the pair that `host` is an end of is in another namespace.
pub(crate) fn is_taken(host: &IfName) -> Result<bool, Error> {
    let link = find(&mut open(host)?, host)?;
    Ok(link.is_some_and(|link| link.kind != "veth" || link.peer_elsewhere))
}

/// Deletes the veth pair that `interface` is an end of, wherever the other end is.
pub(crate) fn remove(interface: &IfName) -> Result<(), Error> {
    let mut kernel = open(interface)?;
    let Some(link) = find(&mut kernel, interface)? else {
        return Ok(());
    };
    link.must_be_veth(interface)?;
    match kernel.ask(Message::DelLink(by_index(link.index)), 0) {
        Err(error) if error.is(ENODEV) => Ok(()),
        outcome => outcome.map(drop).map_err(refusal("delete", interface)),
    }
}

/// A container end in front of a userspace switch computes its checksums itself: nobody after it
/// does, and TCP would be dropped. The setting stays with the interface when it moves. Others'
/// are as the kernel makes them.
fn offload_of(vif: &Vif, pair: Pair) -> Result<(), Error> {
    let container = &vif.attachment.container;
    if !needs::of(&vif.attachment.switch).own_checksums || matches!(pair, Pair::Moved { .. }) {
        return Ok(());
    }
    offload::leave_no_checksum_to_the_device(container).map_err(refusal(
        "switch off transmit checksum offload of",
        container,
    ))
}

/// Brings up a container end that is still here, so that it can send but has no address and answers
/// nobody; its index, or none if it has been moved away.
pub(crate) fn wake_silently(container: &IfName) -> Result<Option<u32>, Error> {
    let mut kernel = open(container)?;
    let Some(link) = find(&mut kernel, container)? else {
        return Ok(None);
    };
    if !KINDS.contains(&link.kind.as_str()) {
        link.must_be_veth(container)?;
    }
    keep_addresses_off(&mut kernel, container)?;
    let flags = LinkFlags::Up | LinkFlags::Noarp;
    match kernel.ask(Message::SetLink(flagged(container, flags, flags)), 0) {
        Err(error) if error.is(ENODEV) => Ok(None),
        outcome => outcome
            .map(|_| Some(link.index))
            .map_err(refusal("bring up", container)),
    }
}

/// Undoes [`wake_silently`].
pub(crate) fn put_to_sleep(container: &IfName) -> Result<(), Error> {
    let flags = LinkFlags::Up | LinkFlags::Noarp;
    let asleep = open(container)?.ask(
        Message::SetLink(flagged(container, LinkFlags::empty(), flags)),
        0,
    );
    match asleep {
        Err(error) if error.is(ENODEV) => Ok(()),
        outcome => outcome.map(drop).map_err(refusal("take down", container)),
    }
}

/// Brings up the host end; on a Linux bridge also makes it a port of that. Where nothing else says
/// whose it is, it does.
///
/// One that was found as it shall be is left alone: whoever listens, as ovs-vswitchd, looks at all interfaces
/// again whenever one is set, though to what it is.
fn bring_up(attachment: &Attachment, found: Pair) -> Result<(), Error> {
    let host = &attachment.host;
    let mark = mark::write(attachment);
    let says_no_more = attachment.switch.joined().is_none() && mark.is_none();
    if found.is_up() && says_no_more {
        return Ok(());
    }
    let mut kernel = open(host)?;
    keep_addresses_off(&mut kernel, host)?;
    let mut change = flagged(host, LinkFlags::Up, LinkFlags::Up);
    if let Some(bridge) = attachment.switch.joined() {
        let found = find(&mut kernel, bridge)?;
        let index = found.map(|link| link.index);
        let index = index.ok_or_else(|| Error::NoLinuxBridge {
            bridge: bridge.clone(),
            interface: host.clone(),
        })?;
        change.attributes.push(LinkAttribute::Controller(index));
    }
    change.attributes.extend(mark.map(LinkAttribute::IfAlias));
    kernel
        .ask(Message::SetLink(change), 0)
        .map(drop)
        .map_err(refusal("bring up", host))
}

/// Says whether a bridge may send a frame back to the port that it came from.
pub(crate) fn set_hairpin(host: &IfName, allowed: bool) -> Result<(), Error> {
    let mut kernel = open(host)?;
    let Some(link) = find(&mut kernel, host)? else {
        return Ok(());
    };
    let mut change = by_index(link.index);
    change.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(
            allowed,
        )])),
    ]));
    // The kernel heeds what is said of a bridge's port in this message only, not in SetLink.
    match kernel.ask(Message::NewLink(change), 0) {
        Err(error) if error.is(ENODEV) => Ok(()),
        outcome => outcome
            .map(drop)
            .map_err(refusal("let frames return by", host)),
    }
}

/// Whether the host end is a port of a bridge that forwards what comes in there.
pub(crate) fn is_forwarding(host: &IfName) -> Result<bool, Error> {
    let link = find(&mut open(host)?, host)?;
    Ok(link.is_some_and(|link| link.forwards))
}

/// Whether the host end is a port of a bridge.
///
/// # Errors
/// [`Error::NotPlugged`] if there is no such pair.
pub(crate) fn is_bridge_port(host: &IfName) -> Result<bool, Error> {
    let link = find(&mut open(host)?, host)?;
    let link = link.ok_or_else(|| Error::NotPlugged {
        interface: host.clone(),
    })?;
    Ok(link.controller != 0)
}

/// What is plugged for `owner`, or for everybody, by the marks of the host ends.
pub(crate) fn attachments(owner: Option<&str>) -> Result<Vec<Attachment>, KernelError> {
    let mut kernel = Netlink::route()?;
    let mut pairs = list(&mut kernel, InfoKind::Veth)?;
    pairs.retain(|link| mark::read(&link.alias).is_some());
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let bridges = list(&mut kernel, InfoKind::Bridge)?;
    let ours = pairs.iter().filter_map(|link| {
        let mark = mark::read(&link.alias)?;
        if owner.is_some_and(|owner| owner != mark.owner) {
            return None;
        }
        // The bridge may have been deleted; the pair is ours all the same.
        let joined = bridges
            .iter()
            .find(|bridge| bridge.index == link.controller);
        let joined = joined.map_or("none", |bridge| &bridge.name);
        let attachment = mark.attachment(joined.parse().ok()?)?;
        let host = link.name.parse().ok()?;
        Some(Attachment { host, ..attachment })
    });
    Ok(ours.collect())
}

pub(super) fn keep_addresses_off(kernel: &mut Netlink, interface: &IfName) -> Result<(), Error> {
    generate_addresses(kernel, interface, In6AddrGenMode::None)
        .map_err(refusal("keep addresses off", interface))?;
    refuse_router_advertisements(interface);
    Ok(())
}

/// Undoes [`keep_addresses_off`], for an interface that is to be as any other of this host.
pub(super) fn let_addresses_on(kernel: &mut Netlink, interface: &IfName) -> Result<(), Error> {
    let usual = fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6");
    let switch = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    if let Err(error) = usual.and_then(|usual| fs::write(&switch, usual)) {
        tracing::debug!(switch, %error, "IPv6 stays as it is");
    }
    generate_addresses(kernel, interface, In6AddrGenMode::Eui64)
        .map_err(refusal("let addresses on", interface))
}

/// A switch in userspace takes copies: what a container sends reaches this host's own stack as
/// well, and a router advertisement would give the host a default route into the container. Only
/// `/proc` can switch IPv6 off for one interface; where it cannot be written, or IPv6 is off
/// altogether, the interface still gets no address.
fn refuse_router_advertisements(interface: &IfName) {
    let switch = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    if let Err(error) = fs::write(&switch, "1") {
        tracing::debug!(switch, %error, "IPv6 stays as it is");
    }
}

/// Makes a pair, whose second end has the address.
///
/// One message for both ends: there is no moment at which a half-made pair can be seen. The peer
/// must not be up in it (the kernel answers ENOTCONN).
pub(super) fn create(
    kernel: &mut Netlink,
    (near, far): (&IfName, &IfName),
    mac: Option<MacAddress>,
    mtu: u32,
) -> Result<(), Error> {
    let mut peer = named(far);
    let address = mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec()));
    peer.attributes.extend(address);
    peer.attributes.push(LinkAttribute::Mtu(mtu));
    let mut link = named(near);
    link.attributes.push(LinkAttribute::Mtu(mtu));
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    let made = kernel.ask(Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL);
    made.map(drop).map_err(refusal("create", near))
}

/// The kernel heeds this in a change only, not in the creation; and it must come before `up`.
fn generate_addresses(
    kernel: &mut Netlink,
    interface: &IfName,
    mode: In6AddrGenMode,
) -> Result<(), KernelError> {
    let mut link = named(interface);
    let mode = vec![AfSpecInet6::AddrGenMode(mode)];
    link.attributes
        .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(mode)]));
    match kernel.ask(Message::SetLink(link), 0) {
        // IPv6 is off, altogether or by an MTU under 1280: no addresses either.
        Err(error)
            if [EAFNOSUPPORT, EINVAL, EOPNOTSUPP]
                .iter()
                .any(|e| error.is(*e)) =>
        {
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}
