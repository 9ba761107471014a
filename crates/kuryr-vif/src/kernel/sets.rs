//! Changes elements of nftables' sets without `nft`, which takes milliseconds to start and to end,
//! and reads all elements of a set before it adds one. Blocking.

use std::io;

use netlink_packet_core::NetlinkBuffer;

use super::attribute::{attribute, nested, text};
use super::{KernelError, NETLINK_HEADER, Netlink, reason_in};

/// A family of nftables' tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FilterFamily {
    /// Packets of both versions of IP.
    Inet,
    /// Frames on a bridge.
    Bridge,
}

/// What happens to a set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SetVerb {
    /// Its elements are added.
    Add,
    /// Its elements are deleted; all of them where none is named.
    Delete,
}

/// A change of one set or map.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetChange {
    /// The table's family.
    pub family: FilterFamily,
    /// The table.
    pub table: String,
    /// The set or map.
    pub set: String,
    /// What happens.
    pub verb: SetVerb,
    /// To which elements.
    pub elements: Vec<SetElement>,
}

/// An element, as the kernel has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetElement {
    /// The key; of a concatenation each part is padded to four bytes.
    pub key: Vec<u8>,
    /// What a map has for it.
    pub value: Option<SetValue>,
}

/// What a map has for a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetValue {
    /// Data, padded as a key is.
    Data(Vec<u8>),
    /// The packet passes.
    Accept,
    /// It goes on in a chain.
    Goto(String),
}

/// A conversation with the kernel's nftables.
pub struct FilterSets(Netlink);

impl FilterSets {
    /// Opens it, in the network namespace of this thread.
    ///
    /// # Errors
    /// The kernel gives no such socket.
    pub fn open() -> Result<Self, KernelError> {
        Netlink::open(NETLINK_NETFILTER).map(Self)
    }

    /// Makes all `changes`, or none.
    ///
    /// # Errors
    /// What the kernel refuses: an unknown table, set or chain, a key of another length, an element
    /// to be deleted that is not there.
    pub fn apply(&mut self, changes: &[SetChange]) -> Result<(), KernelError> {
        let first = self.0.sequence + 1;
        let mut batch = Vec::new();
        batch.extend(message(BATCH_BEGIN, 0, first, &header(0, NFTABLES), &[]));
        for (change, sequence) in changes.iter().zip(first + 1..) {
            let (kind, flags) = match change.verb {
                SetVerb::Add => (NEW_ELEMENTS, NLM_F_CREATE),
                SetVerb::Delete => (DELETE_ELEMENTS, 0),
            };
            let kind = NFTABLES << 8 | kind;
            let header = header(change.family.number(), 0);
            batch.extend(message(
                kind,
                NLM_F_ACK | flags,
                sequence,
                &header,
                &listed(change),
            ));
        }
        let last = first.wrapping_add(u32::try_from(changes.len()).unwrap_or(u32::MAX));
        self.0.sequence = last.wrapping_add(1);
        let end = message(BATCH_END, 0, self.0.sequence, &header(0, NFTABLES), &[]);
        batch.extend(end);
        let socket = &self.0.socket;
        socket.send(&batch, 0).map_err(KernelError::Socket)?;
        self.outcome(first..=last, changes.len())
    }

    /// The kernel has answered by now: each change is acknowledged, or refused and so all are.
    fn outcome(
        &mut self,
        sequences: std::ops::RangeInclusive<u32>,
        expected: usize,
    ) -> Result<(), KernelError> {
        let (mut acknowledged, mut refused) = (0, None);
        loop {
            let datagram = match self.0.socket.recv_from_full() {
                Ok((datagram, _)) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(KernelError::Socket(error)),
            };
            for (sequence, told) in acknowledgements(&datagram) {
                if !sequences.contains(&sequence) {
                    continue;
                }
                match told {
                    Ok(()) => acknowledged += 1,
                    Err(error) => drop(refused.get_or_insert(error)),
                }
            }
        }
        match refused {
            Some(error) => Err(error),
            None if acknowledged == expected => Ok(()),
            None => {
                let silent = io::Error::other("the kernel has not acknowledged all changes");
                Err(KernelError::Socket(silent))
            }
        }
    }
}

impl FilterFamily {
    fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Bridge => 7,
        }
    }
}

/// What a datagram acknowledges or refuses, by the number of the request.
fn acknowledgements(mut rest: &[u8]) -> Vec<(u32, Result<(), KernelError>)> {
    let mut found = Vec::new();
    while let Ok(message) = NetlinkBuffer::new_checked(rest) {
        let length = (message.length() as usize).min(rest.len());
        let told = rest.get(NETLINK_HEADER..length).unwrap_or_default();
        if let (ACKNOWLEDGEMENT, Some((code, request))) =
            (message.message_type(), told.split_first_chunk::<4>())
        {
            let outcome = match i32::from_ne_bytes(*code) {
                0 => Ok(()),
                code => Err(KernelError::Refused {
                    errno: io::Error::from_raw_os_error(code.saturating_abs()),
                    reason: reason_in(request).unwrap_or_default(),
                }),
            };
            found.push((message.sequence_number(), outcome));
        }
        rest = rest
            .get(length.next_multiple_of(4).max(NETLINK_HEADER)..)
            .unwrap_or_default();
    }
    found
}

/// The attributes of a request about a set's elements.
fn listed(change: &SetChange) -> Vec<u8> {
    let mut body = text(LIST_TABLE, &change.table);
    body.extend(text(LIST_SET, &change.set));
    if !change.elements.is_empty() {
        let elements = change.elements.iter().flat_map(element).collect::<Vec<_>>();
        body.extend(nested(LIST_ELEMENTS, &elements));
    }
    body
}

fn element(element: &SetElement) -> Vec<u8> {
    let mut body = nested(ELEMENT_KEY, &attribute(DATA_VALUE, &element.key));
    let verdict = |code: i32, chain: Option<&str>| {
        let mut verdict = attribute(VERDICT_CODE, &code.to_be_bytes());
        verdict.extend(chain.iter().flat_map(|chain| text(VERDICT_CHAIN, chain)));
        nested(DATA_VERDICT, &verdict)
    };
    let value = element.value.as_ref().map(|value| match value {
        SetValue::Data(bytes) => attribute(DATA_VALUE, bytes),
        SetValue::Accept => verdict(ACCEPT, None),
        SetValue::Goto(chain) => verdict(GOTO, Some(chain)),
    });
    body.extend(value.iter().flat_map(|value| nested(ELEMENT_DATA, value)));
    nested(LIST_ELEMENT, &body)
}

fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn message(kind: u16, flags: u16, sequence: u32, header: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(NETLINK_HEADER + header.len() + body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(header);
    bytes.extend(body);
    bytes
}

// From linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h.
const NETLINK_NETFILTER: isize = 12;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const ACKNOWLEDGEMENT: u16 = 2;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NFTABLES: u16 = 10;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const ACCEPT: i32 = 1;
const GOTO: i32 = -4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reading_acknowledgements_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = acknowledgements(&bytes);
        }
    }
}
