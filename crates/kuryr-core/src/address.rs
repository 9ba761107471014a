//! Addresses for endpoints: each is a fixed IP of a Neutron port, from the moment it is reserved.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use neutron_api::{
    NetworkId as NeutronNetworkId, NewPort, Port, PortChange, PortId, Subnet, SubnetId, WantedIp,
};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ask::{AddressRequest, PoolId};
use crate::binding;
use crate::debt::{Debt, is_ours};
use crate::error::{Error, plugging, told};
use crate::kuryr::Kuryr;
use crate::names;
use crate::pool::in_range;
use crate::view::Net;

/// Ports that were made for addresses, and that no endpoint has yet.
#[derive(Default)]
pub(crate) struct Reservations(Mutex<HashMap<PortId, Reservation>>);

struct Reservation {
    port: Port,
    /// Those of the port's addresses that the runtime knows of.
    taken: Vec<IpAddr>,
    since: Instant,
    /// An endpoint is being made of it.
    claimed: bool,
}

/// What becomes of a port when one of its addresses is released.
enum Released {
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
            port,
            claimed: false,
        };
        self.all().insert(reservation.port.id, reservation);
    }

    /// Keeps a port that an endpoint is being made of.
    pub(crate) fn hold(&self, port: Port, taken: Vec<IpAddr>) {
        let id = port.id;
        self.insert(port, taken);
        if let Some(reservation) = self.all().get_mut(&id) {
            reservation.claimed = true;
        }
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
    /// the right one; where that goes wrong, [`Kuryr::create_endpoint`] sorts it out.
    fn take_offered(&self, subnet: SubnetId) -> Option<IpAddr> {
        let mut all = self.all();
        let (address, reservation) = all
            .values_mut()
            .filter_map(|reservation| Some((reservation.offered(subnet)?, reservation)))
            .max_by_key(|(_, reservation)| reservation.since)?;
        reservation.taken.push(address);
        Some(address)
    }

    /// The youngest port that has an address of `subnet` which the runtime does not know of.
    fn offering(&self, subnet: SubnetId) -> Option<(Port, Vec<IpAddr>)> {
        let all = self.all();
        let youngest = all
            .values()
            .filter(|reservation| reservation.offered(subnet).is_some())
            .max_by_key(|reservation| reservation.since)?;
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
    fn release(&self, network: NeutronNetworkId, address: IpAddr) -> Option<Released> {
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
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

impl Kuryr {
    /// Reserves an address, and with it a port, bound to this host, that has it.
    ///
    /// # Errors
    /// The address is taken or out of range, the range is full, Neutron's refusal, or a port that
    /// can't be plugged on this host.
    pub async fn reserve_address(
        &self,
        pool: &PoolId,
        ask: AddressRequest,
        by: Instant,
    ) -> Result<IpNet, Error> {
        if let Some(reserved) = self.leases.reserve(pool, ask.address)? {
            return Ok(reserved);
        }
        let (net, subnet) = self.network_of_pool(pool, by).await?;
        let address = match self.reserve(&net, &subnet, ask, by).await {
            Err(error) if error.is_absence() => {
                self.mistrust(&net);
                let (net, subnet) = self.network_of_pool(pool, by).await?;
                self.reserve(&net, &subnet, ask, by).await?
            }
            other => other?,
        };
        in_range(address, subnet.cidr)
    }

    /// Releases an address: its port goes. An address that nobody has is released already.
    ///
    /// # Errors
    /// Neutron can't be asked what there is at an address that this run has not reserved.
    pub async fn release_address(
        &self,
        pool: &PoolId,
        address: IpAddr,
        by: Instant,
    ) -> Result<(), Error> {
        if self.leases.release(pool, address) {
            return Ok(());
        }
        let (net, subnet) = match self.network_of_pool(pool, by).await {
            Err(Error::UnknownPool(_)) => return Ok(()),
            other => other?,
        };
        match self.reservations.release(net.id, address) {
            Some(Released::Unused(port)) => {
                self.debts.owe(removal(&port)).await;
                return Ok(());
            }
            Some(Released::Kept) => return Ok(()),
            None => {}
        }
        if subnet.gateway_ip == Some(address) || self.debts.frees(net.id, address) {
            return Ok(());
        }
        let neutron = self.neutron.by(by);
        for port in ports_at(&neutron, &net, address).await? {
            if self.is_left_over(&port).await? {
                self.debts.owe(removal(&port)).await;
            }
        }
        Ok(())
    }

    /// Whether a port is one that we made on this host and that nothing here uses.
    ///
    /// At an address that Docker releases there may be somebody's container: Docker counts an
    /// `--aux-address` as its own, and other hosts and other container networks use the same subnet.
    async fn is_left_over(&self, port: &Port) -> Result<bool, Error> {
        let is_here = port.host_id.as_deref() == Some(self.settings.host.as_str());
        if !is_here || !is_ours(port, &port.device_id) {
            return Ok(false);
        }
        let plugged = self.host.all_attachments().await;
        let plugged =
            plugged.map_err(plugging(format!("look whether port {} is used", port.id)))?;
        let id = port.id.to_string();
        Ok(plugged.iter().all(|plugged| plugged.interface_id != id))
    }

    async fn reserve(
        &self,
        net: &Arc<Net>,
        subnet: &Subnet,
        ask: AddressRequest,
        by: Instant,
    ) -> Result<IpAddr, Error> {
        if let Some(address) = ask.address {
            if !subnet.cidr.contains(&address) {
                return Err(Error::OutsideRange {
                    address,
                    range: subnet.cidr,
                });
            }
            self.debts.addresses_freed(net.id, Some(address), by).await;
            if let Some((port, taken)) = self.reservations.offering(subnet.id) {
                return self.readdress(port, taken, subnet, address, by).await;
            }
        } else if let Some(address) = self.reservations.take_offered(subnet.id) {
            return Ok(address);
        }
        let wanted = WantedIp {
            subnet_id: subnet.id,
            ip_address: ask.address,
        };
        let other = net.other_family(subnet);
        let companion = other.map(|other| WantedIp {
            subnet_id: other.id,
            ip_address: None,
        });
        let fixed_ips: Vec<WantedIp> = [Some(wanted), companion].into_iter().flatten().collect();
        let port = match self.make_port(net, &fixed_ips, ask, by).await {
            // Containers that have just gone may still have their ports.
            Err(error) if error.is_shortage() && self.debts.may_free(net.id, ask.address) => {
                self.debts.addresses_freed(net.id, ask.address, by).await;
                self.make_port(net, &fixed_ips, ask, by).await?
            }
            other => other?,
        };
        let has = port.fixed_ips.iter().find(|ip| ip.subnet_id == subnet.id);
        let Some(address) = has.map(|ip| ip.ip_address) else {
            self.debts.owe(removal(&port)).await;
            return Err(Error::NoAddress {
                port: port.id,
                range: subnet.cidr,
            });
        };
        self.reservations.insert(port, vec![address]);
        Ok(address)
    }

    /// Gives a port that no endpoint has yet the address of `subnet` that the user wants.
    async fn readdress(
        &self,
        port: Port,
        taken: Vec<IpAddr>,
        subnet: &Subnet,
        address: IpAddr,
        by: Instant,
    ) -> Result<IpAddr, Error> {
        let port = if has_address(&port, address) {
            port
        } else {
            let kept = port.fixed_ips.iter().filter(|ip| ip.subnet_id != subnet.id);
            let wanted = WantedIp {
                subnet_id: subnet.id,
                ip_address: Some(address),
            };
            let change = PortChange {
                fixed_ips: Some(kept.map(|ip| WantedIp::from(*ip)).chain([wanted]).collect()),
                ..PortChange::default()
            };
            let changed = self.neutron.by(by).update(port.id, &change).await;
            changed.map_err(told(format!("reserve {address}")))?
        };
        self.reservations
            .insert(port, [taken, vec![address]].concat());
        Ok(address)
    }

    /// Makes a port that is bound to this host.
    pub(crate) async fn make_port(
        &self,
        net: &Net,
        fixed_ips: &[WantedIp],
        ask: AddressRequest,
        by: Instant,
    ) -> Result<Port, Error> {
        // Until an endpoint has it, the port is told from others by a number of its own.
        let device_id = Uuid::new_v4().to_string();
        let new = NewPort {
            name: names::UNBOUND_PORT.to_owned(),
            network_id: Some(net.id),
            fixed_ips: Some(fixed_ips.to_vec()),
            mac_address: ask.mac,
            device_id: device_id.clone(),
            device_owner: names::DEVICE_OWNER.to_owned(),
            admin_state_up: true,
            host_id: Some(self.settings.host.clone()),
            security_groups: None,
            ..NewPort::default()
        };
        let identity = Filter::new().with("device_id", &device_id);
        let stray = |except| Debt::DeleteStrayPort { device_id, except };
        let port = match self.neutron.by(by).create_counted(&new, &identity).await {
            Ok(created) => {
                if created.repeated {
                    self.debts.owe(stray(Some(created.object.id))).await;
                }
                created.object
            }
            Err(error) => {
                if error.is_passing() {
                    self.debts.owe(stray(None)).await;
                }
                let what = ask
                    .address
                    .map_or_else(|| "an address".to_owned(), |a| a.to_string());
                return Err(told(format!("reserve {what}"))(error));
            }
        };
        if let Err(error) = binding::switch(&port, &self.settings.host) {
            self.debts.owe(removal(&port)).await;
            return Err(error);
        }
        Ok(port)
    }
}

/// The debt that a port of ours is to go.
pub(crate) fn removal(port: &Port) -> Debt {
    Debt::DeletePort {
        port: port.id,
        network: port.network_id,
        addresses: port.fixed_ips.iter().map(|ip| ip.ip_address).collect(),
    }
}

pub(crate) fn has_address(port: &Port, address: IpAddr) -> bool {
    port.fixed_ips.iter().any(|ip| ip.ip_address == address)
}

/// The ports of a network that have this address: none or one.
pub(crate) async fn ports_at(
    neutron: &Neutron,
    net: &Net,
    address: IpAddr,
) -> Result<Vec<Port>, Error> {
    let filter = Filter::new().with("network_id", net.id).at(address);
    neutron
        .list(&filter)
        .await
        .map_err(told(format!("look up who has {address}")))
}
