//! Endpoints: a container's place on a network, which is a Neutron port and an interface here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use kuryr_vif::Attachment as Plugged;
use neutron_api::{MacAddress, Port, PortChange, PortId, PortStatus, WantedIp};
use neutron_client::Filter;
use tokio::time::{Instant, sleep};

use crate::address::{has_address, ports_at, removal};
use crate::ask::{
    AddressRequest, Attachment, Details, EndpointId, Interface, NetworkId, NewEndpoint, Route,
};
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

    /// Finds or makes the one port that has just these addresses, where none was reserved for them
    /// together: after a restart, with another IPAM driver, or when requests have crossed.
    async fn gather(&self, net: &Net, new: &NewEndpoint, by: Instant) -> Result<Port, Error> {
        // Endpoints whose requests have crossed take addresses from each other's ports.
        let _turn = self.network_turns.turn(&new.network, by).await?;
        let port = self.gathered(net, new, by).await?;
        let addresses = new.addresses.iter().map(IpNet::addr).collect();
        self.reservations.hold(port.clone(), addresses);
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
                let waits = port.name == names::UNBOUND_PORT
                    && port
                        .host_id
                        .as_deref()
                        .is_none_or(|bound| bound.is_empty() || bound == host);
                let taken = port.device_id != new.id.as_str() && !waits;
                if taken || port.device_owner != names::DEVICE_OWNER {
                    return Err(Error::address_in_use(address, &port));
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
        if has_all && port.host_id.as_deref().is_none_or(|bound| bound == host) {
            return Ok(port);
        }
        let change = PortChange {
            fixed_ips: Some(wanted),
            host_id: Some(host.to_owned()),
            ..PortChange::default()
        };
        let act = told(format!(
            "give port {} the addresses of endpoint {}",
            port.id, new.id
        ));
        neutron.update(port.id, &change).await.map_err(act)
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
            self.debts.pay(removal(port), by).await;
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
    async fn change_mac(&self, port: Port, mac: MacAddress, by: Instant) -> Result<Port, Error> {
        let neutron = self.neutron.by(by);
        let act = || told(format!("give port {} the MAC address {mac}", port.id));
        let unbind = PortChange {
            host_id: Some(String::new()),
            ..PortChange::default()
        };
        let rebind = PortChange {
            mac_address: Some(mac),
            host_id: Some(self.settings.host.clone()),
            ..PortChange::default()
        };
        neutron.update(port.id, &unbind).await.map_err(act())?;
        neutron.update(port.id, &rebind).await.map_err(act())
    }

    async fn wait_until_wired(&self, endpoint: &Endpoint, by: Instant) -> Result<(), Error> {
        let start = Instant::now();
        let until = by.min(start + self.settings.patience());
        let wired = self.host.wired(&endpoint.plugged, until).await;
        let wired = wired.map_err(plugging(format!("wait for port {}", endpoint.port.id)))?;
        let fatal = self.settings.plugging_is_fatal;
        if wired && (!fatal || self.is_active(endpoint.port.id, until).await?) {
            return Ok(());
        }
        let error = Error::NotWired {
            port: endpoint.port.id,
            host: self.settings.host.clone(),
            waited: start.elapsed(),
        };
        if fatal {
            return Err(error);
        }
        tracing::warn!(
            "{error}; the container starts all the same, as vif_plugging_is_fatal is off"
        );
        Ok(())
    }

    /// Waits until Neutron has heard from its agent that a port forwards.
    async fn is_active(&self, port: PortId, until: Instant) -> Result<bool, Error> {
        const LONGEST: Duration = Duration::from_secs(1);
        let mut pause = Duration::from_millis(50);
        loop {
            let found = self.neutron.by(until).find::<Port>(port).await;
            let found = found.map_err(told(format!("wait for port {port} to be ACTIVE")))?;
            if found.is_some_and(|port| port.status == PortStatus::Active) {
                return Ok(true);
            }
            if Instant::now() + pause >= until {
                return Ok(false);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
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
