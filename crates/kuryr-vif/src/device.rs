//! Devices of SR-IOV cards, as containers have them.

use crate::PciSlot;

/// A device of an SR-IOV card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// Where it is.
    pub slot: PciSlot,
    /// What of it a container gets.
    pub part: Part,
}

/// What of a card a container gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// A virtual function: its interface goes into the container.
    Function(FunctionSettings),
    /// A virtual function, which stays here: an interface of kind macvtap on it goes into the container.
    Macvtap(FunctionSettings),
    /// The card itself.
    Card,
}

impl Device {
    /// What the card is to do for it, if it is a virtual function.
    pub(crate) fn settings(&self) -> Option<FunctionSettings> {
        match self.part {
            Part::Function(settings) | Part::Macvtap(settings) => Some(settings),
            Part::Card => None,
        }
    }
}

/// What a card does for a virtual function that the function can't change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FunctionSettings {
    /// The VLAN that its frames are in beyond the card; 0 for none.
    pub vlan: u16,
    /// Whether it may only send from its own hardware address.
    pub spoof_check: bool,
    /// Whether it may change its address and listen to everything.
    pub trusted: bool,
    /// How much it may send; what the card has is left where this is not known.
    pub rates: Option<Rates>,
}

/// How much a virtual function may send, in Mbit/s.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rates {
    /// What it is promised; 0 for nothing.
    pub least: u32,
    /// What it is held to; 0 for no limit.
    pub most: u32,
}

/// A virtual function that a container could have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FreeFunction {
    /// Where it is.
    pub slot: PciSlot,
    /// Who made it and what it is, such as `8086:10ca`.
    pub kind: String,
}
