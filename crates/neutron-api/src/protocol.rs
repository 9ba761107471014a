//! Protocols above IP, as security group rules name them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A protocol above IP: one of Neutron's names, or a number.
///
/// Shown as it was written: Neutron keeps `6` and `tcp` apart, and so does this.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Protocol {
    number: u8,
    text: String,
}

/// Neutron's names (`IP_PROTOCOL_MAP` in neutron-lib), with the numbers of IANA.
const NAMES: [(&str, u8); 25] = [
    ("ah", 51),
    ("dccp", 33),
    ("egp", 8),
    ("esp", 50),
    ("gre", 47),
    ("hopopt", 0),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("ip", 0),
    ("ipip", 4),
    ("ipv6-encap", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("ospf", 89),
    ("pgm", 113),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];

impl Protocol {
    /// ICMP, for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMP_V6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;

    /// Its number in the IP header.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.to_ascii_lowercase();
        let named = NAMES.iter().find(|(name, _)| *name == text);
        let number = match named {
            Some((_, number)) => Some(*number),
            None => text.parse().ok(),
        };
        match number {
            Some(number) => Ok(Self { number, text }),
            None => Err(UnknownProtocol(text)),
        }
    }
}

impl TryFrom<String> for Protocol {
    type Error = UnknownProtocol;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> Self {
        protocol.text
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text is neither a name of a protocol nor a number of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownProtocol(String);

impl fmt::Display for UnknownProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a protocol (expected a name such as tcp, or a number from 0 to 255)",
            self.0
        )
    }
}

impl std::error::Error for UnknownProtocol {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_number_are_one_protocol_written_in_two_ways() {
        let (name, number): (Protocol, Protocol) = ("TCP".parse().unwrap(), "6".parse().unwrap());
        assert_eq!((name.number(), number.number()), (6, 6));
        assert_eq!((name.as_str(), number.as_str()), ("tcp", "6"));
    }

    #[test]
    fn what_is_no_protocol_is_refused() {
        for text in ["", "any", "256", "-1", "tcp,udp"] {
            assert!(text.parse::<Protocol>().is_err(), "{text}");
        }
    }
}
