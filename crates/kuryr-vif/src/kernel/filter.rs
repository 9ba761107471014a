//! The Linux bridge and the veth pair between a host end and Open vSwitch (`ovs_hybrid_plug`): finds,
//! makes and removes them. Blocking.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo,
};

use super::link::{Link, find, flagged, named, open, refusal};
use super::veth::{self, Made, keep_addresses_off};
use super::{Netlink, bridge};
use crate::{Error, Filter, IfName};

/// Whether all of `filter` is here as it shall be.
pub(crate) fn is_here(filter: &Filter, mtu: u32) -> Result<bool, Error> {
    let mut kernel = open(&filter.bridge)?;
    let mut seen = |name| find(&mut kernel, name);
    let (Some(between), Some(near), Some(far)) = (
        seen(&filter.bridge)?,
        seen(&filter.near)?,
        seen(&filter.far)?,
    ) else {
        return Ok(false);
    };
    let is_pair = |one: &Link, other: &Link| one.kind == "veth" && one.peer == other.index;
    Ok(between.kind == "bridge"
        && near.controller == between.index
        && is_pair(&near, &far)
        && is_pair(&far, &near)
        && near.mtu == mtu
        && far.mtu == mtu)
}

/// Makes all of `filter` exist, up and without addresses. On failure nothing remains that was not there.
pub(crate) fn ensure(filter: &Filter, mtu: u32) -> Result<Made, Error> {
    if is_here(filter, mtu)? {
        return bring_up(filter).map(|()| Made::Found);
    }
    // Leftovers of a crash, or of another MTU.
    remove(filter)?;
    match make(filter, mtu).and_then(|()| bring_up(filter)) {
        Ok(()) => Ok(Made::New),
        Err(error) => Error::join(Err(error), remove(filter)).map(|()| Made::New),
    }
}

/// Makes all of `filter` not exist.
pub(crate) fn remove(filter: &Filter) -> Result<(), Error> {
    let pair = veth::remove(&filter.far).and_then(|()| veth::remove(&filter.near));
    Error::join(pair, bridge::remove(&filter.bridge))
}

fn make(filter: &Filter, mtu: u32) -> Result<(), Error> {
    let name = &filter.bridge;
    let mut kernel = open(name)?;
    kernel
        .ask(bridge_to_be(name), NLM_F_CREATE | NLM_F_EXCL)
        .map_err(refusal("create", name))?;
    veth::create(&mut kernel, (&filter.near, &filter.far), None, mtu)
}

/// As nova's: it forwards at once and remembers no address, because with two ports there is nothing to
/// learn, and its frames pass the host's packet filter, which is what it is for.
fn bridge_to_be(name: &IfName) -> Message {
    let mut link = named(name);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![
            InfoBridge::StpState(BridgeStpState::Disabled),
            InfoBridge::ForwardDelay(0),
            InfoBridge::AgeingTime(0),
            InfoBridge::MulticastSnooping(false),
            InfoBridge::NfCallIpTables(true),
            InfoBridge::NfCallIp6Tables(true),
            InfoBridge::NfCallArpTables(true),
        ])),
    ]));
    Message::NewLink(link)
}

fn bring_up(filter: &Filter) -> Result<(), Error> {
    let mut kernel = open(&filter.bridge)?;
    let found = find(&mut kernel, &filter.bridge)?;
    let index = found.map(|link| link.index);
    for (name, controller) in [
        (&filter.bridge, None),
        (&filter.near, index),
        (&filter.far, None),
    ] {
        up(&mut kernel, name, controller)?;
    }
    Ok(())
}

fn up(kernel: &mut Netlink, name: &IfName, controller: Option<u32>) -> Result<(), Error> {
    keep_addresses_off(kernel, name)?;
    let mut change = flagged(name, LinkFlags::Up, LinkFlags::Up);
    change
        .attributes
        .extend(controller.map(LinkAttribute::Controller));
    kernel
        .ask(Message::SetLink(change), 0)
        .map(drop)
        .map_err(refusal("bring up", name))
}
