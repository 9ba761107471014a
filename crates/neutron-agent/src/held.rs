//! The sockets that hold published ports: a port in use is found, and stays taken.
//!
//! nftables leads packets on before they get here. What gets here all the same, by ::1 or by IPv6 to
//! a container that has none, is a TCP connection that this program carries on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::time::Duration;

use kuryr_vif::{PublishError, PublishedPort, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::user;

/// A published port that is ours, on every address that it is published at.
pub(crate) struct Held {
    /// The port, with the one that was chosen.
    pub(crate) port: PublishedPort,
    /// Closed when nobody needs the port any more.
    sockets: Vec<Socket>,
    _carriers: Vec<AbortOnDropHandle<()>>,
}

impl Drop for Held {
    /// Ends listening at once: the task that has the socket ends some time later.
    fn drop(&mut self) {
        if self.port.transport == Transport::Tcp {
            for socket in &self.sockets {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Where connections are carried on.
#[derive(Clone)]
pub(crate) struct Carriers {
    /// Knows the tasks.
    pub(crate) tracker: TaskTracker,
    /// Ends them.
    pub(crate) stop: CancellationToken,
}

/// Takes `port`, or the first that is free of its range; `container` is where it leads.
pub(crate) fn hold(
    port: &PublishedPort,
    container: IpAddr,
    carriers: &Carriers,
    ours: &dyn Fn(&PublishedPort) -> Option<String>,
) -> Result<Held, PublishError> {
    let range = port.host_port..=port.host_port_end.max(port.host_port);
    let mut taken = None;
    for number in range {
        let one = PublishedPort {
            host_port: number,
            host_port_end: number,
            ..*port
        };
        match hold_one(one, container, carriers) {
            Err(PublishError::InUse { port, .. }) => {
                taken.get_or_insert(port);
            }
            outcome => return outcome,
        }
    }
    let port = taken.unwrap_or(*port);
    let user = ours(&port).or_else(|| user::of(&port));
    Err(PublishError::InUse {
        port,
        user: user.unwrap_or_else(|| "another program".to_owned()),
    })
}

fn hold_one(
    mut port: PublishedPort,
    container: IpAddr,
    carriers: &Carriers,
) -> Result<Held, PublishError> {
    let (mut sockets, mut tasks) = (Vec::new(), Vec::new());
    for address in addresses(&port) {
        let socket = match bind(port.transport, SocketAddr::new(address, port.host_port)) {
            Ok(Some(socket)) => socket,
            Ok(None) => continue,
            Err(error) => return Err(refusal(&port, address, error)),
        };
        // The host has chosen it.
        if port.host_port == 0 {
            let bound = socket.local_addr().ok().and_then(|at| at.as_socket());
            port.host_port = bound.map_or(0, |at| at.port());
            port.host_port_end = port.host_port;
        }
        if port.transport == Transport::Tcp {
            let to = SocketAddr::new(container, port.container_port);
            let listener = socket
                .try_clone()
                .and_then(|socket| TcpListener::from_std(socket.into()));
            let listener = listener.map_err(|error| refusal(&port, address, error))?;
            let stop = carriers.stop.clone();
            let carry = stop.run_until_cancelled_owned(carry(listener, to));
            let task = carriers.tracker.spawn(async move {
                carry.await;
            });
            tasks.push(AbortOnDropHandle::new(task));
        }
        sockets.push(socket);
    }
    Ok(Held {
        port,
        sockets,
        _carriers: tasks,
    })
}

fn addresses(port: &PublishedPort) -> Vec<IpAddr> {
    port.host_ip.map_or_else(
        || vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        |ip| vec![ip],
    )
}

/// None where the kernel does not have the protocol: then nobody else can have the port.
fn bind(transport: Transport, at: SocketAddr) -> std::io::Result<Option<Socket>> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
        Transport::Sctp => (Type::STREAM, Protocol::from(132)),
    };
    let socket = match Socket::new(Domain::for_address(at), kind, Some(protocol)) {
        Ok(socket) => socket,
        Err(error) if matches!(error.raw_os_error(), Some(EPROTONOSUPPORT | EAFNOSUPPORT)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if transport == Transport::Tcp {
        // Connections that are over still occupy it for a minute otherwise.
        socket.set_reuse_address(true)?;
    }
    match socket.bind(&at.into()) {
        // IPv6 is off.
        Err(error) if error.raw_os_error() == Some(EADDRNOTAVAIL) && at.ip().is_unspecified() => {
            return Ok(None);
        }
        outcome => outcome?,
    }
    if transport == Transport::Tcp {
        socket.listen(128)?;
    }
    socket.set_nonblocking(true)?;
    Ok(Some(socket))
}

const EPROTONOSUPPORT: i32 = 93;
const EAFNOSUPPORT: i32 = 97;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;

fn refusal(port: &PublishedPort, address: IpAddr, error: std::io::Error) -> PublishError {
    let port = *port;
    match error.raw_os_error() {
        Some(EADDRINUSE) => PublishError::InUse {
            port,
            user: String::new(),
        },
        Some(EADDRNOTAVAIL) => PublishError::NoSuchAddress { port, address },
        _ => PublishError::Refused {
            action: "take",
            port,
            source: Box::new(error),
        },
    }
}

/// Carries on what connects, until it is dropped.
async fn carry(listener: TcpListener, to: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((near, _)) => drop(connections.spawn(join(near, to))),
                Err(error) => {
                    tracing::debug!(%to, %error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn join(mut near: TcpStream, to: SocketAddr) {
    let carried = async {
        let mut far = TcpStream::connect(to).await?;
        tokio::io::copy_bidirectional(&mut near, &mut far).await
    };
    if let Err(error) = carried.await {
        tracing::debug!(%to, %error, "a connection was not carried on");
    }
}
