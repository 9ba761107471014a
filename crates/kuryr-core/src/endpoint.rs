//! Endpoints: a container's place on a network, which is a Neutron port and an interface here.

mod gather;
mod wired;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kuryr_vif::Attachment as Plugged;
use neutron_api::{Port, PortId};
use neutron_client::Filter;
use tokio::time::Instant;

use crate::address::removal;
use crate::ask::{Attachment, Details, EndpointId, Interface, NetworkId, NewEndpoint, Route};
use crate::binding;
use crate::debt::{Debt, is_ours};
use crate::error::{Error, plugging, told};
use crate::kuryr::Kuryr;
use crate::names;
use crate::pool::in_range;
use crate::view::Net;

/// The endpoints of this host that this run has seen.
#[derive(Default)]
pub(crate) struct Endpoints(Mutex<HashMap<EndpointId, Arc<Endpoint>>>);

/// An endpoint that is plugged.
#[derive(Debug)]
pub(crate) struct Endpoint {
    port: Port,
    plugged: Plugged,
}

impl Endpoints {
    fn insert(&self, id: EndpointId, endpoint: Endpoint) -> Arc<Endpoint> {
        let endpoint = Arc::new(endpoint);
        self.all().insert(id, Arc::clone(&endpoint));
        endpoint
    }

    fn get(&self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.all().get(id).cloned()
    }

