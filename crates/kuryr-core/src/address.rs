//! Addresses for endpoints: each is a fixed IP of a Neutron port, from the moment it is reserved.

mod choose;
mod existing;
mod reservations;
mod unreleased;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ipnet::IpNet;
use neutron_api::{NewPort, Port, PortChange, Subnet, WantedIp};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ask::{AddressRequest, PoolId};
use crate::debt::{Debt, is_ours};
use crate::error::{Error, told};
use crate::kuryr::Kuryr;
use crate::names;
use crate::pool::in_range;
use crate::view::Net;

pub(crate) use choose::Restriction;
pub(crate) use choose::chosen;
use reservations::Released;
pub(crate) use reservations::Reservations;
pub(crate) use unreleased::Unreleased;

impl Kuryr {
    /// Reserves an address, and with it a port that has it: one of ours, bound to this host, or one
    /// that was there before and that nobody uses.
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
        let _call = self.lull.ends();
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

    /// Releases an address: its port goes, or is put back. An address that nobody has is released
    /// already.
    ///
    /// # Errors
    /// Neutron can't be asked what there is at an address that this run has not reserved.
    pub async fn release_address(
        &self,
        pool: &PoolId,
        address: IpAddr,
        by: Instant,
    ) -> Result<(), Error> {
        let _call = self.lull.ends();
        if self.leases.release(pool, address) {
            return Ok(());
        }
        let released = self.release_of_pool(pool, address, by).await;
        // Success says nothing: of a network that is known nobody was asked.
        if released.is_err() {
            self.absence.tell(&released);
            self.suspicion.store(true, Relaxed);
        }
        released
    }

    async fn release_of_pool(
        &self,
        pool: &PoolId,
        address: IpAddr,
        by: Instant,
    ) -> Result<(), Error> {
        let found = self.network_of_pool(pool, self.absence.wait(by)).await;
        let (net, subnet) = match found {
            Err(Error::UnknownPool(_)) => return Ok(()),
            other => other?,
        };
        if names::is_of_manager(&net.of) {
            return self.release_for_nodes(&net, address, by).await;
        }
        let of_gone = self.unreleased.take(net.id, address);
        if self.port_pools.released(net.id, address) || of_gone {
            return Ok(());
        }
        match self.reservations.release(net.id, address) {
            Some(Released::Unused(port)) => {
                self.let_go(&port).await;
                return Ok(());
            }
            Some(Released::Kept) => return Ok(()),
            None => {}
        }
        if subnet.gateway_ip == Some(address)
            || self.debts.frees(net.id, address)
            || self.abandon_unused(net.id, address).await?
        {
            return Ok(());
        }
        let neutron = self.neutron.by(self.absence.wait(by));
        for port in ports_at(&neutron, &net, address).await? {
            if self.is_left_over(&port).await? {
                self.debts.owe(removal_of(&port, true)).await;
            }
        }
        Ok(())
    }

    /// Whether a port is one that we made on this host and that nothing here uses.
    ///
    /// At an address that Docker releases there may be somebody's container: Docker counts an
    /// `--aux-address` as its own, and other hosts and other container networks use the same subnet.
    pub(crate) async fn is_left_over(&self, port: &Port) -> Result<bool, Error> {
        let is_here = Self::host_of(port) == Some(self.settings.host.as_str());
        if !is_here || !is_ours(port, &port.device_id) {
            return Ok(false);
        }
        Ok(!self.is_plugged(port.id).await?)
    }

    /// Parts with a port that no endpoint needs any more: ours goes, an adopted one is put back.
    pub(crate) async fn let_go(&self, port: &Port) {
        if self.port_adoptions.has(port.id) {
            self.abandon_port(port.id).await;
        } else if names::is_pool_port(&port.name) {
            self.retire(port).await;
        } else {
            self.debts.owe(removal(port)).await;
        }
    }

    async fn reserve(
        &self,
        net: &Arc<Net>,
        subnet: &Subnet,
        ask: AddressRequest,
        by: Instant,
    ) -> Result<IpAddr, Error> {
        let outcome = self.reserve_as_it_is(net, subnet, ask, by).await;
        if let (Err(error), Some(address)) = (&outcome, ask.address)
            && error.is_in_use_by_pool_of(&self.settings.host)
            && self.may_be_had_by_now(net, address, by).await
        {
            let again = self.reserve_as_it_is(net, subnet, ask, by).await;
            return again.or(outcome);
        }
        outcome
    }

