//! Plugs interfaces into this host; knows neither Neutron nor Docker.
//!
//! A [`Vif`] is a veth pair: the host end is wired into a switch, the container end waits in this
//! network namespace until the container runtime moves it away. [`Plug`] has the verbs, [`Host`]
//! is the kernel and the Open vSwitch of this machine.

mod attachment;
mod error;
mod host;
mod kernel;
mod mac;
mod name;
mod ovs;
mod ovsdb;
mod serial;

use std::net::IpAddr;

use async_trait::async_trait;
pub use tokio::time::Instant;

pub use crate::attachment::{Attachment, Datapath, Switch, Vif};
pub use crate::error::Error;
pub use crate::host::{Host, HostSettings};
pub use crate::kernel::KernelError;
pub use crate::mac::{InvalidMacAddress, MacAddress};
pub use crate::name::{IfName, InvalidIfName};
pub use crate::ovsdb::OvsdbError;

/// Makes interfaces exist, or not exist, on a host.
///
/// Every verb converges: whatever a failure left, calling again or calling the other one repairs
/// it. All are bounded by their deadline; what a failed `plug` has to undo may take up to two
/// seconds more.
#[async_trait]
pub trait Plug: Send + Sync {
    /// Makes `vif` exist, up, wired into its switch and taken up by the switch's daemon.
    ///
    /// Plugging twice is plugging once. A container end that has been moved away is left as it
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

    /// What is plugged here for `owner`, found from the host alone.
    async fn attachments(&self, owner: &str) -> Result<Vec<Attachment>, Error>;

    /// All that was ever plugged here and is not unplugged, found from the host alone.
    async fn all_attachments(&self) -> Result<Vec<Attachment>, Error>;
}
