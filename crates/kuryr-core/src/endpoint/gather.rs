//! The one port that has all of an endpoint's addresses, where no port was made for them together.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use ipnet::IpNet;
use neutron_api::{MacAddress, Port, PortChange, WantedIp};
use neutron_client::Neutron;
use tokio::time::Instant;

use super::Endpoint;
use crate::address::{has_address, ports_at, removal};
use crate::adopt::port::ATTEMPTS;
use crate::ask::{AddressRequest, NewEndpoint};
use crate::error::{Error, PortError, plugging, told};
use crate::kuryr::Kuryr;
use crate::names;
use crate::view::Net;

impl Kuryr {
    /// Finds or makes the one port that has just these addresses, where none was reserved for them
    /// together: after a restart, with another IPAM driver, or when requests have crossed.
    pub(super) async fn gather(
        &self,
        net: &Net,
        new: &NewEndpoint,
        by: Instant,
    ) -> Result<Port, Error> {
        // Endpoints whose requests have crossed take addresses from each other's ports.
        let _turn = self.network_turns.turn(&new.network, by).await?;
        let promised = self.port_pools.take_promised(&new.network, &new.addresses);
        let port = match promised {
            Some(port) => port,
            None => self.gathered(net, new, by).await?,
        };
        let addresses = new.addresses.iter().map(IpNet::addr).collect();
        let adopted = self.port_adoptions.has(port.id);
        self.reservations.hold(port.clone(), addresses, adopted);
        Ok(port)
    }

    async fn gathered(&self, net: &Net, new: &NewEndpoint, by: Instant) -> Result<Port, Error> {
        let (neutron, host) = (self.neutron.by(by), self.settings.host.as_str());
        let (mut wanted, mut found) = (Vec::new(), Vec::<Port>::new());
        for address in new.addresses.iter().map(IpNet::addr) {
            let subnet = net
                .subnets
                .iter()
                .find(|subnet| subnet.cidr.contains(&address));
            let subnet = subnet.ok_or_else(|| Error::NoSubnet {
                address,
                network: net.id,
            })?;
            wanted.push(WantedIp {
                subnet_id: subnet.id,
                ip_address: Some(address),
            });
            // A port that is about to go would take the endpoint with it.
            self.debts.addresses_freed(net.id, Some(address), by).await;
            for port in ports_at(&neutron, net, address).await? {
                if self.is_adopted_for(&port, new).await? {
                    return Ok(port);
                }
                let waits = self.waits_for(&port, new).await?
                    && Self::host_of(&port).is_none_or(|bound| bound == host);
                let taken = port.device_id != new.id.as_str() && !waits;
                if taken || !names::may_own(&port.device_owner) {
                    let whose = (&port).into();
                    return Err(PortError::AddressInUse { address, whose }.into());
                }
                if !found.iter().any(|other| other.id == port.id) {
                    found.push(port);
                }
            }
        }
        let mut found = found.into_iter();
        let Some(port) = found.next() else {
            let ask = AddressRequest {
                address: wanted.first().and_then(|w| w.ip_address),
                mac: new.mac,
            };
            return self.make_port(net, &wanted, ask, by).await;
        };
        for other in found {
            self.strip(&other, new, by).await?;
        }
        let has_all = new
            .addresses
            .iter()
            .all(|net| has_address(&port, net.addr()));
        let to_bind = self.host_to_bind(net);
        let is_bound = port.host_id.as_deref().is_none_or(|bound| bound == host);
        if has_all && (is_bound || to_bind.is_none()) {
            return Ok(port);
        }
        let change = PortChange {
            fixed_ips: Some(wanted),
            host_id: to_bind,
            ..PortChange::default()
        };
        let act = told(format!(
            "give port {} the addresses of endpoint {}",
            port.id, new.id
        ));
        neutron.update(port.id, &change).await.map_err(act)
    }

    /// Whether a port of ours waits for an endpoint, this one as far as can be told.
    async fn waits_for(&self, port: &Port, new: &NewEndpoint) -> Result<bool, Error> {
        if port.name == names::UNBOUND_PORT {
            return Ok(true);
        }
        let pool = names::pool_port(&self.settings.host, &new.network);
        let is_its_own = |known: Arc<Endpoint>| known.port.id == port.id;
        if port.name == pool && self.endpoints.get(&new.id).is_some_and(is_its_own) {
            return Ok(true);
        }
        if port.name != pool || self.endpoints.have(port.id) {
            return Ok(false);
        }
        if self.port_pools.take_port(port.id) {
            return Ok(true);
        }
        if self.port_pools.has(port.id) {
            return Ok(false);
        }
        let plugged = self.host.all_attachments().await;
        let plugged = plugged.map_err(plugging(format!("look who uses port {}", port.id)))?;
        let id = port.id.to_string();
        let mut owners = plugged.iter().filter(|plugged| plugged.interface_id == id);
        Ok(owners.all(|plugged| plugged.owner == pool || plugged.owner == new.id.as_str()))
    }

