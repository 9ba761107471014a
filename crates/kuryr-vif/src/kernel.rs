//! Asks the kernel over netlink, one request and its answer at a time. Blocking.

pub(crate) mod announce;
mod attribute;
pub(crate) mod bridge;
pub(crate) mod device;
pub(crate) mod filter;
mod link;
mod mark;
pub(crate) mod offload;
pub(crate) mod route;
pub(crate) mod sets;
pub(crate) mod shared;
pub(crate) mod veth;
pub(crate) mod watch;

use std::io;

use netlink_packet_core::{
    DecodeError, ErrorMessage, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkDeserializable, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};

/// Why the kernel did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// It refused; `reason` is its own text where it gave one (extended acknowledgement).
    #[error("the kernel refused: {errno}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Refused {
        /// The error number, as text.
        errno: io::Error,
        /// The kernel's own words, or nothing.
        reason: String,
    },
    /// The netlink socket failed.
    #[error("the netlink socket failed")]
    Socket(#[source] io::Error),
    /// The packet socket failed.
    #[error("the packet socket failed")]
    Packets(#[source] io::Error),
    /// The answer was not understood.
    #[error("the kernel's answer was not understood")]
    Answer(#[source] DecodeError),
}

impl KernelError {
    /// Whether the kernel refused with error number `errno`.
    pub(crate) fn is(&self, errno: i32) -> bool {
        matches!(self, Self::Refused { errno: told, .. } if told.raw_os_error() == Some(errno))
    }

    /// The refusal in `error`; `explained` when attributes with the kernel's text follow.
    fn refused(error: &ErrorMessage, explained: bool) -> Self {
        Self::Refused {
            errno: error.to_io(),
            reason: explained
                .then(|| reason_in(&error.header))
                .flatten()
                .unwrap_or_default(),
        }
    }
}

/// The kernel's text in what follows an error's number: the header of the request (capped to it by
/// `NETLINK_CAP_ACK`), then attributes.
fn reason_in(told: &[u8]) -> Option<String> {
    NlasIterator::new(told.get(NETLINK_HEADER..)?)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .map(|text| {
            String::from_utf8_lossy(text.value())
                .trim_end_matches('\0')
                .to_owned()
        })
}

/// A conversation with one part of the kernel, in the network namespace of its thread.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// With the part that has links, addresses and routes (`NETLINK_ROUTE`).
    pub(crate) fn route() -> Result<Self, KernelError> {
        Self::open(0)
    }

    /// With the parts that are found by name (`NETLINK_GENERIC`).
    pub(crate) fn generic() -> Result<Self, KernelError> {
        Self::open(16)
    }

    fn open(protocol: isize) -> Result<Self, KernelError> {
        let open = || {
            let mut socket = Socket::new(protocol)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            // The kernel answers before `send` returns; if it ever does not, fail and don't hang.
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        Ok(Self {
            socket: open().map_err(KernelError::Socket)?,
            sequence: 0,
        })
    }

    /// Sends `request` and gives back what the kernel said before it acknowledged.
    pub(crate) fn ask<M>(&mut self, request: M, flags: u16) -> Result<Vec<M>, KernelError>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
        NetlinkPayload<M>: From<M>,
    {
        self.sequence += 1;
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(KernelError::Socket)?;

        let mut said = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(KernelError::Socket)?;
            for message in messages(&datagram) {
                let message: NetlinkMessage<M> = message.map_err(KernelError::Answer)?;
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => said.push(answer),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        let explained = message.header.flags & NLM_F_ACK_TLVS != 0;
                        return Err(KernelError::refused(&error, explained));
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(said),
                    NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {}
                }
            }
        }
    }
}

/// The messages in one datagram, each aligned to four bytes.
fn messages<M: NetlinkDeserializable>(
    mut rest: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<M>, DecodeError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = match NetlinkBuffer::new_checked(rest) {
            Ok(header) => header.length() as usize,
            Err(error) => {
                rest = &[];
                return Some(Err(error));
            }
        };
        let (message, after) = rest.split_at(length.min(rest.len()));
        rest = after
            .get(length.next_multiple_of(4) - length..)
            .unwrap_or(&[]);
        Some(NetlinkMessage::deserialize(message))
    })
}

const NETLINK_HEADER: usize = 16;
const NLMSGERR_ATTR_MSG: u16 = 1;

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reading_what_the_kernel_says_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = reason_in(&bytes);
            for message in messages::<RouteNetlinkMessage>(&bytes) {
                if message.is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn the_kernels_own_words_are_found() {
        let mut told = vec![0; NETLINK_HEADER];
        told.extend([10, 0, 1, 0]);
        told.extend(b"no\xffo!\0\0\0");
        assert_eq!(reason_in(&told).unwrap(), "no\u{fffd}o!");
    }
}
