//! Where a device is on this machine's PCI bus.

use std::fmt;
use std::str::FromStr;

/// The place of a PCI device, such as `0000:01:10.0`: domain, bus, device and function.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PciSlot(String);

impl PciSlot {
    /// The place as the kernel writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PciSlot {
    type Err = InvalidPciSlot;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let slot = text.to_ascii_lowercase();
        let parts: Vec<&str> = slot.split([':', '.']).collect();
        let is_hex = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
            lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let fits = match parts.as_slice() {
            // Some hypervisors have domains of more than 16 bits.
            [domain, bus, device, function] => {
                is_hex(domain, 4..=8)
                    && is_hex(bus, 2..=2)
                    && is_hex(device, 2..=2)
                    && is_hex(function, 1..=1)
                    && slot == format!("{domain}:{bus}:{device}.{function}")
            }
            _ => false,
        };
        fits.then_some(Self(slot))
            .ok_or_else(|| InvalidPciSlot(text.to_owned()))
    }
}

impl fmt::Display for PciSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not the place of a PCI device.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not the place of a PCI device, which is written as in 0000:01:10.0")]
pub struct InvalidPciSlot(String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_is_read_in_any_case_and_written_as_the_kernel_does() {
        let slot: PciSlot = "0000:AF:10.7".parse().unwrap();
        assert_eq!(slot.to_string(), "0000:af:10.7");
        assert!("10000:01:00.0".parse::<PciSlot>().is_ok());
    }

    #[test]
    fn almost_a_slot_is_none() {
        for text in [
            "",
            "01:10.0",
            "0000:01:10",
            "0000:01.10:0",
            "0000:01:10.0/..",
            "../../etc:01:10.0",
            "0000:01:10.00",
            "0000:0g:10.0",
        ] {
            assert!(text.parse::<PciSlot>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_one_file_name(text in "\\PC{0,20}") {
            if let Ok(slot) = text.parse::<PciSlot>() {
                prop_assert!(!slot.as_str().contains('/') && slot.as_str() != "..");
            }
        }
    }
}
