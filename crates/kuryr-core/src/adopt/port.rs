//! Endpoints on Neutron ports that were there before: used as they are, and put back as they were.
//!
//! How a port was before stands in the journal, from before it is changed until it is put back.

mod adoptions;

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use neutron_api::{MacAddress, NetworkId as NeutronNetworkId, Port, PortChange, PortId};
use neutron_client::{Filter, Neutron};
use tokio::time::{Instant, sleep};

use crate::address::has_address;
use crate::ask::NewEndpoint;
use crate::debt::{Debt, is_ours};
use crate::error::{Error, PortError, plugging, told};
use crate::kuryr::Kuryr;
use crate::lease::LIFE;
use crate::names;

use adoptions::Usage;
pub(crate) use adoptions::{PortAdoption, PortAdoptions};

impl Kuryr {
    /// Adopts a port that an endpoint is going to use, and returns it as it is now. It is not changed yet.
    ///
    /// # Errors
    /// Somebody else uses the port, or what it is like can't be noted.
    pub(crate) async fn adopt_port(
        &self,
        port: Port,
        in_use: PortError,
        by: Instant,
    ) -> Result<Port, Error> {
        if !self.is_free(&port).await? || !self.port_adoptions.claim(&port) {
            return Err(in_use.into());
        }
        let id = port.id;
        let adopted = self.adopt_claimed(port, in_use, by).await;
        if adopted.is_ok() {
            tracing::info!(port = %id, "adopting a port that was there before");
            self.expire_port_adoption(id);
        } else {
            self.port_adoptions.end(id);
        }
        adopted
    }

    async fn adopt_claimed(
        &self,
        mut port: Port,
        in_use: PortError,
        by: Instant,
    ) -> Result<Port, Error> {
        if Self::host_of(&port) == Some(self.settings.host.as_str()) {
            // As its last endpoint had it: it is about to be put back, or was since it was read.
            self.debts.settled(by, |debt| debt.is_about(&port)).await;
            let found = self.neutron.by(by).find::<Port>(port.id).await;
            port = match found.map_err(told(format!("look up port {}", port.id)))? {
                Some(now) if self.is_free(&now).await? => now,
                Some(_) | None => return Err(in_use.into()),
            };
        }
        self.port_adoptions.begin(&port).await?;
        Ok(port)
    }

    /// Whether nobody uses a port that is not ours, as far as it and this host say.
    pub(crate) async fn is_free(&self, port: &Port) -> Result<bool, Error> {
        // Zun and its like make ports in our name.
        let for_anybody = matches!(port.device_owner.as_str(), "" | names::DEVICE_OWNER);
        if !for_anybody || is_ours(port, &port.device_id) {
            return Ok(false);
        }
        match port.host_id.as_deref() {
            // Another call, of this host or another, has claimed it and is about to bind it.
            None | Some("") => Ok(!is_claimed(port)),
            Some(host) if host == self.settings.host => Ok(!self.is_plugged(port.id).await?),
            Some(_) => Ok(false),
        }
    }

    /// Makes an adopted port an endpoint's: bound to this host, and in use.
    ///
    /// A port that is so already is not touched.
    pub(crate) async fn use_port(
        &self,
        port: Port,
        new: &NewEndpoint,
        by: Instant,
    ) -> Result<Port, Error> {
        if let Some(asked) = new.mac.filter(|mac| *mac != port.mac_address) {
            return Err(other_mac(&port, asked));
        }
        let asked = || new.addresses.iter().map(ipnet::IpNet::addr);
        if !asked().all(|address| has_address(&port, address)) {
            let has = port.fixed_ips.iter().map(|ip| ip.ip_address).collect();
            let (port, asked) = (port.id, asked().collect());
            return Err(PortError::OtherAddresses { port, has, asked }.into());
        }
        let ours = Usage {
            host: Some(self.settings.host.clone()),
            owner: names::DEVICE_OWNER.to_owned(),
            device: match port.device_id.as_str() {
                "" => new.id.to_string(),
                theirs => theirs.to_owned(),
            },
        };
        self.port_adoptions
            .intend(port.id, &new.id, ours.clone())
            .await?;
        self.change_usage(port, &ours, by).await
    }

    /// Only a port that is still as it was when we found it unused.
    ///
    /// Of two requests at one moment that name the same revision (`If-Match`) Neutron carries out both, the second one
    /// when it tries again without a look at the revision. But it counts both: so an unbound port is claimed before it
    /// is bound. Who has made the very next revision has it; who has not waits whether there is another.
    async fn change_usage(&self, port: Port, ours: &Usage, by: Instant) -> Result<Port, Error> {
        let (neutron, id, mut now) = (self.neutron.by(by), port.id, port);
        let act = || told(format!("bind port {id} to host {}", self.settings.host));
        let claimed = Usage {
            host: Usage::from(&now).host,
            ..ours.clone()
        };
        for _ in 0..ATTEMPTS {
            let was = Usage::from(&now);
            let is_unbound = was.host.as_deref().is_none_or(str::is_empty);
            let claims = is_unbound && was != claimed;
            let change = was.change_to(if claims { &claimed } else { ours });
            if change == PortChange::default() {
                return Ok(now);
            }
            let start = Instant::now();
            let changed = neutron.update_at(id, &change, now.revision_number).await;
            let found = match changed {
                // Or a request of ours whose reply was lost has changed it.
                Err(error) if error.status() == Some(StatusCode::PRECONDITION_FAILED) => {
                    neutron.find::<Port>(id).await.map_err(act())?
                }
                other => Some(other.map_err(act())?),
            };
            let found = match found {
                Some(found) if claims && !is_next(&found, &now) => {
                    sleep(until_decided(start.elapsed())).await;
                    let later = neutron.find::<Port>(id).await.map_err(act())?;
                    later.filter(|later| later.revision_number == found.revision_number)
                }
                found => found,
            };
            let Some(found) = found else {
                return Err(PortError::Changing(id).into());
            };
            let is = Usage::from(&found);
            if is != *ours && is != claimed && is != was {
                let whose = (&found).into();
                return Err(PortError::Taken { whose }.into());
            }
            now = found;
        }
        Err(PortError::Changing(id).into())
    }

