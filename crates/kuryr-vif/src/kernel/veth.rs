//! Veth pairs: finds, makes and removes them. Blocking.

use std::fs;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};

use super::{KernelError, Netlink, offload};
use crate::{Datapath, Error, IfName, Switch, Vif};

/// What this namespace has of a pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pair {
    /// Neither end as it shall be.
    Absent,
    /// Both ends, as they shall be.
    Here,
    /// The host end; the container end is in another namespace.
    Moved,
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
    if near.peer_elsewhere {
        return Ok(Pair::Moved);
    }
    let right = find(&mut kernel, container)?.is_some_and(|far| {
        far.index == near.peer
            && far.mac == vif.mac.octets()
            && far.mtu == vif.mtu
            && near.mtu == vif.mtu
    });
    Ok(if right { Pair::Here } else { Pair::Absent })
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
        kernel
            .ask(create(vif), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(refusal("create", host))?;
        Made::New
    } else {
        Made::Found
    };
    let ready = offload_of(vif, pair).and_then(|()| bring_up(host));
    match (made, ready) {
        (_, Ok(())) => Ok(made),
        (Made::Found, Err(error)) => Err(error),
        (Made::New, Err(error)) => Error::join(Err(error), remove(host)).map(|()| made),
    }
    .inspect(|made| tracing::debug!(%host, %container, ?made, "veth pair"))
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
/// does, and TCP would be dropped. The setting stays with the interface when it moves.
fn offload_of(vif: &Vif, pair: Pair) -> Result<(), Error> {
    let container = &vif.attachment.container;
    let Switch::OpenVSwitch { datapath, .. } = vif.attachment.switch;
    match (datapath, pair) {
        (Datapath::Kernel, _) | (_, Pair::Moved) => Ok(()),
        (Datapath::Userspace, Pair::Absent | Pair::Here) => {
            offload::leave_no_checksum_to_the_device(container).map_err(refusal(
                "switch off transmit checksum offload of",
                container,
            ))
        }
    }
}

/// Brings up a container end that is still here, so that it can send but has no address and answers
/// nobody; its index, or none if it has been moved away.
pub(crate) fn wake_silently(container: &IfName) -> Result<Option<u32>, Error> {
    let mut kernel = open(container)?;
    let Some(link) = find(&mut kernel, container)? else {
        return Ok(None);
    };
    link.must_be_veth(container)?;
    keep_addresses_off(&mut kernel, container)?;
    let flags = LinkFlags::Up | LinkFlags::Noarp;
    match kernel.ask(flagged(container, flags, flags), 0) {
        Err(error) if error.is(ENODEV) => Ok(None),
        outcome => outcome
            .map(|_| Some(link.index))
            .map_err(refusal("bring up", container)),
    }
}

/// Undoes [`wake_silently`].
pub(crate) fn put_to_sleep(container: &IfName) -> Result<(), Error> {
    let flags = LinkFlags::Up | LinkFlags::Noarp;
    let asleep = open(container)?.ask(flagged(container, LinkFlags::empty(), flags), 0);
    match asleep {
        Err(error) if error.is(ENODEV) => Ok(()),
        outcome => outcome.map(drop).map_err(refusal("take down", container)),
    }
}

fn bring_up(host: &IfName) -> Result<(), Error> {
    let mut kernel = open(host)?;
    keep_addresses_off(&mut kernel, host)?;
    kernel
        .ask(flagged(host, LinkFlags::Up, LinkFlags::Up), 0)
        .map(drop)
        .map_err(refusal("bring up", host))
}

fn keep_addresses_off(kernel: &mut Netlink, interface: &IfName) -> Result<(), Error> {
    match kernel.ask(without_addresses(interface), 0) {
        // IPv6 is off, altogether or by an MTU under 1280: no addresses either.
        Err(error)
            if [EAFNOSUPPORT, EINVAL, EOPNOTSUPP]
                .iter()
                .any(|e| error.is(*e)) => {}
        outcome => {
            outcome.map_err(refusal("keep addresses off", interface))?;
        }
    }
    refuse_router_advertisements(interface);
    Ok(())
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

/// One message for both ends: there is no moment at which a half-made pair can be seen. The peer
/// must not be up in it (the kernel answers ENOTCONN).
fn create(vif: &Vif) -> Message {
    let mut peer = named(&vif.attachment.container);
    peer.attributes
        .push(LinkAttribute::Address(vif.mac.octets().to_vec()));
    peer.attributes.push(LinkAttribute::Mtu(vif.mtu));
    let mut link = named(&vif.attachment.host);
    link.attributes.push(LinkAttribute::Mtu(vif.mtu));
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    Message::NewLink(link)
}

/// The kernel heeds this in a change only, not in the creation; and it must come before `up`.
fn without_addresses(interface: &IfName) -> Message {
    let mut link = named(interface);
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    link.attributes
        .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(
            vec![none],
        )]));
    Message::SetLink(link)
}

fn flagged(interface: &IfName, flags: LinkFlags, changed: LinkFlags) -> Message {
    let mut link = named(interface);
    link.header.flags = flags;
    link.header.change_mask = changed;
    Message::SetLink(link)
}

fn named(interface: &IfName) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes
        .push(LinkAttribute::IfName(interface.to_string()));
    link
}

fn by_index(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link
}

/// What we need to know of an interface.
#[derive(Debug, Default)]
struct Link {
    index: u32,
    kind: String,
    mac: [u8; 6],
    mtu: u32,
    /// The index of the other end, in the other end's namespace.
    peer: u32,
    peer_elsewhere: bool,
}

impl Link {
    fn must_be_veth(&self, interface: &IfName) -> Result<(), Error> {
        if self.kind == "veth" {
            return Ok(());
        }
        Err(Error::NameTaken {
            interface: interface.clone(),
            kind: match self.kind.as_str() {
                "" => "a device".to_owned(),
                kind => format!("of kind {kind}"),
            },
        })
    }
}

fn find(kernel: &mut Netlink, interface: &IfName) -> Result<Option<Link>, Error> {
    match kernel.ask(Message::GetLink(named(interface)), 0) {
        Err(error) if error.is(ENODEV) => Ok(None),
        Err(error) => Err(refusal("look up", interface)(error)),
        Ok(said) => Ok(said.into_iter().find_map(|message| {
            let Message::NewLink(link) = message else {
                return None;
            };
            Some(read(link))
        })),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an interface has seventy attributes; these are the ones that identify a pair"
)]
fn read(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        ..Link::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().unwrap_or_default(),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Link(peer) => link.peer = peer,
            LinkAttribute::LinkNetNsId(_) => link.peer_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = kind.to_string();
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn open(interface: &IfName) -> Result<Netlink, Error> {
    Netlink::route().map_err(refusal("open a netlink socket for", interface))
}

fn refusal(action: &'static str, interface: &IfName) -> impl FnOnce(KernelError) -> Error {
    let interface = interface.clone();
    move |source| Error::Kernel {
        action,
        interface,
        source,
    }
}

const EINVAL: i32 = 22;
const ENODEV: i32 = 19;
const EOPNOTSUPP: i32 = 95;
const EAFNOSUPPORT: i32 = 97;
