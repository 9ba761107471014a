//! Why an interface could not be plugged or unplugged.

mod device;

use std::path::PathBuf;

use crate::{IfName, KernelError, OvsdbError, PciSlot};

pub use device::DeviceTrouble;
pub(crate) use device::is_for_guests;

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
    #[error(
        "{interface} exists already and is no {wanted} of ours but {kind}: remove or rename it"
    )]
    NameTaken {
        /// The name.
        interface: IfName,
        /// What shall bear it.
        wanted: &'static str,
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
    /// The Linux bridge does not exist.
    #[error(
        "could not plug {interface}: this host has no bridge {bridge}; was it deleted by hand?"
    )]
    NoLinuxBridge {
        /// The bridge's name.
        bridge: IfName,
        /// What was to be plugged into it.
        interface: IfName,
    },
    /// The interface that is to be shared does not exist.
    #[error(
        "could not plug {interface}: this host has no interface {parent} to share (link_iface in kuryr.conf)"
    )]
    NoParent {
        /// The interface that is to be shared.
        parent: IfName,
        /// What was to be plugged.
        interface: IfName,
    },
    /// Another interface of this machine, here or in a container, has the VLAN id.
    #[error(
        "could not plug {interface}: another interface on {parent} has the VLAN id {id}, though its trunk in Neutron \
         did not: delete it if nothing needs it (ip -details link show type vlan), or add it to the trunk"
    )]
    VlanTaken {
        /// What was to be plugged.
        interface: IfName,
        /// The interface that is shared.
        parent: IfName,
        /// The VLAN id.
        id: u16,
    },
    /// A device of a card can't go into a container, or come back.
    #[error("could not {action} PCI device {slot}")]
    Device {
        /// What was being done.
        action: &'static str,
        /// Where the device is.
        slot: PciSlot,
        /// What is in the way.
        source: Box<DeviceTrouble>,
    },
    /// What the interface needs on this host is not there.
    #[error("could not plug {interface}")]
    NotReady {
        /// The interface.
        interface: IfName,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no program for this kind of port.
    #[error("could not {verb} {interface}, whose port is bound as {kind:?}: there is no program {}{hint}", program.display())]
    NoProgram {
        /// What it was to do.
        verb: &'static str,
        /// The interface.
        interface: IfName,
        /// The port's `binding:vif_type`.
        kind: String,
        /// Where it should be.
        program: PathBuf,
        /// What to do.
        hint: &'static str,
        /// Why it could not be started.
        source: std::io::Error,
    },
    /// A program did not do what it was asked.
    #[error("could not {verb} {interface}: {} {outcome}{said}", program.display())]
    Program {
        /// What it was to do.
        verb: &'static str,
        /// The interface.
        interface: IfName,
        /// The program.
        program: PathBuf,
        /// How it ended.
        outcome: String,
        /// What it said last.
        said: String,
    },
    /// What a program has been told can't be noted, or read again.
    #[error("could not keep a note of {interface} in {}", path.display())]
    Note {
        /// The interface.
        interface: String,
        /// The note.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is plugged was noted by a later version.
    #[error(
        "{} was written by a newer Kuryr (version {found}, this one knows up to {known}): start that one \
         until the container has ended", path.display()
    )]
    NewerNote {
        /// The note.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that this program knows.
        known: u64,
    },
    /// What is plugged could not be listed.
    #[error("could not list this host's interfaces")]
    Listing(#[source] KernelError),
    /// Open vSwitch is wanted on a host that has none.
    #[error("{interface} is to be plugged into Open vSwitch, which is not used here")]
    NoOpenVSwitch {
        /// The interface.
        interface: IfName,
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
