//! Devices of SR-IOV cards: makes them ready for a container, and takes them back. Blocking.
//!
//! Where a device is, and what it is, sysfs says; what a card does for a virtual function is set by
//! netlink at the card's own interface.

pub(crate) mod bus;
mod function;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use self::bus::Bus;
use self::function::Function;
use super::link::{Link, by_index, find, open, refusal};
use super::{KernelError, Netlink, shared, veth};
use crate::error::is_for_guests;
use crate::{Device, DeviceTrouble, Error, FreeFunction, IfName, MacAddress, Part, PciSlot, Vif};

/// How a device's interface was before a container had it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Before {
    pub(crate) name: IfName,
    pub(crate) mac: MacAddress,
    pub(crate) mtu: u32,
}

/// Where a device's interface is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// In this namespace.
    Here(Before),
    /// In another one.
    Away,
    /// Nowhere: the device, its driver or its interface is not there.
    Nowhere,
}

/// Where the interface of a device is, and how it is.
pub(crate) fn place(slot: &PciSlot) -> Result<Place, Error> {
    let bus = Bus::default();
    if let Some(name) = bus.interface(slot) {
        let Some(link) = find(&mut open(&name)?, &name)? else {
            return Ok(Place::Away);
        };
        return Ok(Place::Here(Before {
            name,
            mac: link.mac.into(),
            mtu: link.mtu,
        }));
    }
    match bus.driver(slot) {
        Some(driver) if !is_for_guests(&driver) => Ok(Place::Away),
        Some(_) | None => Ok(Place::Nowhere),
    }
}

/// How the interface of a device is that is to go into a container and that nobody uses.
pub(crate) fn free(device: &Device) -> Result<Before, Error> {
    let bus = Bus::default();
    let trouble = plugging(&device.slot);
    if !bus.has(&device.slot) {
        return Err(trouble(DeviceTrouble::Absent));
    }
    match (device.part, bus.is_function(&device.slot)) {
        (Part::Function(_) | Part::Macvtap(_), false) => {
            return Err(trouble(DeviceTrouble::NoFunction));
        }
        (Part::Card, true) => return Err(trouble(DeviceTrouble::NoCard)),
        (Part::Function(_) | Part::Macvtap(_), true) | (Part::Card, false) => {}
    }
    let Place::Here(before) = place(&device.slot)? else {
        let driver = bus.driver(&device.slot);
        return Err(trouble(DeviceTrouble::NoInterface { driver }));
    };
    match use_of(&before.name)? {
        None => Ok(before),
        Some(how) => {
            let interface = before.name;
            Err(trouble(DeviceTrouble::InUse { interface, how }))
        }
    }
}

/// The virtual functions of a card that are here and that nobody uses, in the card's order.
pub(crate) fn free_functions(card: &IfName) -> Result<Vec<FreeFunction>, Error> {
    let bus = Bus::default();
    let mut free = Vec::new();
    for slot in bus.functions(card) {
        let is_free = match place(&slot)? {
            Place::Here(before) => use_of(&before.name)?.is_none(),
            Place::Away | Place::Nowhere => false,
        };
        if is_free {
            let kind = bus.kind(&slot);
            free.push(FreeFunction { slot, kind });
        }
    }
    Ok(free)
}

/// Makes the device of `vif` ready for a container: under its name, down and without addresses.
pub(crate) fn ensure(vif: &Vif, device: &Device) -> Result<(), Error> {
    let name = &vif.attachment.container;
    let Place::Here(now) = place(&device.slot)? else {
        let driver = Bus::default().driver(&device.slot);
        let trouble = DeviceTrouble::NoInterface { driver };
        return Err(plugging(&device.slot)(trouble));
    };
    let mut kernel = open(&now.name)?;
    let mut interface = Interface::find(&mut kernel, &now.name)?;
    let is_addressed = interface.link.mac == vif.mac.octets();
    if let Some(settings) = device.settings() {
        let function = Function::find(&Bus::default(), &device.slot)?;
        let changed = function.set(&mut kernel, &settings, vif.mac)?;
        if changed || !is_addressed {
            // A driver asks the card what address it has when its interface comes up.
            interface.turn(&mut kernel, true)?;
            interface.turn(&mut kernel, false)?;
        }
    } else if !is_addressed {
        interface.turn(&mut kernel, false)?;
    }
    interface.take_address(&mut kernel, vif.mac, &device.slot)?;
    interface.set_mtu(&mut kernel, vif.mtu)?;
    match device.part {
        Part::Function(_) | Part::Card => {
            interface.turn(&mut kernel, false)?;
            interface.rename(&mut kernel, name)
        }
        Part::Macvtap(_) => {
            veth::keep_addresses_off(&mut kernel, &now.name)?;
            interface.turn(&mut kernel, true)?;
            shared::ensure_on_function(vif, &now.name)
        }
    }
}

/// Makes a device as it was before a container had it; of what is not there nothing is left to do.
///
/// # Errors
/// [`DeviceTrouble::Away`] where a container still has it.
pub(crate) fn release(
    name: &IfName,
    device: &Device,
    before: Option<&Before>,
) -> Result<(), Error> {
    let bus = Bus::default();
    if let Part::Macvtap(_) = device.part {
        shared::remove(name)?;
    }
    if !bus.has(&device.slot) {
        return Ok(());
    }
    let here = match place(&device.slot)? {
        Place::Here(now) => Some(now.name),
        Place::Nowhere => None,
        Place::Away => {
            return Err(Error::Device {
                action: "take back",
                slot: device.slot.clone(),
                source: Box::new(DeviceTrouble::Away),
            });
        }
    };
    let mut kernel = open(name)?;
    if let Some(now) = &here {
        Interface::find(&mut kernel, now)?.turn(&mut kernel, false)?;
    }
    let reset = match device.settings() {
        Some(_) => Function::find(&bus, &device.slot)
            .and_then(|function| function.reset(&mut kernel, before.map(|before| before.mac))),
        None => Ok(false),
    };
    let is_forgotten = *reset.as_ref().unwrap_or(&false);
    let restored = match (&here, before) {
        (Some(now), Some(before)) => restore(&mut kernel, now, before, is_forgotten),
        (Some(_) | None, _) => Ok(()),
    };
    Error::join(reset.map(drop), restored)
}

