//! What front ends ask for, and what they get.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use kuryr_vif::IfName;
use neutron_api::{IpVersion, MacAddress};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::program::Program;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The identifier as the front end wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(id: &str) -> Result<Self, InvalidId> {
                let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                if (1..=128).contains(&id.len()) && id.chars().all(legal) {
                    Ok(Self(id.to_owned()))
                } else {
                    Err(InvalidId(id.to_owned()))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

names! {
    /// The container runtime's identifier of a network: Docker's 64 hexadecimal digits, or 25
    /// letters and digits in swarm mode.
    NetworkId,
    /// The container runtime's identifier of an endpoint: one container's place on one network.
    EndpointId,
    /// Our identifier of an address pool, as the container runtime keeps it.
    PoolId,
}

/// The text is not an identifier.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not an identifier (expected 1 to 128 letters, digits, '-', '_' or '.')")]
pub struct InvalidId(String);

/// A range of addresses to be set aside for a network that is going to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolRequest {
    /// The version of its addresses.
    pub version: IpVersion,
    /// The range; none means one of the default subnet pool's.
    pub cidr: Option<IpNet>,
    /// The part of it that addresses are to be taken from.
    pub part: Option<IpNet>,
    /// The user's options (`--ipam-opt`).
    pub options: BTreeMap<String, String>,
}

/// A range of addresses that was set aside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pool {
    /// To be given to the other verbs.
    pub id: PoolId,
    /// The range.
    pub cidr: IpNet,
}

/// The gateway of a range.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gateway {
    /// Its address, with the range's prefix length.
    At(IpNet),
    /// There is none for addresses of this version.
    None(IpVersion),
}

/// An address to be reserved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AddressRequest {
    /// The address; none means any.
    pub address: Option<IpAddr>,
    /// The hardware address that will go with it, where the runtime has chosen it already.
    pub mac: Option<MacAddress>,
}

/// Who asks for something to be made. One that has hung up before it was made never learns of it.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    line: CancellationToken,
    program: Option<Program>,
}

impl From<Program> for Caller {
    fn from(program: Program) -> Self {
        let line = CancellationToken::new();
        let program = Some(program);
        Self { line, program }
    }
}

impl Caller {
    /// Which program it is, if that is known.
    pub fn program(&self) -> Option<Program> {
        self.program
    }

    /// From now on nobody waits for the answer.
    pub fn hang_up(&self) {
        self.line.cancel();
    }

    /// Hangs up when it is dropped, unless it is disarmed.
    pub fn on_the_line(&self) -> DropGuard {
        self.line.clone().drop_guard()
    }

    /// Whether nobody waits for the answer.
    pub fn is_gone(&self) -> bool {
        self.line.is_cancelled()
    }
}

/// A network to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewNetwork {
    /// The runtime's identifier.
    pub id: NetworkId,
    /// Its ranges of addresses.
    pub ranges: Vec<Range>,
    /// Whether it is to have no way out.
    pub internal: bool,
    /// The user's options (`-o`).
    pub options: BTreeMap<String, String>,
}

/// A range of addresses of a network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Range {
    /// The range.
    pub cidr: IpNet,
    /// Its gateway; none means that it has none.
    pub gateway: Option<IpAddr>,
    /// Addresses that must not be given to containers.
    pub reserved: Vec<IpAddr>,
}

/// An endpoint to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewEndpoint {
    /// The network that it is to be on.
    pub network: NetworkId,
    /// The runtime's identifier.
    pub id: EndpointId,
    /// Its addresses, with their networks' prefix lengths.
    pub addresses: Vec<IpNet>,
    /// The hardware address that it must have; none means Neutron's choice.
    pub mac: Option<MacAddress>,
    /// The user's options.
    pub options: BTreeMap<String, String>,
}

/// A port that a container serves, by the protocol's number in the IP header.
#[derive(
    Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
pub struct ExposedPort {
    /// The protocol, such as 6 for TCP.
    pub protocol: u8,
    /// The port, of protocols that have ports.
    pub port: u16,
}

/// The interface of an endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// Its hardware address; none where it has its host's, which can't be changed.
    pub mac: Option<MacAddress>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
}

/// What a container's sandbox needs in order to use an endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attachment {
    /// The interface that the runtime is to move into the sandbox.
    pub interface: IfName,
    /// What the interface is called there begins with this; the runtime adds a number.
    pub prefix: String,
    /// Where packets for the rest of the world go, at most one for each IP version.
    pub gateways: Vec<IpAddr>,
    /// More routes.
    pub routes: Vec<Route>,
}

/// A route in a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// By way of; none means that it is on the link.
    pub next_hop: Option<IpAddr>,
}

/// More of an endpoint, for people: the runtime shows it and does not read it.
pub type Details = BTreeMap<String, String>;
