//! Interfaces that share one of this machine's (`macvlan`, `ipvlan`, `vlan`): finds, makes and removes
//! them. Blocking.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoMacVtap, InfoVlan, IpVlanMode, LinkAttribute,
    LinkInfo, LinkMessage, MacVlanMode, MacVtapMode,
};

use super::KernelError;
use super::Netlink;
use super::link::{EEXIST, ENODEV, Link, all, by_index, find, named, open, refusal};
use super::veth::Made;
use crate::{Error, IfName, MacAddress, Sharing, Vif};

/// Makes the interface of `vif` exist on `parent`, down and without addresses, unless it does.
pub(crate) fn ensure(vif: &Vif, parent: &IfName, sharing: Sharing) -> Result<Made, Error> {
    let name = &vif.attachment.container;
    let mut kernel = open(name)?;
    let below = find(&mut kernel, parent)?.ok_or_else(|| Error::NoParent {
        parent: parent.clone(),
        interface: name.clone(),
    })?;
    let mtu = vif.mtu.min(below.mtu);
    if let Some(found) = find(&mut kernel, name)? {
        if is_ours(&found, &below, sharing) && is_as_wanted(&found, vif, mtu, sharing) {
            return Ok(Made::Found);
        }
        remove(name)?;
    }
    let wanted = to_be(vif, below.index, mtu, sharing);
    match (
        kernel.ask(Message::NewLink(wanted), NLM_F_CREATE | NLM_F_EXCL),
        sharing,
    ) {
        // Wherever the other one is: an interface in a container has its VLAN id here.
        (Err(error), Sharing::Vlan(id)) if error.is(EEXIST) => Err(Error::VlanTaken {
            interface: name.clone(),
            parent: parent.clone(),
            id,
        }),
        (made, _) => made.map(|_| Made::New).map_err(refusal("create", name)),
    }
}

/// Makes the interface of `vif` exist on a virtual function that it has to itself (macvtap, mode
/// `passthru`): what it is called there is what the function is called.
pub(crate) fn ensure_on_function(vif: &Vif, function: &IfName) -> Result<(), Error> {
    let name = &vif.attachment.container;
    let mut kernel = open(name)?;
    let below = find(&mut kernel, function)?.ok_or_else(|| Error::NotPlugged {
        interface: function.clone(),
    })?;
    if let Some(found) = find(&mut kernel, name)? {
        let is_its = found.kind == "macvtap" && found.peer == below.index;
        if is_its && found.mac == below.mac && found.mtu == vif.mtu {
            return Ok(());
        }
        remove(name)?;
    }
    let mode = vec![InfoMacVtap::Mode(MacVtapMode::Passthrough)];
    let info = vec![
        LinkInfo::Kind(InfoKind::MacVtap),
        LinkInfo::Data(InfoData::MacVtap(mode)),
    ];
    let mut wanted = named(name);
    wanted.attributes.push(LinkAttribute::Link(below.index));
    wanted.attributes.push(LinkAttribute::Mtu(vif.mtu));
    wanted.attributes.push(LinkAttribute::LinkInfo(info));
    kernel
        .ask(Message::NewLink(wanted), NLM_F_CREATE | NLM_F_EXCL)
        .map(drop)
        .map_err(refusal("create", name))
}

/// Deletes the interface, if it is here. One in a container goes with that.
pub(crate) fn remove(name: &IfName) -> Result<(), Error> {
    let mut kernel = open(name)?;
    let Some(found) = find(&mut kernel, name)? else {
        return Ok(());
    };
    if !KINDS.contains(&found.kind.as_str()) {
        return Err(Error::NameTaken {
            interface: name.clone(),
            wanted: "macvlan, macvtap, ipvlan or vlan",
            kind: format!("of kind {}", found.kind),
        });
    }
    match kernel.ask(Message::DelLink(by_index(found.index)), 0) {
        Err(error) if error.is(ENODEV) => Ok(()),
        outcome => outcome.map(drop).map_err(refusal("delete", name)),
    }
}