    fn remove(&self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.all().remove(id)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<EndpointId, Arc<Endpoint>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kuryr {
    /// Gives an endpoint a port and an interface on this host; asked again, finds them.
    ///
    /// The port's name and tags follow in the background: no container waits for them.
    ///
    /// # Errors
    /// An address is somebody else's, Neutron's refusal, or the host's.
    pub async fn create_endpoint(&self, new: NewEndpoint, by: Instant) -> Result<Interface, Error> {
        let _turn = self.endpoint_turns.turn(&new.id, by).await?;
        if new.addresses.is_empty() {
            return Err(Error::NoAddressGiven(new.id));
        }
        let net = self.network(&new.network, by).await?;
        let port = match self.reservations.claim(net.id, &new.addresses) {
            Some(port) => port,
            None => self.gather(&net, &new, by).await?,
        };
        let id = port.id;
        let made = self.plug(&net, &new, port, by).await;
        match made {
            Ok(_) => self.reservations.remove(id),
            // The runtime is going to release the addresses, and finds the port by them.
            Err(_) => self.reservations.give_back(id),
        }
        made
    }

    /// What a container's sandbox needs in order to use an endpoint.
    ///
    /// Waits until the switch forwards for it, so that a container's first packet is not lost.
    ///
    /// # Errors
    /// The endpoint is unknown, or the switch does not forward in time and that is fatal.
    pub async fn join(
        &self,
        network: &NetworkId,
        id: &EndpointId,
        by: Instant,
    ) -> Result<Attachment, Error> {
        let net = self.network(network, by).await?;
        let endpoint = self.endpoint(&net, id, by).await?;
        self.wait_until_wired(&endpoint, by).await?;
        self.announce(&endpoint, by).await;
        let (mut gateways, mut routes) = (Vec::new(), Vec::new());
        for subnet in endpoint
            .port
            .fixed_ips
            .iter()
            .filter_map(|ip| net.subnet(ip.subnet_id))
        {
            let mut gateway = subnet.gateway_ip;
            for route in &subnet.host_routes {
                if route.destination.prefix_len() == 0 {
                    gateway = Some(route.nexthop);
                } else {
                    let (destination, next_hop) = (route.destination, Some(route.nexthop));
                    routes.push(Route {
                        destination,
                        next_hop,
                    });
                }
            }
            gateways.extend(gateway);
        }
        Ok(Attachment {
            interface: endpoint.plugged.container.clone(),
            prefix: self.settings.interface_prefix.clone(),
            gateways,
            routes,
        })
    }

    /// Takes note that a container no longer uses an endpoint. Its interface goes with the endpoint.
    ///
    /// # Errors
    /// None: an endpoint that nobody knows was left already.
    pub async fn leave(&self, _: &NetworkId, _: &EndpointId, _: Instant) -> Result<(), Error> {
        Ok(())
    }

    /// Takes an endpoint's interface off this host, and its port out of Neutron if we made it.
    ///
    /// The port goes in the background, also if Neutron can't be reached now. What is gone is a
    /// success.
    ///
    /// # Errors
    /// The host's refusal.
    pub async fn delete_endpoint(
        &self,
        network: &NetworkId,
        id: &EndpointId,
        by: Instant,
    ) -> Result<(), Error> {
        let _turn = self.endpoint_turns.turn(id, by).await?;
        if let Some(endpoint) = self.endpoints.remove(id) {
            self.reservations.remove(endpoint.port.id);
            // Noted first: whatever happens to the interface, the port must not stay.
            self.debts.owe(removal(&endpoint.port)).await;
            return self.unplug(&endpoint.plugged, by).await;
        }
        let found = self.host.attachments(id.as_str()).await;
        let found = found.map_err(plugging(format!("look for the interface of endpoint {id}")));
        let plugged = match found {
            Ok(plugged) => plugged,
            Err(error) => {
                self.owe_ports_of(id).await;
                return Err(error);
            }
        };
        for attachment in &plugged {
            if let Ok(port) = attachment.interface_id.parse() {
                let endpoint = id.clone();
                self.debts
                    .owe(Debt::DeletePortIfOurs { port, endpoint })
                    .await;
            }
            self.unplug(attachment, by).await?;
        }
        if plugged.is_empty() {
            tracing::debug!("nothing is plugged for endpoint {id} of network {network}");
            match self.ports_of(id, by).await {
                Ok(ports) => {
                    for port in ports {
                        self.debts.owe(removal(&port)).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "not done yet");
                    self.owe_ports_of(id).await;
                }
            }
        }
        Ok(())
    }

    /// The runtime forgets an endpoint whatever we answer.
    async fn owe_ports_of(&self, id: &EndpointId) {
        let endpoint = id.clone();
        self.debts.owe(Debt::DeletePortsOf { endpoint }).await;
    }

    /// What is known of an endpoint, for people.
    ///
    /// # Errors
    /// None: of an unknown endpoint nothing is known.
    pub async fn describe_endpoint(
        &self,
        _: &NetworkId,
        id: &EndpointId,
        _: Instant,
    ) -> Result<Details, Error> {
        let Some(endpoint) = self.endpoints.get(id) else {
            return Ok(Details::new());
        };
        Ok(Details::from([
            ("neutron.port.uuid".to_owned(), endpoint.port.id.to_string()),
            (
                "neutron.net.uuid".to_owned(),
                endpoint.port.network_id.to_string(),
            ),
            (
                "kuryr.host.interface".to_owned(),
                endpoint.plugged.host.to_string(),
            ),
        ]))
    }

    async fn plug(
        &self,
        net: &Net,
        new: &NewEndpoint,
        port: Port,
        by: Instant,
    ) -> Result<Interface, Error> {
        let port = match new.mac {
            Some(mac) if mac != port.mac_address => self.change_mac(port, mac, by).await?,
            _ => port,
        };
        let interface = interface(net, &port)?;
        let vif = binding::vif(&port, &self.settings.host, new.id.as_str(), net.mtu)?;
        let label = Debt::Label {
            port: port.id,
            network: port.network_id,
            addresses: port.fixed_ips.iter().map(|ip| ip.ip_address).collect(),
            endpoint: new.id.clone(),
        };
        let act = format!(
            "plug port {} of endpoint {}",
            port.id,
            names::head(new.id.as_str(), 12)
        );
        let ((), done) = tokio::join!(self.debts.owe(label), self.host.plug(&vif, by));
        done.map_err(plugging(act))?;
        let endpoint = Endpoint {
            port,
            plugged: vif.attachment,
        };
        self.endpoints.insert(new.id.clone(), endpoint);
        Ok(interface)
    }

    async fn unplug(&self, plugged: &Plugged, by: Instant) -> Result<(), Error> {
        let act = format!(
            "unplug port {} of endpoint {}",
            plugged.interface_id, plugged.owner
        );
        self.host.unplug(plugged, by).await.map_err(plugging(act))
    }

    /// An endpoint, found again after a restart by what is plugged here.
    async fn endpoint(
        &self,
        net: &Net,
        id: &EndpointId,
        by: Instant,
    ) -> Result<Arc<Endpoint>, Error> {
        if let Some(endpoint) = self.endpoints.get(id) {
            return Ok(endpoint);
        }
        let unknown = || Error::UnknownEndpoint(id.clone());
        let found = self.host.attachments(id.as_str()).await;
        let found = found.map_err(plugging(format!("look for the interface of endpoint {id}")))?;
        let plugged = found.into_iter().next().ok_or_else(unknown)?;
        let port = plugged
            .interface_id
            .parse::<PortId>()
            .map_err(|_| unknown())?;
        let act = told(format!("look up the port of endpoint {id}"));
        let port = self.neutron.by(by).find::<Port>(port).await.map_err(act)?;
        let port = port
            .filter(|port| port.network_id == net.id)
            .ok_or_else(unknown)?;
        Ok(self
            .endpoints
            .insert(id.clone(), Endpoint { port, plugged }))
    }

    /// The ports that we have made for an endpoint, as Neutron knows them.
    async fn ports_of(&self, id: &EndpointId, by: Instant) -> Result<Vec<Port>, Error> {
        let filter = Filter::new().with("device_id", id);
        let ports = self.neutron.by(by).list::<Port>(&filter).await;
        let mut ports = ports.map_err(told(format!("look up the port of endpoint {id}")))?;
        ports.retain(|port| is_ours(port, id));
        Ok(ports)
    }
}

fn interface(net: &Net, port: &Port) -> Result<Interface, Error> {
    let addresses = port.fixed_ips.iter().filter_map(|ip| {
        net.subnet(ip.subnet_id)
            .map(|subnet| in_range(ip.ip_address, subnet.cidr))
    });
    Ok(Interface {
        mac: port.mac_address,
        addresses: addresses.collect::<Result<_, _>>()?,
    })
}
