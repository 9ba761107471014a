//! Plugs interfaces into this host; knows neither Neutron nor Docker.
//!
//! A [`Vif`] is a veth pair: the host end is wired into a switch, the container end waits in this
//! network namespace until the container runtime moves it away. [`Plug`] has the verbs, [`Host`]
//! is the kernel and the Open vSwitch of this machine. [`Publish`] leads ports of the host to containers.

mod attachment;
mod device;
mod error;
mod host;
mod kernel;
mod mac;
mod name;
mod needs;
mod notes;
mod ovs;
mod ovsdb;
mod pci;
mod program;
mod publish;
mod serial;

use std::net::IpAddr;

use async_trait::async_trait;
pub use tokio::time::Instant;

pub use crate::attachment::{
    Attachment, Binding, Bridge, Datapath, Filter, HostRoute, Sharing, Switch, Vif,
};
pub use crate::device::{Device, FreeFunction, FunctionSettings, Part, Rates};
pub use crate::error::{DeviceTrouble, Error};
pub use crate::host::{Host, HostSettings};
pub use crate::kernel::KernelError;
pub use crate::kernel::sets::{FilterFamily, FilterSets, SetChange, SetElement, SetValue, SetVerb};
pub use crate::kernel::watch::LinkWatch;
pub use crate::mac::{InvalidMacAddress, MacAddress};
pub use crate::name::{IfName, InvalidIfName, InvalidProgramName, ProgramName};
pub use crate::ovsdb::OvsdbError;
pub use crate::pci::{InvalidPciSlot, PciSlot};
pub use crate::publish::{Publish, PublishError, PublishedPort, Transport};

/// Makes interfaces exist, or not exist, on a host.
///
/// Every verb converges: whatever a failure left, calling again or calling the other one repairs
/// it. All are bounded by their deadline; what a failed `plug` has to undo may take up to two
/// seconds more.
#[async_trait]
pub trait Plug: Send + Sync {
    /// Makes `vif` exist, up, wired into its switch and taken up by the switch's daemon.
    ///
    /// Plugging twice is plugging once; for another owner it changes whose it is and nothing else. A
    /// container end that has been moved away is left as it
    /// is. On failure nothing remains of what this call made.
    async fn plug(&self, vif: &Vif, deadline: Instant) -> Result<(), Error>;

    /// Makes `attachment` not exist, wherever its container end is.
    ///
    /// What is gone already is success. When one part fails the others are removed all the same,
    /// and the failure is reported after.
    async fn unplug(&self, attachment: &Attachment, deadline: Instant) -> Result<(), Error>;

    /// Waits until the switch says that it forwards for `attachment`: true when it does, false
    /// when the deadline passed first.
    ///
    /// # Errors
    /// [`Error::NotPlugged`] when the switch has no such interface, or no longer.
    async fn wired(&self, attachment: &Attachment, deadline: Instant) -> Result<bool, Error>;

    /// Tells the network that `addresses` are at `mac` now, in the name of `attachment`: neighbours
    /// may remember who had them before.
    ///
    /// Says nothing once the container end has been moved away: then it speaks for itself.
    async fn announce(
        &self,
        attachment: &Attachment,
        mac: MacAddress,
        addresses: &[IpAddr],
        deadline: Instant,
    ) -> Result<(), Error>;

    /// Whether a container has an interface: its container end has been moved away. Where that can't be
    /// seen it counts as taken.
    async fn is_taken(&self, attachment: &Attachment) -> Result<bool, Error>;

    /// Takes `vif` back from the owner before, for the owner that it names: true if it is plugged
    /// and nobody can tell that it was ever used; false if it is not so, and left as it is.
    ///
    /// A host that does not look says false: what is unplugged and plugged again is always as new.
    async fn take_back(&self, _vif: &Vif, _deadline: Instant) -> Result<bool, Error> {
        Ok(false)
    }

    /// The virtual functions of a card that a container could have now, in the card's order.
    ///
    /// A host that has no cards has none.
    async fn free_functions(&self, _card: &IfName) -> Result<Vec<FreeFunction>, Error> {
        Ok(Vec::new())
    }

    /// What is plugged here for `owner`, found from the host alone.
    async fn attachments(&self, owner: &str) -> Result<Vec<Attachment>, Error>;

    /// All that was ever plugged here and is not unplugged, found from the host alone.
    async fn all_attachments(&self) -> Result<Vec<Attachment>, Error>;
}