    /// Whether a port was adopted for this endpoint, or for none yet: its address was given to it.
    async fn is_adopted_for(&self, port: &Port, new: &NewEndpoint) -> Result<bool, Error> {
        if !self.port_adoptions.has(port.id) {
            return Ok(false);
        }
        if self.port_adoptions.is_of(port.id, &new.id) {
            return Ok(true);
        }
        // Requests may have crossed: then another container has been given one of its addresses.
        let asked = |taken: &IpAddr| new.addresses.iter().any(|net| net.addr() == *taken);
        let is_anothers = !self.reservations.taken(port.id).iter().all(asked);
        let busy = is_anothers || self.reservations.is_claimed(port.id);
        Ok(!busy && !self.is_plugged(port.id).await?)
    }

    /// Takes an endpoint's addresses from a port that has other ones beside.
    async fn strip(&self, port: &Port, new: &NewEndpoint, by: Instant) -> Result<(), Error> {
        let keep: Vec<IpAddr> = self
            .reservations
            .taken(port.id)
            .into_iter()
            .filter(|taken| new.addresses.iter().all(|net| net.addr() != *taken))
            .collect();
        if keep.is_empty() {
            self.reservations.remove(port.id);
            self.let_go(port).await;
            self.debts.settled(by, |debt| *debt == removal(port)).await;
            return Ok(());
        }
        let kept = port
            .fixed_ips
            .iter()
            .filter(|ip| keep.contains(&ip.ip_address));
        let change = PortChange {
            fixed_ips: Some(kept.map(|ip| WantedIp::from(*ip)).collect()),
            ..PortChange::default()
        };
        let changed = self.neutron.by(by).update(port.id, &change).await;
        let act = told(format!("take addresses from port {}", port.id));
        self.reservations.insert(changed.map_err(act)?, keep);
        Ok(())
    }

    /// Neutron refuses another MAC to a bound port, also in the request that unbinds it.
    pub(super) async fn change_mac(
        &self,
        net: &Net,
        port: Port,
        mac: MacAddress,
        by: Instant,
    ) -> Result<Port, Error> {
        let neutron = self.neutron.by(by);
        let act = || told(format!("give port {} the MAC address {mac}", port.id));
        let rebind = PortChange {
            mac_address: Some(mac),
            host_id: self.host_to_bind(net),
            ..PortChange::default()
        };
        let is_bound = rebind.host_id.is_some();
        // Between the two it is bound to no host: nobody would find it again, or could use it.
        let removal = removal(&port);
        if is_bound {
            self.debts.intend(&removal).await;
        }
        let change = async || {
            if is_bound {
                unbind(&neutron, &port).await.map_err(act())?;
            }
            neutron.update(port.id, &rebind).await.map_err(act())
        };
        let changed = match change().await {
            Err(error) if self.is_mac_freed(&error, net, Some(mac), by).await => change().await,
            other => other,
        };
        if is_bound && changed.is_ok() {
            self.debts.forgo(&removal).await;
        } else if is_bound {
            self.reservations.remove(port.id);
            self.let_go(&port).await;
        }
        changed
    }
}

/// Only as long as it was not changed since: Neutron may carry a request out long after its connection broke,
/// when the port is bound again.
async fn unbind(neutron: &Neutron, port: &Port) -> Result<(), neutron_client::Error> {
    let change = PortChange {
        host_id: Some(String::new()),
        ..PortChange::default()
    };
    let mut revision = port.revision_number;
    for attempt in 1.. {
        let refused = match neutron.update_at(port.id, &change, revision).await {
            Err(error) if error.status() == Some(StatusCode::PRECONDITION_FAILED) => error,
            other => return other.map(drop),
        };
        let found = neutron.find::<Port>(port.id).await?;
        match found {
            // A request of ours whose reply was lost.
            Some(now) if now.host_id.as_deref().is_none_or(str::is_empty) => break,
            Some(now) if attempt < ATTEMPTS => revision = now.revision_number,
            Some(_) | None => return Err(refused),
        }
    }
    Ok(())
}
