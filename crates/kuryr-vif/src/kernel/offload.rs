//! Switches an interface's transmit checksum offload off, over ethtool's netlink family. Blocking.

use std::convert::Infallible;

use netlink_packet_core::{
    NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable, NlasIterator,
};

use super::attribute::{attribute, nested, text};
use super::{KernelError, Netlink};
use crate::IfName;

/// Makes the kernel compute every checksum of what `interface` sends before it leaves.
///
/// The segmentation offloads rest on this one: the kernel suspends them by itself.
pub(crate) fn leave_no_checksum_to_the_device(interface: &IfName) -> Result<(), KernelError> {
    let mut kernel = Netlink::generic()?;
    let family = family(&mut kernel)?;
    kernel.ask(switch_off(family, interface), 0).map(drop)
}

/// What `ethtool -K DEV tx off` would switch off. Features that a device lacks or cannot change are
/// passed over by the kernel; a veth has the second and the last.
const CHECKSUMS: [&str; 5] = [
    "tx-checksum-ipv4",
    "tx-checksum-ip-generic",
    "tx-checksum-ipv6",
    "tx-checksum-fcoe-crc",
    "tx-checksum-sctp",
];

/// A bit that is listed without a value is to be cleared; bits not listed stay.
fn switch_off(family: u16, interface: &IfName) -> Generic {
    let bits: Vec<u8> = CHECKSUMS
        .iter()
        .flat_map(|name| nested(BITSET_BIT, &text(BIT_NAME, name)))
        .collect();
    let mut header = text(HEADER_DEV_NAME, interface.as_str());
    header.extend(attribute(HEADER_FLAGS, &FLAG_OMIT_REPLY.to_ne_bytes()));
    let mut attributes = nested(FEATURES_HEADER, &header);
    attributes.extend(nested(FEATURES_WANTED, &nested(BITSET_BITS, &bits)));
    Generic {
        family,
        command: FEATURES_SET,
        attributes,
    }
}

/// The number that the kernel gave to ethtool's family at boot.
fn family(kernel: &mut Netlink) -> Result<u16, KernelError> {
    let request = Generic {
        family: CONTROL,
        command: GET_FAMILY,
        attributes: text(FAMILY_NAME, "ethtool"),
    };
    let said = kernel.ask(request, 0)?;
    said.iter()
        .flat_map(|answer| NlasIterator::new(answer.attributes.as_slice()))
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == FAMILY_ID)
        .and_then(|id| id.value().try_into().ok().map(u16::from_ne_bytes))
        .ok_or_else(|| KernelError::Answer("ethtool's family has no number".into()))
}

/// A message of generic netlink: a command and attributes for one family.
struct Generic {
    family: u16,
    command: u8,
    attributes: Vec<u8>,
}

impl NetlinkSerializable for Generic {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        GENERIC_HEADER + self.attributes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let header = [self.command, VERSION, 0, 0];
        for (to, from) in buffer.iter_mut().zip(header.iter().chain(&self.attributes)) {
            *to = *from;
        }
    }
}

impl NetlinkDeserializable for Generic {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Infallible> {
        Ok(Self {
            family: header.message_type,
            command: payload.first().copied().unwrap_or_default(),
            attributes: payload.get(GENERIC_HEADER..).unwrap_or_default().to_vec(),
        })
    }
}

impl From<Generic> for NetlinkPayload<Generic> {
    fn from(message: Generic) -> Self {
        Self::InnerMessage(message)
    }
}

// include/uapi/linux/genetlink.h
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const VERSION: u8 = 1;
const GENERIC_HEADER: usize = 4;

// include/uapi/linux/ethtool_netlink.h
const FEATURES_SET: u8 = 12;
const FEATURES_HEADER: u16 = 1;
const FEATURES_WANTED: u16 = 3;
const HEADER_DEV_NAME: u16 = 2;
const HEADER_FLAGS: u16 = 3;
const FLAG_OMIT_REPLY: u32 = 2;
const BITSET_BITS: u16 = 3;
const BITSET_BIT: u16 = 1;
const BIT_NAME: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs root: make test"]
    fn a_refusal_has_the_kernels_own_words() {
        let absent = "kuryr-absent".parse().unwrap();
        let error = leave_no_checksum_to_the_device(&absent).unwrap_err();
        assert!(
            error.to_string().contains("no device matches name"),
            "{error}"
        );
    }
}