/// Makes an interface as it was; its card may have forgotten its address.
fn restore(
    kernel: &mut Netlink,
    now: &IfName,
    before: &Before,
    is_forgotten: bool,
) -> Result<(), Error> {
    let interface = Interface::find(kernel, now)?;
    if interface.link.mac != before.mac.octets() {
        match interface.set_address(kernel, before.mac) {
            // Its driver may take addresses of the card only. The next that has it gets one of its own.
            Err(Error::Kernel {
                source: KernelError::Refused { errno, .. },
                ..
            }) => tracing::debug!(interface = %now, %errno, "keeps its address"),
            outcome => outcome?,
        }
    } else if is_forgotten {
        interface.turn(kernel, true)?;
        interface.turn(kernel, false)?;
    }
    interface.set_mtu(kernel, before.mtu)?;
    veth::let_addresses_on(kernel, now)?;
    match find(kernel, &before.name)? {
        // Somebody has given its name away meanwhile.
        Some(other) if other.index != interface.link.index => Ok(()),
        Some(_) | None => interface.rename(kernel, &before.name),
    }
}

/// The error that something is in the way of plugging a device.
fn plugging(slot: &PciSlot) -> impl Fn(DeviceTrouble) -> Error + use<> {
    let slot = slot.clone();
    move |trouble| Error::Device {
        action: "plug",
        slot: slot.clone(),
        source: Box::new(trouble),
    }
}

/// Whether this host uses an interface, and how that shows.
fn use_of(name: &IfName) -> Result<Option<&'static str>, Error> {
    let mut kernel = open(name)?;
    let Some(link) = find(&mut kernel, name)? else {
        return Ok(None);
    };
    if link.controller != 0 {
        return Ok(Some("is part of a bridge or a bond"));
    }
    let addressed = has_address(&mut kernel, link.index).map_err(refusal("look up", name))?;
    Ok(addressed.then_some("has addresses"))
}

/// Whether an interface has an address that others than its neighbours could use.
fn has_address(kernel: &mut Netlink, index: u32) -> Result<bool, KernelError> {
    let said = kernel.ask(Message::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
    Ok(said.iter().any(|message| {
        let Message::NewAddress(address) = message else {
            return false;
        };
        address.header.index == index && address.header.scope == AddressScope::Universe
    }))
}

/// An interface that is being changed, by its index: its name may be what changes.
struct Interface {
    name: IfName,
    link: Link,
}

impl Interface {
    fn find(kernel: &mut Netlink, name: &IfName) -> Result<Self, Error> {
        let link = find(kernel, name)?.ok_or_else(|| Error::NotPlugged {
            interface: name.clone(),
        })?;
        Ok(Self {
            name: name.clone(),
            link,
        })
    }

    fn change(
        &self,
        kernel: &mut Netlink,
        action: &'static str,
        change: LinkMessage,
    ) -> Result<(), Error> {
        let changed = kernel.ask(Message::SetLink(change), 0);
        changed.map(drop).map_err(refusal(action, &self.name))
    }

    fn turn(&self, kernel: &mut Netlink, up: bool) -> Result<(), Error> {
        let mut change = by_index(self.link.index);
        change.header.change_mask = LinkFlags::Up;
        if up {
            change.header.flags = LinkFlags::Up;
        }
        let action = if up { "bring up" } else { "take down" };
        self.change(kernel, action, change)
    }

    fn set_address(&self, kernel: &mut Netlink, mac: MacAddress) -> Result<(), Error> {
        let mut change = by_index(self.link.index);
        let address = LinkAttribute::Address(mac.octets().to_vec());
        change.attributes.push(address);
        self.change(kernel, "give an address to", change)
    }

    /// Has the interface bear the address, of which its driver may have been told by the card.
    fn take_address(
        &mut self,
        kernel: &mut Netlink,
        mac: MacAddress,
        slot: &PciSlot,
    ) -> Result<(), Error> {
        *self = Self::find(kernel, &self.name)?;
        if self.link.mac == mac.octets() {
            return Ok(());
        }
        let refused = self.set_address(kernel, mac).err();
        *self = Self::find(kernel, &self.name)?;
        if self.link.mac == mac.octets() {
            return Ok(());
        }
        Err(refused.unwrap_or_else(|| {
            plugging(slot)(DeviceTrouble::OtherAddress {
                interface: self.name.clone(),
                wanted: mac,
                has: self.link.mac.into(),
            })
        }))
    }

    fn set_mtu(&self, kernel: &mut Netlink, mtu: u32) -> Result<(), Error> {
        if self.link.mtu == mtu {
            return Ok(());
        }
        let mut change = by_index(self.link.index);
        change.attributes.push(LinkAttribute::Mtu(mtu));
        self.change(kernel, "set the MTU of", change)
    }

    /// Only an interface that is down can have another name.
    fn rename(&self, kernel: &mut Netlink, name: &IfName) -> Result<(), Error> {
        if self.name == *name {
            return Ok(());
        }
        let mut change = by_index(self.link.index);
        let wanted = LinkAttribute::IfName(name.to_string());
        change.attributes.push(wanted);
        self.change(kernel, "rename", change)
    }
}
