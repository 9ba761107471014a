//! Opens the sockets that others connect to, or takes over those that systemd opened.

mod address;
mod tls;
mod unix;

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use anyhow::Context;
use listenfd::ListenFd;
use tokio_rustls::TlsAcceptor;

pub(crate) use address::Address;
use unix::SocketFile;

use crate::config::TlsFiles;

/// A socket that is open and listens. Dropping it removes its file, if that is still its own.
pub(crate) struct Socket {
    /// What is accepted from.
    pub(crate) listener: Listener,
    /// Set if what is accepted is to speak TLS.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Where it listens, to be shown.
    pub(crate) place: String,
    /// Kept for the removal at the end.
    _file: Option<SocketFile>,
}

/// The kernel's side of a socket.
pub(crate) enum Listener {
    /// On a path.
    Unix(tokio::net::UnixListener),
    /// On an address.
    Tcp(tokio::net::TcpListener),
}

/// Opens a socket at `address`. `tls` is needed if that is `https`.
pub(crate) fn open(address: &Address, tls: Option<&TlsFiles>) -> anyhow::Result<Socket> {
    let tls = tls.map(tls::acceptor).transpose()?;
    let (listener, file, place) = match address {
        Address::Unix(path) => {
            let (listener, file) = unix::bind(path)?;
            (from_unix(listener)?, Some(file), address.to_string())
        }
        Address::Tcp { host, port, tls } => {
            let listener = TcpListener::bind((host.as_str(), *port))
                .with_context(|| format!("could not listen at {address}"))?;
            // Tells which port it is where the kernel chose one.
            let bound = listener.local_addr()?;
            let scheme = if *tls { "https" } else { "http" };
            (from_tcp(listener)?, None, format!("{scheme}://{bound}"))
        }
    };
    Ok(Socket {
        listener,
        tls,
        place,
        _file: file,
    })
}

/// The sockets that were passed on by who started us, in the manner of systemd.
pub(crate) fn inherited(tls: Option<&TlsFiles>) -> anyhow::Result<Vec<Socket>> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let socket = match passed.take_unix_listener(index) {
            Ok(Some(listener)) => {
                let path = listener.local_addr()?;
                let path = path.as_pathname().map(|path| path.display().to_string());
                Socket {
                    listener: from_unix(listener)?,
                    tls: None,
                    place: format!("unix://{}", path.unwrap_or_default()),
                    _file: None,
                }
            }
            _ => {
                let listener = passed
                    .take_tcp_listener(index)
                    .ok()
                    .flatten()
                    .with_context(|| format!("the socket that was passed as number {index} is neither a unix nor a TCP socket that listens"))?;
                let scheme = if tls.is_some() { "https" } else { "http" };
                Socket {
                    place: format!("{scheme}://{}", listener.local_addr()?),
                    listener: from_tcp(listener)?,
                    tls: tls.map(tls::acceptor).transpose()?,
                    _file: None,
                }
            }
        };
        sockets.push(socket);
    }
    Ok(sockets)
}

fn from_unix(listener: UnixListener) -> anyhow::Result<Listener> {
    listener.set_nonblocking(true)?;
    Ok(Listener::Unix(tokio::net::UnixListener::from_std(
        listener,
    )?))
}

fn from_tcp(listener: TcpListener) -> anyhow::Result<Listener> {
    listener.set_nonblocking(true)?;
    Ok(Listener::Tcp(tokio::net::TcpListener::from_std(listener)?))
}
