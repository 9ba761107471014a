//! Why an interface could not be plugged or unplugged.

use std::path::PathBuf;

use crate::{IfName, KernelError, OvsdbError};

/// Why an interface could not be plugged or unplugged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused, or did not answer.
    #[error("could not {action} {interface}")]
    Kernel {
        /// What was being done.
        action: &'static str,
        /// To which interface.
        interface: IfName,
        /// The kernel's answer.
        source: KernelError,
    },
    /// An interface of that name is there and nobody plugged it.
    #[error("{interface} exists already and is no veth pair but {kind}: remove or rename it")]
    NameTaken {
        /// The name.
        interface: IfName,
        /// What bears it.
        kind: String,
    },
    /// The Open vSwitch database could not be reached, or refused.
    #[error("could not {action} {object} in the Open vSwitch database at {}", socket.display())]
    Database {
        /// What was being done.
        action: &'static str,
        /// To which interface, bridge or row.
        object: String,
        /// Where ovsdb-server was asked.
        socket: PathBuf,
        /// Its answer.
        source: OvsdbError,
    },
    /// The bridge does not exist.
    #[error(
        "Open vSwitch has no bridge {bridge} (database {}): check that this host's Neutron agent \
         (neutron-openvswitch-agent or ovn-controller) runs and has made it, and that the socket \
         is the one of the Open vSwitch meant",
        socket.display()
    )]
    NoSuchBridge {
        /// The bridge's name.
        bridge: String,
        /// Where ovsdb-server was asked.
        socket: PathBuf,
    },
    /// ovs-vswitchd could not use the interface.
    #[error(
        "Open vSwitch could not take {interface} into {bridge}: {reason}; see the log of ovs-vswitchd"
    )]
    Rejected {
        /// The interface.
        interface: IfName,
        /// The bridge's name.
        bridge: String,
        /// The text of ovs-vswitchd.
        reason: String,
    },
    /// ovs-vswitchd has not acted on the change of the database in time.
    #[error(
        "ovs-vswitchd has not acted on {interface} in {bridge} in time: check that it runs and answers (`ovs-appctl version`)"
    )]
    NotRealised {
        /// The interface.
        interface: IfName,
        /// The bridge's name.
        bridge: String,
    },
    /// The switch has no such interface, or no longer.
    #[error("{interface} is not plugged, or was unplugged meanwhile: plug it again")]
    NotPlugged {
        /// The interface.
        interface: IfName,
    },
    /// Another verb, or the kernel, held the interface until the deadline.
    #[error("could not {action} {interface} in time: another call or the kernel holds it")]
    Busy {
        /// What was to be done.
        action: &'static str,
        /// To which interface.
        interface: IfName,
    },
    /// Two parts failed, each in its own way.
    #[error("{first}; moreover {also}")]
    Both {
        /// What failed first.
        #[source]
        first: Box<Self>,
        /// What failed after it.
        also: Box<Self>,
    },
}

impl Error {
    /// Both outcomes as one: nothing of a failure is lost.
    pub(crate) fn join(first: Result<(), Self>, then: Result<(), Self>) -> Result<(), Self> {
        match (first, then) {
            (Ok(()), outcome) | (outcome, Ok(())) => outcome,
            (Err(first), Err(also)) => Err(Self::Both {
                first: Box::new(first),
                also: Box::new(also),
            }),
        }
    }
}
