//! Hardware addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address of 48 bits, written as Neutron writes it: lower case, colons.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// The six bytes, in the order in which they are sent.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl From<[u8; 6]> for MacAddress {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = InvalidMacAddress;

    /// Takes either case, and `:` or `-` between the bytes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMacAddress(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts
                .next()
                .filter(|part| part.len() == 2)
                .ok_or_else(invalid)?;
            *octet = part
                .bytes()
                .all(|b| b.is_ascii_hexdigit())
                .then(|| u8::from_str_radix(part, 16))
                .and_then(Result::ok)
                .ok_or_else(invalid)?;
        }
        parts
            .next()
            .is_none()
            .then_some(Self(octets))
            .ok_or_else(invalid)
    }
}

impl TryFrom<String> for MacAddress {
    type Error = InvalidMacAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

/// The text is not a hardware address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidMacAddress(String);

impl fmt::Display for InvalidMacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a MAC address (expected six bytes, such as fa:16:3e:01:02:03)",
            self.0
        )
    }
}

impl std::error::Error for InvalidMacAddress {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn either_case_and_separator_are_read() {
        let want = MacAddress([0xfa, 0x16, 0x3e, 0, 0x0a, 0xff]);
        for text in [
            "fa:16:3e:00:0a:ff",
            "FA:16:3E:00:0A:FF",
            "fa-16-3e-00-0a-ff",
        ] {
            assert_eq!(text.parse(), Ok(want));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "fa:16:3e:00:0a",
            "fa:16:3e:00:0a:ff:00",
            "fa:16:3e:00:0a:+f",
            "é:16",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn writing_and_reading_is_the_identity(octets: [u8; 6]) {
            let mac = MacAddress(octets);
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
        }

        #[test]
        fn reading_never_panics(text in ".*") {
            let _ = text.parse::<MacAddress>();
        }
    }
}
