//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

/// An Ethernet address, written with colons and in lower case, read in any case and with hyphens.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// The address as it goes over the wire.
    pub fn octets(&self) -> [u8; 6] {
        self.0
    }
}

impl From<[u8; 6]> for MacAddress {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl FromStr for MacAddress {
    type Err = InvalidMacAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut parts = text.split(separator);
        let mut octets = [0; 6];
        for octet in &mut octets {
            *octet = parts
                .next()
                .and_then(octet_of)
                .ok_or_else(|| InvalidMacAddress(text.to_owned()))?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(InvalidMacAddress(text.to_owned())),
        }
    }
}

/// Two hexadecimal digits; `from_str_radix` alone would take `+1`.
fn octet_of(digits: &str) -> Option<u8> {
    (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not an Ethernet address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not an Ethernet address: six pairs of hexadecimal digits")]
pub struct InvalidMacAddress(String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_case_and_hyphens_read_as_the_same_address() {
        let address: MacAddress = "FA-16-3e-00-AB-cd".parse().unwrap();
        assert_eq!(address.to_string(), "fa:16:3e:00:ab:cd");
        assert_eq!(address.octets(), [0xfa, 0x16, 0x3e, 0, 0xab, 0xcd]);
    }

    #[test]
    fn almost_an_address_is_none() {
        for text in [
            "",
            "fa:16:3e:00:ab",
            "fa:16:3e:00:ab:cd:ef",
            "fa:16:3e:00:ab:c",
            "fa:16-3e:00:ab:cd",
            "+1:16:3e:00:ab:cd",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_address_reads_back_as_written(octets: [u8; 6]) {
            let address = MacAddress::from(octets);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,24}") {
            let _ = text.parse::<MacAddress>();
        }
    }
}
