//! Ports that wait for their endpoints.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use neutron_api::{NetworkId as NeutronNetworkId, Port, PortId, SubnetId};
use tokio::time::Instant;

use super::has_address;

/// Ports that were made for addresses, and that no endpoint has yet.
#[derive(Default)]
pub(crate) struct Reservations {
    all: Mutex<HashMap<PortId, Reservation>>,
    count: AtomicU64,
}

struct Reservation {
    port: Port,
    /// Those of the port's addresses that the runtime knows of.
    taken: Vec<IpAddr>,
    since: Instant,
    /// The youngest has the highest: two may have come at one instant.
    number: u64,
    /// An endpoint is being made of it.
    claimed: bool,
    /// It was there before: it has the addresses that it has.
    adopted: bool,
}

/// What becomes of a port when one of its addresses is released.
pub(super) enum Released {
    /// The runtime still counts on another address of it.
    Kept,
    /// Nobody counts on it any more.
    Unused(Box<Port>),
}

impl Reservations {
    pub(crate) fn insert(&self, port: Port, taken: Vec<IpAddr>) {
        let reservation = Reservation {
            taken,
            since: Instant::now(),
            number: self.count.fetch_add(1, Relaxed),
            port,
            claimed: false,
            adopted: false,
        };
        self.all().insert(reservation.port.id, reservation);
    }

    /// Keeps a port that was there before.
    pub(super) fn insert_adopted(&self, port: Port, taken: Vec<IpAddr>) {
        let id = port.id;
        self.insert(port, taken);
        if let Some(reservation) = self.all().get_mut(&id) {
            reservation.adopted = true;
        }
    }

    pub(crate) fn has(&self, port: PortId) -> bool {
        self.all().contains_key(&port)
    }

    /// Whether an endpoint is being made of a port, or may yet be.
    pub(crate) fn awaits_endpoint(&self, port: PortId) -> bool {
        let all = self.all();
        all.get(&port).is_some_and(|waits| !waits.is_forgotten())
    }

    /// Whether there is a port that its runtime seems to have forgotten.
    pub(crate) fn has_forgotten(&self) -> bool {
        self.all().values().any(Reservation::is_forgotten)
    }

    /// Ceases to keep a port; false if an endpoint may yet be made of it.
    pub(crate) fn let_go(&self, port: PortId) -> bool {
        let mut all = self.all();
        let is_awaited = all.get(&port).is_some_and(|waits| !waits.is_forgotten());
        if !is_awaited {
            all.remove(&port);
        }
        !is_awaited
    }

    /// Keeps a port that an endpoint is being made of.
    pub(crate) fn hold(&self, port: Port, taken: Vec<IpAddr>, adopted: bool) {
        let id = port.id;
        if adopted {
            self.insert_adopted(port, taken);
        } else {
            self.insert(port, taken);
        }
        if let Some(reservation) = self.all().get_mut(&id) {
            reservation.claimed = true;
        }
    }

    /// Whether an endpoint is being made of a port.
    pub(crate) fn is_claimed(&self, port: PortId) -> bool {
        self.all().get(&port).is_some_and(|waits| waits.claimed)
    }

    /// No endpoint was made of a port: its addresses wait again, unless they were released meanwhile.
    pub(crate) fn give_back(&self, port: PortId) {
        if let Some(reservation) = self.all().get_mut(&port) {
            reservation.claimed = false;
        }
    }

    /// An address of `subnet` that came with a port which was made for its other family.
    ///
    /// The runtime asks for an endpoint's addresses one after the other, so the youngest port is
    /// the right one; where that goes wrong, [`crate::Kuryr::create_endpoint`] sorts it out.
    pub(super) fn take_offered(&self, subnet: SubnetId) -> Option<IpAddr> {
        let mut all = self.all();
        let (address, reservation) = all
            .values_mut()
            .filter_map(|reservation| Some((reservation.offered(subnet)?, reservation)))
            .max_by_key(|(_, reservation)| reservation.number)?;
        reservation.taken.push(address);
        reservation.since = Instant::now();
        Some(address)
    }

    /// The same of a certain address, which a port has that was there before; whether there is one.
    pub(super) fn take_of_adopted(&self, network: NeutronNetworkId, address: IpAddr) -> bool {
        let mut all = self.all();
        let offers = all.values_mut().find(|reservation| {
            reservation.adopted
                && !reservation.claimed
                && reservation.port.network_id == network
                && has_address(&reservation.port, address)
                && !reservation.taken.contains(&address)
        });
        offers.is_some_and(|reservation| {
            reservation.taken.push(address);
            true
        })
    }

    /// The youngest port of ours that has an address of `subnet` which the runtime does not know of.
    pub(super) fn offering(&self, subnet: SubnetId) -> Option<(Port, Vec<IpAddr>)> {
        let all = self.all();
        let youngest = all
            .values()
            .filter(|reservation| !reservation.adopted && reservation.offered(subnet).is_some())
            .max_by_key(|reservation| reservation.number)?;
        Some((youngest.port.clone(), youngest.taken.clone()))
    }

    /// The port of `network` that has all these addresses, for one endpoint alone.
    pub(crate) fn claim(&self, network: NeutronNetworkId, addresses: &[IpNet]) -> Option<Port> {
        let mut all = self.all();
        let reservation = all.values_mut().find(|reservation| {
            let has = |net: &IpNet| has_address(&reservation.port, net.addr());
            reservation.port.network_id == network
                && !reservation.claimed
                && addresses.iter().all(has)
        })?;
        reservation.claimed = true;
        Some(reservation.port.clone())
    }

    /// Releases an address of a port of `network`; none if no port was made for it.
    ///
    /// When requests have crossed, the other address of the port is another endpoint's.
    pub(super) fn release(&self, network: NeutronNetworkId, address: IpAddr) -> Option<Released> {
        let mut all = self.all();
        let reservation = all.values_mut().find(|reservation| {
            reservation.port.network_id == network && has_address(&reservation.port, address)
        })?;
        reservation.taken.retain(|taken| *taken != address);
        if !reservation.taken.is_empty() {
            return Some(Released::Kept);
        }
        let id = reservation.port.id;
        all.remove(&id)
            .map(|reservation| Released::Unused(Box::new(reservation.port)))
    }

    /// The addresses of a port that the runtime counts on.
    pub(crate) fn taken(&self, port: PortId) -> Vec<IpAddr> {
        self.all()
            .get(&port)
            .map(|reservation| reservation.taken.clone())
            .unwrap_or_default()
    }

    pub(crate) fn remove(&self, port: PortId) {
        self.all().remove(&port);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<PortId, Reservation>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From a request for an address to the one for its endpoint, at most: runtimes ask for both in one go,
/// and one that was killed in between never asks again.
const PATIENCE: Duration = Duration::from_secs(45);

impl Reservation {
    fn is_forgotten(&self) -> bool {
        !self.claimed && self.since.elapsed() > PATIENCE
    }

    fn offered(&self, subnet: SubnetId) -> Option<IpAddr> {
        if self.claimed {
            return None;
        }
        let of_subnet = self
            .port
            .fixed_ips
            .iter()
            .filter(|ip| ip.subnet_id == subnet);
        of_subnet
            .map(|ip| ip.ip_address)
            .find(|address| !self.taken.contains(address))
    }
}
