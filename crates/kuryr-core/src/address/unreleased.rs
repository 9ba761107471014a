//! Addresses of endpoints that have gone, which the runtime is still going to release: by then others may have
//! been given them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use neutron_api::{NetworkId as NeutronNetworkId, Port};
use tokio::time::Instant;

/// The runtime releases an endpoint's addresses right after the endpoint, if it is not killed in between.
const SOON: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Unreleased(Mutex<HashMap<(NeutronNetworkId, IpAddr), Instant>>);

impl Unreleased {
    /// The endpoint of this port has gone.
    pub(crate) fn insert(&self, port: &Port) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, since| since.elapsed() < SOON);
        let addresses = port.fixed_ips.iter().map(|ip| ip.ip_address);
        all.extend(addresses.map(|address| ((port.network_id, address), Instant::now())));
    }

    /// Whether an address is released of an endpoint that has gone: who has it now keeps it.
    pub(super) fn take(&self, network: NeutronNetworkId, address: IpAddr) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = all.remove(&(network, address));
        since.is_some_and(|since| since.elapsed() < SOON)
    }
}