    /// The same with the warm ports that are there now.
    async fn reserve_as_it_is(
        &self,
        net: &Arc<Net>,
        subnet: &Subnet,
        ask: AddressRequest,
        by: Instant,
    ) -> Result<IpAddr, Error> {
        if names::is_of_manager(&net.of) {
            return self.reserve_for_nodes(net, subnet, ask, by).await;
        }
        if let Some(address) = ask.address {
            if !subnet.cidr.contains(&address) {
                return Err(Error::OutsideRange {
                    address,
                    range: subnet.cidr,
                });
            }
            // Who is just adopting the port that has it must not lose it to who comes next.
            let _turn = self.ranges.turn(&IpNet::from(address), by).await?;
            if ask.mac.is_none()
                && self.reservations.offering(subnet.id).is_none()
                && let Some(port) = self.warm_port_at(net, address, by).await
            {
                self.reservations.insert(port, vec![address]);
                return Ok(address);
            }
            // An earlier run may have adopted its port for an endpoint that never was.
            self.abandon_forgotten(net.id, address, by).await?;
            self.give_up_warm(net.id, Some(address), by).await;
            if self.reservations.take_of_adopted(net.id, address) {
                return Ok(address);
            }
            let waiting = self.reservations.offering(subnet.id);
            let has_it = |(port, _): &(Port, _)| has_address(port, address);
            if !waiting.as_ref().is_some_and(has_it)
                && let Some(address) = self.reserve_existing(net, address, ask, by).await?
            {
                return Ok(address);
            }
            if let Some((port, taken)) = waiting {
                return self.readdress(port, taken, subnet, address, by).await;
            }
        } else if let Some(address) = self.reservations.take_offered(subnet.id) {
            return Ok(address);
        }
        if let Some((port, address)) = self.take_warm(net, subnet, ask) {
            self.reservations.insert(port, vec![address]);
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
        let port = match self.make_chosen_port(net, &fixed_ips, ask, by).await {
            Err(error) if error.is_mac_in_use() => {
                let Some(mac) = ask.mac else {
                    return Err(error);
                };
                let existing = self.reserve_by_mac(net, subnet, mac, ask, by).await?;
                return existing.ok_or(error);
            }
            // Containers that have just gone may still have their ports, and nobody may lack an
            // address or a port because we keep some for others. For one that was asked for, and that
            // another port has, no others need to be given up.
            Err(error)
                if error.is_over_quota()
                    || error.is_shortage() && !(error.is_taken() && ask.address.is_some()) =>
            {
                let given_up = match error.is_over_quota() {
                    true => self.give_up_all_warm(by).await,
                    false => self.give_up_warm(net.id, None, by).await,
                };
                if !given_up {
                    return Err(error);
                }
                self.make_chosen_port(net, &fixed_ips, ask, by).await?
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

    /// Makes a port that is bound to this host, or is for whichever node of a swarm.
    pub(crate) async fn make_port(
        &self,
        net: &Net,
        fixed_ips: &[WantedIp],
        ask: AddressRequest,
        by: Instant,
    ) -> Result<Port, Error> {
        // Until an endpoint has it, the port is told from others by a number of its own.
        let device_id = Uuid::new_v4().to_string();
        let is_for_nodes = names::is_of_manager(&net.of);
        let claim = match is_for_nodes {
            true => None,
            false => self.claim_function(net, by).await?,
        };
        let new = NewPort {
            network_id: Some(net.id),
            fixed_ips: Some(fixed_ips.to_vec()),
            mac_address: ask.mac,
            device_id: device_id.clone(),
            // In a guest it only holds the addresses: where the switch learns of two ports with one
            // address it may choose the wrong one.
            admin_state_up: self.driver_of(net).sharing().is_none(),
            ..NewPort::default()
        };
        let new = match is_for_nodes {
            true => NewPort {
                name: names::SWARM_PORT.to_owned(),
                ..new
            },
            false => NewPort {
                name: names::UNBOUND_PORT.to_owned(),
                device_owner: names::DEVICE_OWNER.to_owned(),
                host_id: self.host_to_bind(net),
                description: self.port_description(net),
                ..new
            },
        };
        let new = match &claim {
            Some(claim) => claim.name_in(new),
            None => new,
        };
        let defaults = self.port_defaults.of(&net.of);
        let new = defaults.of_new(new);
        let identity = Filter::new().with("device_id", &device_id);
        let stray = |except| Debt::DeleteStrayPort {
            device_id: device_id.clone(),
            except,
        };
        let neutron = self.neutron.by(by);
        let what = ask
            .address
            .map_or_else(|| "an address".to_owned(), |a| a.to_string());
        let make = async || {
            let made = self.debts.make(&neutron, &new, &identity, &stray).await;
            made.map_err(told(format!("reserve {what}")))
        };
        let port = match make().await {
            Err(error) if self.is_mac_freed(&error, net, ask.mac, by).await => make().await?,
            other => other?,
        };
        let pluggable = match is_for_nodes {
            true => Ok(()),
            false => self.check_pluggable(net, &port, by).await,
        };
        if let Err(error) = pluggable.and(defaults.check(&port)) {
            self.debts.owe(removal(&port)).await;
            return Err(error);
        }
        Ok(port)
    }
}

/// The debt that a port of ours is to go that no endpoint has had.
pub(crate) fn removal(port: &Port) -> Debt {
    removal_of(port, false)
}

/// The same of a port that may have a security group of its own, which goes with it.
pub(crate) fn removal_of(port: &Port, has_group: bool) -> Debt {
    Debt::DeletePort {
        port: port.id,
        network: port.network_id,
        addresses: port.fixed_ips.iter().map(|ip| ip.ip_address).collect(),
        has_group,
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