    /// Ends the adoption of a port: it will be what it was before.
    pub(crate) async fn abandon_port(&self, port: PortId) {
        let Some(adoption) = self.port_adoptions.get(port) else {
            return;
        };
        if adoption.before != adoption.ours {
            // Owed before it is forgotten: a crash between the two must not leave it changed.
            self.debts.owe(Debt::PutBack(adoption)).await;
        }
        self.port_adoptions.end(port);
    }

    /// Ends the adoption of the port that has this address, if no endpoint came of it; whether
    /// there was one.
    pub(crate) async fn abandon_unused(
        &self,
        network: NeutronNetworkId,
        address: IpAddr,
    ) -> Result<bool, Error> {
        let Some(port) = self.port_adoptions.at(network, address) else {
            return Ok(false);
        };
        if self.is_in_use(port).await? {
            return Ok(false);
        }
        self.abandon_port(port).await;
        Ok(true)
    }

    /// The same of a port that an earlier run has adopted, once no endpoint can come of it any more: the
    /// runtime may have been given its address just before.
    pub(crate) async fn abandon_forgotten(
        &self,
        network: NeutronNetworkId,
        address: IpAddr,
        by: Instant,
    ) -> Result<(), Error> {
        let Some(port) = self.port_adoptions.at(network, address) else {
            return Ok(());
        };
        if !self.is_in_use(port).await? && self.port_adoptions.decided(port, by).await {
            self.abandon_unused(network, address).await?;
        }
        Ok(())
    }

    async fn is_in_use(&self, adopted: PortId) -> Result<bool, Error> {
        Ok(self.is_plugged(adopted).await? || self.reservations.has(adopted))
    }

    /// Whether an interface of this host is the port's.
    pub(crate) async fn is_plugged(&self, port: PortId) -> Result<bool, Error> {
        let plugged = self.host.all_attachments().await;
        let plugged = plugged.map_err(plugging(format!("look whether port {port} is used")))?;
        let id = port.to_string();
        Ok(plugged.iter().any(|plugged| plugged.interface_id == id))
    }

    /// Puts back, after a while, what an earlier run has adopted and no endpoint uses.
    pub(crate) fn expire_port_adoptions(&self) {
        for port in self.port_adoptions.ports() {
            self.expire_port_adoption(port);
        }
    }

    /// Puts an adopted port back if no endpoint comes to use it: the runtime may have been killed, and have
    /// forgotten that it has its address.
    fn expire_port_adoption(&self, port: PortId) {
        let kuryr = self.clone();
        self.background.spawn(async move {
            loop {
                sleep(LIFE).await;
                match kuryr.is_plugged(port).await {
                    Ok(true) => return,
                    Ok(false) if kuryr.reservations.let_go(port) => {
                        return kuryr.abandon_port(port).await;
                    }
                    Ok(false) => {}
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, %port, "not put back, as it may be in use");
                    }
                }
            }
        });
    }
}

/// The ports of a network that have this MAC address: none or one.
pub(crate) async fn ports_with(
    neutron: &Neutron,
    network: NeutronNetworkId,
    mac: MacAddress,
) -> Result<Vec<Port>, Error> {
    let filter = Filter::new()
        .with("network_id", network)
        .with("mac_address", mac);
    let act = told(format!("look up who has the MAC address {mac}"));
    neutron.list(&filter).await.map_err(act)
}

/// A port keeps its MAC address, whatever the user or Docker has chosen.
pub(crate) fn other_mac(port: &Port, asked: MacAddress) -> Error {
    let (id, has) = (port.id, port.mac_address);
    match port.fixed_ips.first() {
        Some(ip) => PortError::OtherMac {
            port: id,
            address: ip.ip_address,
            has,
            asked,
        }
        .into(),
        None => Error::Bug("a port was adopted by an address that it has not"),
    }
}

fn is_claimed(port: &Port) -> bool {
    port.device_owner == names::DEVICE_OWNER && names::is_endpoint(&port.device_id)
}

/// Whether nobody has changed a port between the two; yes where Neutron does not count.
fn is_next(port: &Port, before: &Port) -> bool {
    let next = before.revision_number.map(|before| before + 1);
    next.is_none() || port.revision_number == next
}

/// So long after a request that took so long, another one of the same moment has been carried out, and who has sent it has
/// bound the port or seen that it is not his.
fn until_decided(took: Duration) -> Duration {
    (took * 3).clamp(Duration::from_millis(500), Duration::from_secs(3))
}

/// How often a port is tried to be changed that others change at the same time.
pub(crate) const ATTEMPTS: usize = 5;
