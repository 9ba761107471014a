//! Interfaces of any kind: finds them, and says what the kernel knows of them. Blocking.

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    BridgePortState, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoVlan, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached,
};

use super::{KernelError, Netlink};
use crate::{Error, IfName};

pub(crate) fn flagged(interface: &IfName, flags: LinkFlags, changed: LinkFlags) -> LinkMessage {
    let mut link = named(interface);
    link.header.flags = flags;
    link.header.change_mask = changed;
    link
}

pub(crate) fn named(interface: &IfName) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes
        .push(LinkAttribute::IfName(interface.to_string()));
    link
}

pub(crate) fn by_index(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link
}

/// What we need to know of an interface.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
    pub(crate) is_up: bool,
    /// What its users have noted of it.
    pub(crate) alias: String,
    /// The index of the bridge that it is a port of, or 0.
    pub(crate) controller: u32,
    /// Whether it is a port of a bridge that forwards.
    pub(crate) forwards: bool,
    /// The index of the other end of a pair, in the other end's namespace.
    pub(crate) peer: u32,
    pub(crate) peer_elsewhere: bool,
    /// The VLAN id that its frames bear on the interface that it shares, or 0.
    pub(crate) vlan: u16,
    /// It has a program, another name, or a mode that it was not made with.
    pub(crate) is_touched: bool,
}

impl Link {
    pub(crate) fn must_be_veth(&self, interface: &IfName) -> Result<(), Error> {
        if self.kind == "veth" {
            return Ok(());
        }
        Err(Error::NameTaken {
            interface: interface.clone(),
            wanted: "veth pair",
            kind: match self.kind.as_str() {
                "" => "a device".to_owned(),
                kind => format!("of kind {kind}"),
            },
        })
    }
}

pub(crate) fn find(kernel: &mut Netlink, interface: &IfName) -> Result<Option<Link>, Error> {
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
    reason = "an interface has seventy attributes; these are the ones that tell ours"
)]
fn read(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        ..Link::default()
    };
    let odd = LinkFlags::Promisc | LinkFlags::Allmulti | LinkFlags::Debug;
    link.is_touched = message.header.flags.intersects(odd);
    link.is_up = message.header.flags.contains(LinkFlags::Up);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::Promiscuity(count) => link.is_touched |= count != 0,
            LinkAttribute::PropList(names) => link.is_touched |= !names.is_empty(),
            LinkAttribute::Xdp(program) => {
                let none = LinkXdp::Attached(XdpAttached::None);
                link.is_touched |= program.iter().any(|said| *said != none);
            }
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().unwrap_or_default(),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::Controller(index) => link.controller = index,
            LinkAttribute::Link(peer) => link.peer = peer,
            LinkAttribute::LinkNetNsId(_) => link.peer_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = kind.to_string(),
                        LinkInfo::Data(InfoData::Vlan(data)) => {
                            link.vlan = vlan_in(&data);
                        }
                        LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
                            let forwarding = InfoBridgePort::State(BridgePortState::Forwarding);
                            link.forwards = port.contains(&forwarding);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    link
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of what a VLAN interface is like, only the id tells whose it is"
)]
fn vlan_in(data: &[InfoVlan]) -> u16 {
    let id = data.iter().find_map(|info| match info {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    });
    id.unwrap_or_default()
}

/// All interfaces of a kind, in the kernel's order.
pub(crate) fn list(kernel: &mut Netlink, kind: InfoKind) -> Result<Vec<Link>, KernelError> {
    let wanted = kind.to_string();
    let mut filter = LinkMessage::default();
    filter
        .attributes
        .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
    let mut links = dump(kernel, filter)?;
    links.retain(|link| link.kind == wanted);
    Ok(links)
}

/// All interfaces.
pub(crate) fn all(kernel: &mut Netlink) -> Result<Vec<Link>, KernelError> {
    dump(kernel, LinkMessage::default())
}

fn dump(kernel: &mut Netlink, filter: LinkMessage) -> Result<Vec<Link>, KernelError> {
    let said = kernel.ask(Message::GetLink(filter), NLM_F_DUMP)?;
    let links = said.into_iter().filter_map(|message| {
        let Message::NewLink(link) = message else {
            return None;
        };
        Some(read(link))
    });
    Ok(links.collect())
}

pub(crate) fn open(interface: &IfName) -> Result<Netlink, Error> {
    Netlink::route().map_err(refusal("open a netlink socket for", interface))
}

pub(crate) fn refusal(
    action: &'static str,
    interface: &IfName,
) -> impl FnOnce(KernelError) -> Error {
    let interface = interface.clone();
    move |source| Error::Kernel {
        action,
        interface,
        source,
    }
}

pub(crate) const EINVAL: i32 = 22;
pub(crate) const ENODEV: i32 = 19;
pub(crate) const EOPNOTSUPP: i32 = 95;
pub(crate) const EAFNOSUPPORT: i32 = 97;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const EADDRNOTAVAIL: i32 = 99;
