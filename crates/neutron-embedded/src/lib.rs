//! A Neutron in this process.
//!
//! It answers as a real one does (ML2 with OVN, release 2026.1) for what Kuryr uses: networks,
//! subnets, subnet pools, ports, trunks, security groups, tags, extensions. `neutron-contract` holds both to
//! the same promises; where they differ, this one is wrong.
//!
//! The flow: `http` turns an exchange into an `Ask`, `cloud` finds the kind of object that it
//! is about, `resource` does what all kinds have in common, one module per kind does the rest on the
//! `store`, and `state` writes what came of it to `disk` before anybody sees it. Nothing but `http`
//! knows HTTP, nothing but `store` knows how objects are kept, nothing but `disk` knows SQLite.

mod address;
mod body;
mod cloud;
mod disk;
mod host_port;
mod http;
mod list;
mod network;
mod port;
mod port_addresses;
mod port_security;
mod qos_policy;
mod quota;
mod refusal;
mod resource;
mod security_group;
mod security_group_rule;
mod settings;
mod snapshot;
mod state;
mod store;
mod subnet;
mod subnet_pool;
mod tag;
mod time;
mod trunk;

use std::path::Path;
use std::sync::Arc;

use neutron_api::{PortId, PortStatus};
use serde_json::Value;
use tokio::sync::watch;

use disk::{Disk, Durability};
use state::State;

pub use disk::{OpenError, SaveError};
pub use host_port::HostPort;
pub use port::bridge_name;
pub use settings::{EmbeddedSettings, Hosts, RangeInUse, RangesInUse, SharedPool};
pub use snapshot::{HostPorts, Objects, Snapshot, Subnets};

/// An embedded Neutron; clones share one state.
#[derive(Clone)]
pub struct Embedded {
    state: Arc<State>,
}

impl Default for Embedded {
    fn default() -> Self {
        Self::new(EmbeddedSettings::default())
    }
}

impl Embedded {
    /// A Neutron with nothing in it but the subnet pools of the settings, that forgets.
    pub fn new(settings: EmbeddedSettings) -> Self {
        Self {
            state: Arc::new(State::new(settings)),
        }
    }

    /// The Neutron whose memory is the file at `path`; if there is none, it is made.
    ///
    /// A change is in the file before it is answered. Nobody else can open it meanwhile.
    ///
    /// # Errors
    /// Why the file can't be used. Nothing in it was changed.
    pub fn open(settings: EmbeddedSettings, path: &Path) -> Result<Self, OpenError> {
        let (disk, objects) = Disk::open(path)?;
        let state = State::open(settings, disk, objects)?;
        Ok(Self {
            state: Arc::new(state),
        })
    }

    /// Everything that there is now.
    pub fn snapshot(&self) -> Snapshot {
        self.state.cloud().snapshot.clone()
    }

    /// Who uses a port: its `device_id`; none if there is no such port.
    pub fn device_of(&self, port: PortId) -> Option<String> {
        let cloud = self.state.cloud();
        let port = cloud.store.find::<port::Port>(port)?;
        Some(port.device_id().to_owned())
    }

    /// A port, if it is bound to `host`, or was to be.
    pub fn port_on(&self, host: &str, port: PortId) -> Option<Arc<HostPort>> {
        let cloud = self.state.cloud();
        let network = cloud.store.find::<port::Port>(port)?.network_id;
        let ports = cloud.snapshot.ports.get(host)?.get(&network)?;
        ports.get(&port).cloned()
    }

    /// Counts the changes: wakes whoever wants to look again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.state.changes()
    }

    /// Says what an agent would say of a port: that it forwards, or no longer does.
    ///
    /// Whether there is such a port. After a crash of the machine an older status may be shown until
    /// the agent says what it has found.
    pub async fn report(&self, port: PortId, status: PortStatus) -> bool {
        let verb = move |cloud: &mut cloud::Cloud| cloud.report(port, status);
        // A status that could not be written is known until the process ends, when it counts no more.
        State::change(&self.state, Durability::Process, verb)
            .await
            .unwrap_or(true)
    }

    /// Sets one key of a port's `binding:profile`; null removes it.
    ///
    /// Whether there is such a port.
    ///
    /// # Errors
    /// It could not be written; nothing has changed.
    pub async fn set_profile(
        &self,
        port: PortId,
        key: &str,
        value: Value,
    ) -> Result<bool, SaveError> {
        let key = key.to_owned();
        let verb = move |cloud: &mut cloud::Cloud| cloud.set_profile(port, key, value);
        State::change(&self.state, Durability::Machine, verb).await
    }
}
