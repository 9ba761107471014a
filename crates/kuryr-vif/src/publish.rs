//! Ports of the host that lead to ports of a container (`docker run -p`).

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::Attachment;

/// Leads ports of the host to containers.
///
/// Both verbs converge, and are bounded by their deadline.
#[async_trait]
pub trait Publish: Send + Sync {
    /// Makes `ports`, and no others, lead to the container that `attachment` is plugged for.
    ///
    /// On failure no port leads there that did not before.
    ///
    /// # Errors
    /// Somebody else has one of the ports, or the host refuses.
    async fn publish(
        &self,
        attachment: &Attachment,
        ports: &[PublishedPort],
        deadline: Instant,
    ) -> Result<(), PublishError>;
}

/// A port of the host that leads to a port of a container.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublishedPort {
    /// The protocol of both.
    pub transport: Transport,
    /// The address of the host that it is reached at: 0.0.0.0 is any of IPv4, `::` any of IPv6, `None`
    /// any of both.
    pub host_ip: Option<IpAddr>,
    /// The host's port; 0 leaves the choice to the host.
    pub host_port: u16,
    /// The last of the ports that one is to be chosen from; otherwise the same as `host_port`.
    pub host_port_end: u16,
    /// The container's port.
    pub container_port: u16,
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            Some(ip) => write!(f, "{ip}:")?,
            None => {}
        }
        write!(f, "{}", self.host_port)?;
        if self.host_port_end > self.host_port {
            write!(f, "-{}", self.host_port_end)?;
        }
        write!(f, "/{}", self.transport)
    }
}

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Transport {
    /// By its number in an IP header (IANA's protocol numbers).
    pub fn of_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    /// Its number in an IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Why a port could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else has it.
    #[error("port {port} of this host is in use by {user}: stop that, or publish another port")]
    InUse {
        /// The port.
        port: PublishedPort,
        /// Who has it, for people.
        user: String,
    },
    /// The host has no such address.
    #[error("this host has no address {address} to publish port {port} at")]
    NoSuchAddress {
        /// The port.
        port: PublishedPort,
        /// The address.
        address: IpAddr,
    },
    /// The host refused, or did not answer in time.
    #[error("could not {action} port {port}")]
    Refused {
        /// What was being done.
        action: &'static str,
        /// The port.
        port: PublishedPort,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_reads_as_docker_writes_it() {
        let mut port = PublishedPort {
            transport: Transport::Tcp,
            host_ip: None,
            host_port: 8080,
            host_port_end: 8080,
            container_port: 80,
        };
        assert_eq!(port.to_string(), "8080/tcp");
        port.host_port_end = 8090;
        port.host_ip = Some([0; 8].into());
        assert_eq!(port.to_string(), "[::]:8080-8090/tcp");
    }
}
