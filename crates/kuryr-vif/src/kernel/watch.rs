//! Tells when an interface has gone.

use std::io;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::LinkAttribute;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::unix::AsyncFd;

use super::KernelError;

/// Tells when an interface has gone.
pub struct LinkWatch {
    socket: AsyncFd<Socket>,
}

/// The kernel's group of news about interfaces (`RTNLGRP_LINK`).
const LINKS: u32 = 1;
/// More news came than were read.
const ENOBUFS: i32 = 105;

impl LinkWatch {
    /// Listens from now on.
    ///
    /// # Errors
    /// The kernel gives no such socket.
    pub fn new() -> Result<Self, KernelError> {
        let listen = || -> io::Result<AsyncFd<Socket>> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            socket.add_membership(LINKS)?;
            socket.set_non_blocking(true)?;
            registered(socket)
        };
        let socket = listen().map_err(KernelError::Socket)?;
        Ok(Self { socket })
    }

    /// Waits for the next interface that goes, and gives its name; none when news were lost: any
    /// may have gone.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn gone(&mut self) -> Result<Option<String>, KernelError> {
        loop {
            let Some(bytes) = self.news().await? else {
                return Ok(None);
            };
            if let Some(name) = name_of_deleted(&bytes) {
                return Ok(Some(name));
            }
        }
    }

    /// Waits until anything changes in any interface.
    pub(crate) async fn changed(&mut self) -> Result<(), KernelError> {
        self.news().await.map(drop)
    }

    /// The next message; none when some were lost.
    async fn news(&mut self) -> Result<Option<Vec<u8>>, KernelError> {
        loop {
            let mut ready = self.socket.readable().await.map_err(KernelError::Socket)?;
            let read = ready.try_io(|socket| Ok(socket.get_ref().recv_from_full()?.0));
            match read {
                Err(_would_block) => {}
                Ok(Err(error)) if error.raw_os_error() == Some(ENOBUFS) => return Ok(None),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(outcome) => return outcome.map(Some).map_err(KernelError::Socket),
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe; this socket owns its descriptor for as long as it is there"
)]
fn registered(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    AsyncFd::new(socket)
}

/// News come one by one.
fn name_of_deleted(bytes: &[u8]) -> Option<String> {
    let message = NetlinkMessage::<Message>::deserialize(bytes).ok()?;
    let NetlinkPayload::InnerMessage(Message::DelLink(link)) = message.payload else {
        return None;
    };
    link.attributes.into_iter().find_map(|attribute| {
        if let LinkAttribute::IfName(name) = attribute {
            Some(name)
        } else {
            None
        }
    })
}
