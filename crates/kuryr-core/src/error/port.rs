//! Why a port that there is can't be an endpoint's, or not as the user wants it.

use std::fmt;
use std::net::IpAddr;

use neutron_api::{MacAddress, Port, PortId};

use super::Kind;
use crate::driver::Driver;
use crate::journal::JournalError;
use crate::names;

/// Why a port that there is can't be an endpoint's, or not as the user wants it.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody else uses it.
    #[error("address {address} is in use by {whose}")]
    AddressInUse {
        /// The address that was asked for.
        address: IpAddr,
        /// Who has it.
        whose: Whose,
    },
    /// Somebody else uses it.
    #[error("MAC address {mac} is in use by {whose}")]
    MacInUse {
        /// The MAC address that was asked for.
        mac: MacAddress,
        /// Who has it.
        whose: Whose,
    },
    /// Somebody else began to use it while we were about to.
    #[error("somebody else has just taken {whose}")]
    Taken {
        /// Who has it.
        whose: Whose,
    },
    /// A port could be used, but the runtime has asked for other addresses before it said which.
    #[error(
        "MAC address {mac} is that of port {port}: to use this port, give its address too (--ip), one of {}",
        listed(.addresses)
    )]
    OnlyItsMac {
        /// The MAC address that was asked for.
        mac: MacAddress,
        /// The port.
        port: PortId,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// A port that was there before keeps its MAC address.
    #[error(
        "port {port}, which has the address {address}, has the MAC address {has}, not {asked}: give --mac-address {has}; \
         give none if Docker chooses none by itself (requires_mac_address)"
    )]
    OtherMac {
        /// The port.
        port: PortId,
        /// Its address, which was asked for.
        address: IpAddr,
        /// Its MAC address.
        has: MacAddress,
        /// The MAC address that was asked for.
        asked: MacAddress,
    },
    /// A port that was there before keeps its addresses.
    #[error(
        "port {port} was there before and keeps its addresses ({}), so it can't have {}: ask for its own only, \
         or give it an address of each subnet in Neutron",
        listed(.has), listed(.asked)
    )]
    OtherAddresses {
        /// The port.
        port: PortId,
        /// Its addresses.
        has: Vec<IpAddr>,
        /// The addresses that were asked for.
        asked: Vec<IpAddr>,
    },
    /// A port that was there before keeps its settings.
    #[error(
        "port {0} was there before and is not changed: leave the options neutron.port.* out, or set them in Neutron"
    )]
    KeepsSettings(PortId),
    /// A port that was there before is used as it is, and a guest's containers need ports of ours.
    #[error(
        "port {port} was there before, and with driver {driver} a container gets only a port that Kuryr makes: leave the port's address out (--ip), or delete the port"
    )]
    NotByGuest {
        /// The port.
        port: PortId,
        /// How the network's ports are plugged.
        driver: Driver,
    },
    /// A port was changed by somebody else while we were about to use it.
    #[error("port {0} is being changed by somebody else; try again")]
    Changing(PortId),
    /// Neutron did not answer in time.
    #[error(
        "could not let in what is for the exposed ports of port {0} within the time limit; is Neutron overloaded or unreachable? (process_external_connectivity = false in kuryr.conf does without)"
    )]
    NotLetIn(PortId),
    /// How a port was before can't be noted, so it could not be put back.
    #[error("could not note how port {port} was before")]
    Note {
        /// The port.
        port: PortId,
        /// Why not.
        source: JournalError,
    },
}

/// A port, and who uses it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Whose {
    port: PortId,
    name: String,
    owner: String,
    device: String,
    host: Option<String>,
}

impl Whose {
    /// Whether it is a warm port of this host.
    pub(super) fn is_pool_of(&self, host: &str) -> bool {
        names::is_pool_port(&self.name) && self.host.as_deref() == Some(host)
    }
}

impl From<&Port> for Whose {
    fn from(port: &Port) -> Self {
        Self {
            port: port.id,
            name: port.name.clone(),
            owner: port.device_owner.clone(),
            device: port.device_id.clone(),
            host: port.host_id.clone().filter(|host| !host.is_empty()),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            port,
            name,
            owner,
            device,
            host,
        } = self;
        write!(
            f,
            "port {port} (name {name:?}, device owner {owner:?}, device {device:?}, "
        )?;
        match host {
            Some(host) => write!(f, "on host {host})"),
            None => f.write_str("on no host)"),
        }
    }
}

impl PortError {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::AddressInUse { .. } | Self::MacInUse { .. } | Self::Taken { .. } => {
                Kind::Conflict
            }
            Self::OnlyItsMac { .. }
            | Self::OtherMac { .. }
            | Self::OtherAddresses { .. }
            | Self::KeepsSettings(_)
            | Self::NotByGuest { .. } => Kind::Invalid,
            Self::Changing(_) | Self::NotLetIn(_) => Kind::Unavailable,
            Self::Note { .. } => Kind::Failed,
        }
    }
}

fn listed(addresses: &[IpAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    match addresses.as_slice() {
        [] => "none".to_owned(),
        some => some.join(", "),
    }
}
