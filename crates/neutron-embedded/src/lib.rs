//! A Neutron in this process.
//!
//! It answers as a real one does (ML2 with OVN, release 2026.1) for what Kuryr uses: networks,
//! subnets, subnet pools, ports, security groups, tags, extensions. `neutron-contract` holds both to
//! the same promises; where they differ, this one is wrong.
//!
//! The flow: `http` turns an exchange into an `Ask`, `cloud` finds the kind of object that it
//! is about, `resource` does what all kinds have in common, one module per kind does the rest on the
//! `store`. Nothing but `http` knows HTTP, nothing but `store` knows how objects are kept.

mod address;
mod body;
mod cloud;
mod http;
mod list;
mod network;
mod port;
mod port_addresses;
mod refusal;
mod resource;
mod security_group;
mod settings;
mod store;
mod subnet;
mod subnet_pool;
mod tag;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use neutron_api::{PortId, PortStatus};

use cloud::Cloud;

pub use settings::{EmbeddedSettings, Hosts, SharedPool};

/// An embedded Neutron; clones share one state.
#[derive(Clone)]
pub struct Embedded {
    cloud: Arc<Mutex<Cloud>>,
}

impl Default for Embedded {
    fn default() -> Self {
        Self::new(EmbeddedSettings::default())
    }
}

impl Embedded {
    /// A Neutron with nothing in it but the subnet pools of the settings.
    pub fn new(settings: EmbeddedSettings) -> Self {
        Self {
            cloud: Arc::new(Mutex::new(Cloud::new(settings))),
        }
    }

    /// Says what an agent would say of a port: that it forwards, or no longer does.
    ///
    /// Whether there is such a port.
    pub fn report(&self, port: PortId, status: PortStatus) -> bool {
        self.cloud().report(port, status)
    }

    /// Nothing is left half done by a panic: a verb writes when nothing can fail any more.
    fn cloud(&self) -> MutexGuard<'_, Cloud> {
        self.cloud.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
