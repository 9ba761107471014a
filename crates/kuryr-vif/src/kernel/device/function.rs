//! What a card does for a virtual function: asks, sets, and resets it by the card's interface. Blocking.

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkVfInfo, VfInfo, VfInfoMac, VfInfoRate, VfInfoSpoofCheck,
    VfInfoTrust, VfInfoVlan,
};

use super::bus::Bus;
use crate::kernel::link::{EINVAL, EOPNOTSUPP, by_index, find, named, open, refusal};
use crate::kernel::{KernelError, Netlink};
use crate::{DeviceTrouble, Error, FunctionSettings, IfName, MacAddress, PciSlot, Rates};

/// A virtual function, as its card knows it.
pub(super) struct Function {
    slot: PciSlot,
    card: IfName,
    index: u32,
    number: u32,
}

/// What a card does for a virtual function now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Seen {
    mac: [u8; 6],
    vlan: u32,
    spoof_check: bool,
    trusted: bool,
    rates: Rates,
}

/// What a function has that nobody uses.
const IDLE: FunctionSettings = FunctionSettings {
    vlan: 0,
    spoof_check: true,
    trusted: false,
    rates: Some(Rates { least: 0, most: 0 }),
};

impl Function {
    pub(super) fn find(bus: &Bus, slot: &PciSlot) -> Result<Self, Error> {
        let trouble = super::plugging(slot);
        let card = bus.card(slot);
        let (card, number) = card
            .zip(bus.number(slot))
            .ok_or_else(|| trouble(DeviceTrouble::NoFunction))?;
        let absent = || {
            let card = card.to_string();
            trouble(DeviceTrouble::CardWithoutInterface { card })
        };
        let name = bus.interface(&card).ok_or_else(absent)?;
        let link = find(&mut open(&name)?, &name)?.ok_or_else(absent)?;
        Ok(Self {
            slot: slot.clone(),
            card: name,
            index: link.index,
            number,
        })
    }

    /// Has the card do what a container's function is to have; whether anything was different.
    pub(super) fn set(
        &self,
        kernel: &mut Netlink,
        settings: &FunctionSettings,
        mac: MacAddress,
    ) -> Result<bool, Error> {
        let lacking = self.lacking(&self.seen(kernel)?, settings, mac);
        for (what, info) in &lacking {
            self.tell(kernel, info.clone())
                .map_err(|error| self.refused(what, error))?;
        }
        Ok(!lacking.is_empty())
    }

    /// Has the card do nothing in particular for the function; what it can't do it does not. Whether it
    /// has been told to forget the function's address.
    pub(super) fn reset(
        &self,
        kernel: &mut Netlink,
        own: Option<MacAddress>,
    ) -> Result<bool, Error> {
        let seen = self.seen(kernel)?;
        let none = match own {
            // It has only its own already.
            Some(own) if own.octets() == seen.mac => own,
            Some(_) | None => MacAddress::from([0; 6]),
        };
        for (what, info) in self.lacking(&seen, &IDLE, none) {
            let is_address = matches!(info, VfInfo::Mac(_));
            match self.tell(kernel, info) {
                Err(error) if error.is(EOPNOTSUPP) => {}
                // Some cards insist on an address.
                Err(error) if is_address && error.is(EINVAL) => {
                    let own = own.map(|own| self.mac(own));
                    let told = own.map(|own| self.tell(kernel, own)).transpose();
                    told.map_err(|error| self.refused(&what, error))?;
                }
                told => told.map_err(|error| self.refused(&what, error))?,
            }
        }
        Ok(seen.mac != none.octets())
    }

    /// What the card must be told, in words and for the kernel: one by one, as only so the kernel says
    /// which it refuses.
    fn lacking(
        &self,
        seen: &Seen,
        wanted: &FunctionSettings,
        mac: MacAddress,
    ) -> Vec<(String, VfInfo)> {
        let mut lacking = Vec::new();
        let mut need = |differs: bool, what: String, info: VfInfo| {
            if differs {
                lacking.push((what, info));
            }
        };
        let (number, vlan) = (self.number, u32::from(wanted.vlan));
        // What is not in its VLAN yet must not speak.
        need(
            seen.vlan != vlan,
            format!("VLAN {vlan}"),
            VfInfo::Vlan(VfInfoVlan::new(number, vlan, 0)),
        );
        need(
            seen.trusted != wanted.trusted,
            format!("trust {}", switched(wanted.trusted)),
            VfInfo::Trust(VfInfoTrust::new(number, wanted.trusted)),
        );
        need(
            seen.mac != mac.octets(),
            format!("the address {mac}"),
            self.mac(mac),
        );
        need(
            seen.spoof_check != wanted.spoof_check,
            format!("spoof check {}", switched(wanted.spoof_check)),
            VfInfo::SpoofCheck(VfInfoSpoofCheck::new(number, wanted.spoof_check)),
        );
        if let Some(rates) = wanted.rates {
            let Rates { least, most } = rates;
            need(
                seen.rates != rates,
                format!("rates of {least} to {most} Mbit/s"),
                VfInfo::Rate(VfInfoRate::new(number, least, most)),
            );
        }
        lacking
    }

    fn mac(&self, mac: MacAddress) -> VfInfo {
        VfInfo::Mac(VfInfoMac::new(self.number, &mac.octets()))
    }

    fn tell(&self, kernel: &mut Netlink, info: VfInfo) -> Result<(), KernelError> {
        let mut change = by_index(self.index);
        let told = LinkAttribute::VfInfoList(vec![LinkVfInfo(vec![info])]);
        change.attributes.push(told);
        kernel.ask(Message::SetLink(change), 0).map(drop)
    }