/// Whether the interface is here.
pub(crate) fn is_here(name: &IfName) -> Result<bool, Error> {
    Ok(find(&mut open(name)?, name)?.is_some())
}

/// The hardware address of an interface; none if there is no such interface.
pub(crate) fn address_of(name: &IfName) -> Result<Option<MacAddress>, Error> {
    let link = find(&mut open(name)?, name)?;
    Ok(link.map(|link| link.mac.into()))
}

/// All interfaces of this machine that frames go out by, with their hardware addresses.
pub(crate) fn parents() -> Result<Vec<(IfName, MacAddress)>, KernelError> {
    let links = all(&mut Netlink::route()?)?;
    // Those of containers that wait for theirs are none to share.
    let shared = |link: &Link| match link.kind.as_str() {
        "macvlan" | "ipvlan" => true,
        // Others' are interfaces of the machine like any other.
        "vlan" => link.name.starts_with(IfName::CONTAINER),
        _ => false,
    };
    let real = links
        .into_iter()
        .filter(|link| link.mac != [0; 6] && !shared(link));
    Ok(real
        .filter_map(|link| Some((link.name.parse().ok()?, link.mac.into())))
        .collect())
}

fn is_ours(found: &Link, below: &Link, sharing: Sharing) -> bool {
    let is_tagged = match sharing {
        Sharing::Vlan(id) => found.vlan == id,
        Sharing::Macvlan | Sharing::Ipvlan | Sharing::IpvlanL3 => true,
    };
    found.kind == kind(sharing) && found.peer == below.index && is_tagged
}

fn is_as_wanted(found: &Link, vif: &Vif, mtu: u32, sharing: Sharing) -> bool {
    found.mtu == mtu && (!has_own_mac(sharing) || found.mac == vif.mac.octets())
}

fn has_own_mac(sharing: Sharing) -> bool {
    match sharing {
        Sharing::Macvlan | Sharing::Vlan(_) => true,
        Sharing::Ipvlan | Sharing::IpvlanL3 => false,
    }
}

fn kind(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Macvlan => "macvlan",
        Sharing::Ipvlan | Sharing::IpvlanL3 => "ipvlan",
        Sharing::Vlan(_) => "vlan",
    }
}

/// All that `kind` names, and what is made on a virtual function.
pub(super) const KINDS: [&str; 4] = ["macvlan", "ipvlan", "vlan", "macvtap"];

/// Containers of one machine reach each other: `bridge` with macvlan; ipvlan does that in each mode. All
/// ipvlan interfaces of a parent have the mode that the last one was made with.
fn to_be(vif: &Vif, below: u32, mtu: u32, sharing: Sharing) -> LinkMessage {
    let mut wanted = named(&vif.attachment.container);
    if has_own_mac(sharing) {
        let address = vif.mac.octets().to_vec();
        wanted.attributes.push(LinkAttribute::Address(address));
    }
    let info = match sharing {
        Sharing::Macvlan => {
            let mode = vec![InfoMacVlan::Mode(MacVlanMode::Bridge)];
            [
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(mode)),
            ]
        }
        Sharing::Ipvlan => ipvlan(IpVlanMode::L2),
        Sharing::IpvlanL3 => ipvlan(IpVlanMode::L3),
        Sharing::Vlan(id) => [
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(id)])),
        ],
    };
    wanted.attributes.push(LinkAttribute::Link(below));
    wanted.attributes.push(LinkAttribute::Mtu(mtu));
    wanted.attributes.push(LinkAttribute::LinkInfo(info.into()));
    wanted
}

fn ipvlan(mode: IpVlanMode) -> [LinkInfo; 2] {
    [
        LinkInfo::Kind(InfoKind::IpVlan),
        LinkInfo::Data(InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)])),
    ]
}