    fn refused(&self, what: &str, source: KernelError) -> Error {
        Error::Device {
            action: "set up",
            slot: self.slot.clone(),
            source: Box::new(DeviceTrouble::Refused {
                card: self.card.clone(),
                setting: format!("{what} for its virtual function {}", self.number),
                advice: advice(what),
                source,
            }),
        }
    }

    fn seen(&self, kernel: &mut Netlink) -> Result<Seen, Error> {
        let mut question = named(&self.card);
        let with_functions = LinkAttribute::ExtMask(vec![LinkExtentMask::Vf]);
        question.attributes.push(with_functions);
        let said = kernel.ask(Message::GetLink(question), 0);
        let said = said.map_err(refusal("ask about the virtual functions of", &self.card))?;
        let attributes = said.into_iter().filter_map(|message| {
            let Message::NewLink(link) = message else {
                return None;
            };
            Some(link.attributes)
        });
        let functions = attributes.flatten().filter_map(|attribute| {
            let LinkAttribute::VfInfoList(functions) = attribute else {
                return None;
            };
            Some(functions)
        });
        let ours = functions
            .flatten()
            .find(|LinkVfInfo(infos)| infos.iter().any(|info| self.is_about_us(info)));
        Ok(ours
            .map(|LinkVfInfo(infos)| read(&infos))
            .unwrap_or_default())
    }

    fn is_about_us(&self, info: &VfInfo) -> bool {
        matches!(info, VfInfo::Mac(mac) if mac.vf_id == self.number)
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of what a card says, this is what we set"
)]
fn read(infos: &[VfInfo]) -> Seen {
    let mut seen = Seen::default();
    for info in infos {
        match info {
            VfInfo::Mac(mac) => {
                let [a, b, c, d, e, f, ..] = mac.mac;
                seen.mac = [a, b, c, d, e, f];
            }
            VfInfo::Vlan(vlan) => seen.vlan = vlan.vlan_id,
            VfInfo::SpoofCheck(check) => seen.spoof_check = check.enabled,
            VfInfo::Trust(trust) => seen.trusted = trust.enabled,
            VfInfo::Rate(rate) => {
                seen.rates = Rates {
                    least: rate.min_tx_rate,
                    most: rate.max_tx_rate,
                };
            }
            _ => {}
        }
    }
    seen
}

fn switched(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// What to do about a setting that a card refuses.
fn advice(what: &str) -> &'static str {
    match what.split(' ').next() {
        Some("spoof") => {
            "does it know spoof checks? If not, use a port without port security (--disable-port-security)"
        }
        Some("trust") => {
            "does it know trust? If not, leave trusted out of the port's binding:profile"
        }
        Some("rates") => {
            "is it up, and do the rates fit its speed? It may know no promised rate: look at the port's QoS policy"
        }
        Some("VLAN") => {
            "is the card up, and does it do VLANs for its functions? The log of its driver may say (dmesg)"
        }
        _ => "the log of its driver may say why (dmesg)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function() -> Function {
        Function {
            slot: "0000:01:10.0".parse().unwrap(),
            card: "ens1f0".parse().unwrap(),
            index: 2,
            number: 3,
        }
    }

    fn told(seen: &Seen, wanted: &FunctionSettings, mac: [u8; 6]) -> Vec<String> {
        let lacking = function().lacking(seen, wanted, mac.into());
        lacking.into_iter().map(|(what, _)| what).collect()
    }

    #[test]
    fn a_card_is_told_only_what_it_does_not_do_already() {
        let wanted = FunctionSettings {
            vlan: 100,
            spoof_check: false,
            trusted: true,
            rates: Some(Rates {
                least: 0,
                most: 200,
            }),
        };
        let idle = Seen {
            spoof_check: true,
            ..Seen::default()
        };
        let mac = [2, 0, 0, 0, 0, 1];
        assert_eq!(
            told(&idle, &wanted, mac),
            [
                "VLAN 100",
                "trust on",
                "the address 02:00:00:00:00:01",
                "spoof check off",
                "rates of 0 to 200 Mbit/s"
            ]
        );
        let done = Seen {
            mac,
            vlan: 100,
            spoof_check: false,
            trusted: true,
            rates: Rates {
                least: 0,
                most: 200,
            },
        };
        assert_eq!(told(&done, &wanted, mac), [] as [&str; 0]);
        assert_eq!(told(&idle, &IDLE, [0; 6]), [] as [&str; 0]);
    }

    #[test]
    fn rates_that_nobody_knows_are_left() {
        let limited = Seen {
            spoof_check: true,
            rates: Rates { least: 5, most: 9 },
            ..Seen::default()
        };
        let wanted = FunctionSettings {
            rates: None,
            ..IDLE
        };
        assert_eq!(told(&limited, &wanted, [0; 6]), [] as [&str; 0]);
        assert_eq!(told(&limited, &IDLE, [0; 6]), ["rates of 0 to 0 Mbit/s"]);
    }

    #[test]
    fn what_a_card_says_of_a_function_is_read() {
        let infos = [
            VfInfo::Mac(VfInfoMac::new(3, &[2, 0, 0, 0, 0, 1])),
            VfInfo::Vlan(VfInfoVlan::new(3, 7, 0)),
            VfInfo::SpoofCheck(VfInfoSpoofCheck::new(3, true)),
            VfInfo::Trust(VfInfoTrust::new(3, true)),
            VfInfo::Rate(VfInfoRate::new(3, 1, 2)),
        ];
        assert!(function().is_about_us(&infos[0]));
        let seen = Seen {
            mac: [2, 0, 0, 0, 0, 1],
            vlan: 7,
            spoof_check: true,
            trusted: true,
            rates: Rates { least: 1, most: 2 },
        };
        assert_eq!(read(&infos), seen);
    }
}
