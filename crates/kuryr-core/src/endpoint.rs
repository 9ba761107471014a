//! Endpoints: a container's place on a network, which is a Neutron port and an interface here.

mod delete;
mod gather;
mod known;
mod publish;
mod wired;

use std::sync::Arc;

use ipnet::IpNet;
use kuryr_vif::{Attachment as Plugged, Sharing, Switch};
use neutron_api::{Port, PortChange, PortId};
use tokio::time::Instant;

use crate::ask::{
    Attachment, Caller, Details, EndpointId, ExposedPort, Interface, NetworkId, NewEndpoint, Route,
};
use crate::debt::Debt;
use crate::error::{Error, PortError, plugging, told};
use crate::kuryr::Kuryr;
use crate::names;
use crate::options::PortWishes;
use crate::pool::in_range;
use crate::port_settings::PortSettings;
use crate::view::Net;

pub(crate) use known::Endpoints;
use known::{Awaited, Endpoint};

impl Kuryr {
    /// Gives an endpoint a port and an interface on this host; asked again, finds them.
    ///
    /// The port's name and tags follow in the background: no container waits for them.
    ///
    /// # Errors
    /// An address is somebody else's, Neutron's refusal, or the host's.
    pub async fn create_endpoint(&self, new: NewEndpoint, by: Instant) -> Result<Interface, Error> {
        self.create_endpoint_for(&Caller::default(), new, by).await
    }

    /// The same for a caller that may hang up; what it would never know of is removed again.
    ///
    /// # Errors
    /// As before.
    pub async fn create_endpoint_for(
        &self,
        caller: &Caller,
        new: NewEndpoint,
        by: Instant,
    ) -> Result<Interface, Error> {
        let _call = self.lull.ends_with_a_start();
        self.unconfirmed.remove(&new.network);
        let turn = self.endpoint_turns.turn(&new.id, by).await?;
        if new.addresses.is_empty() {
            return Err(Error::NoAddressGiven(new.id));
        }
        let wishes = PortWishes::of_endpoint(&new.options)?;
        let net = self.network(&new.network, by).await?;
        let settings = PortSettings::find(&self.neutron.by(by), wishes).await?;
        let claimed = self.reservations.claim(net.id, &new.addresses);
        let lent = claimed.is_some();
        let port = match claimed {
            Some(port) => port,
            None => self.gather(&net, &new, by).await?,
        };
        let id = port.id;
        let made = self.plug(&net, &new, &settings, port, lent, by).await;
        match made {
            Ok(_) => {
                self.reservations.remove(id);
                // One that an earlier call has made is known, whoever asked for it again.
                if lent && caller.is_gone() {
                    tracing::warn!(
                        "nobody waits for endpoint {} any more: removed again",
                        new.id
                    );
                    self.delete_endpoint_in_turn(turn, &new.network, &new.id, by)
                        .await?;
                }
            }
            Err(_) if self.port_adoptions.has(id) => {
                self.reservations.remove(id);
                self.abandon_port(id).await;
            }
            // The runtime is going to release the addresses, and finds the port by them.
            Err(_) => self.reservations.give_back(id),
        }
        made
    }

    /// What a container's sandbox needs in order to use an endpoint.
    ///
    /// Lets in what is for the ports that the container exposes, and waits until the switch forwards
    /// for it, so that a container's first packet is not lost.
    ///
    /// # Errors
    /// The endpoint is unknown, Neutron refuses to let in what is for the exposed ports, or the switch
    /// does not forward in time and that is fatal.
    pub async fn join(
        &self,
        network: &NetworkId,
        id: &EndpointId,
        exposed: &[ExposedPort],
        by: Instant,
    ) -> Result<Attachment, Error> {
        let _call = self.lull.ends();
        let net = self.network(network, by).await?;
        let endpoint = self.endpoint(&net, id, by).await?;
        endpoint.awaited.end();
        let (wired, opened) = tokio::join!(
            self.wait_until_wired(&endpoint, by),
            self.open(&endpoint.port, id, exposed, by)
        );
        opened.and(wired)?;
        if !self.port_pools.take_announced(&endpoint.port) {
            self.announce(&endpoint.plugged, &endpoint.port, by).await;
        }
        let (mut gateways, mut routes) = (Vec::new(), Vec::new());
        for subnet in endpoint
            .port
            .fixed_ips
            .iter()
            .filter_map(|ip| net.subnet(ip.subnet_id))
            .filter(|_| !net.is_internal)
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

    /// Takes note that a container no longer uses an endpoint: nothing is let in for it any more. Its
    /// interface goes with the endpoint.
    ///
    /// # Errors
    /// None: an endpoint that nobody knows was left already.
    pub async fn leave(&self, _: &NetworkId, id: &EndpointId, _: Instant) -> Result<(), Error> {
        match self.endpoints.get(id) {
            Some(endpoint) => {
                endpoint.awaited.begin();
                self.close(endpoint.port.id).await;
            }
            None => self.endpoints.leave_unknown(id),
        }
        Ok(())
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
                host_interface(&endpoint.plugged),
            ),
        ]))
    }

    async fn plug(
        &self,
        net: &Net,
        new: &NewEndpoint,
        settings: &PortSettings,
        port: Port,
        lent: bool,
        by: Instant,
    ) -> Result<Interface, Error> {
        let adopted = self.port_adoptions.has(port.id);
        let is_usual =
            !adopted && settings.is_default() && new.mac.is_none_or(|mac| mac == port.mac_address);
        let lent = (lent && is_usual).then(|| new.addresses.iter().map(IpNet::addr).collect());
        let port = match new.mac {
            _ if adopted && !settings.is_default() => {
                return Err(PortError::KeepsSettings(port.id).into());
            }
            _ if adopted => self.use_port(port, new, by).await?,
            Some(mac) if mac != port.mac_address => match self.change_mac(net, port, mac, by).await
            {
                Err(error) if error.is_mac_in_use() => {
                    return Err(self.mac_in_use(net, mac, error, by).await);
                }
                other => other?,
            },
            _ => port,
        };
        let port = self.change_settings(port, settings, by).await?;
        let mut interface = interface(net, &port)?;
        let vif = self.vif(net, &port, new.id.as_str(), by).await?;
        if let Switch::Parent {
            sharing: Sharing::Ipvlan | Sharing::IpvlanL3,
            ..
        } = vif.attachment.switch
        {
            interface.mac = None;
        }
        let label = (!adopted).then(|| {
            let name = settings.name.clone();
            let name = name.or(self.port_defaults.of(&net.of).name);
            Debt::label(&port, new.id.clone(), name)
        });
        let act = format!(
            "plug port {} of endpoint {}",
            port.id,
            names::head(new.id.as_str(), 12)
        );
        let noted = async {
            if let Some(label) = label {
                self.debts.owe(label).await;
            }
        };
        let ((), done) = tokio::join!(noted, self.host.plug(&vif, by));
        done.map_err(plugging(act))?;
        let endpoint = Endpoint {
            port,
            plugged: vif.attachment,
            lent,
            found_again: false,
            awaited: Awaited::from_now(),
        };
        self.endpoints.insert(new.id.clone(), endpoint);
        Ok(interface)
    }

    /// Gives a port what its endpoint is to have beyond what its network gives to all.
    async fn change_settings(
        &self,
        port: Port,
        settings: &PortSettings,
        by: Instant,
    ) -> Result<Port, Error> {
        let change = settings.change();
        if change == PortChange::default() {
            return Ok(port);
        }
        let changed = self.neutron.by(by).update(port.id, &change).await;
        let act = format!("give port {} what the options neutron.port.* say", port.id);
        let port = changed.map_err(told(act))?;
        settings.check(&port)?;
        Ok(port)
    }

    /// An endpoint, found again after a restart by what is plugged here.
    pub(crate) async fn endpoint(
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
        // Its endpoint has gone: the interface waits to be taken back.
        if self.port_pools.has(port) {
            return Err(unknown());
        }
        let act = told(format!("look up the port of endpoint {id}"));
        let port = self.neutron.by(by).find::<Port>(port).await.map_err(act)?;
        let port = port
            .filter(|port| port.network_id == net.id)
            .ok_or_else(unknown)?;
        Ok(self.endpoints.insert(
            id.clone(),
            Endpoint {
                port,
                plugged,
                lent: None,
                found_again: true,
                awaited: Awaited::default(),
            },
        ))
    }
}

/// Where this host's side of an endpoint is: the end that stays here, or what the container shares or has.
fn host_interface(plugged: &Plugged) -> String {
    match &plugged.switch {
        Switch::Parent { parent, .. } => parent.to_string(),
        Switch::Device(device) => device.slot.to_string(),
        Switch::OpenVSwitch { .. }
        | Switch::Hybrid { .. }
        | Switch::LinuxBridge { .. }
        | Switch::AgentBridge { .. }
        | Switch::Tap
        | Switch::Program(_) => plugged.host.to_string(),
    }
}

fn interface(net: &Net, port: &Port) -> Result<Interface, Error> {
    let addresses = port.fixed_ips.iter().filter_map(|ip| {
        net.subnet(ip.subnet_id)
            .map(|subnet| in_range(ip.ip_address, subnet.cidr))
    });
    Ok(Interface {
        mac: Some(port.mac_address),
        addresses: addresses.collect::<Result<_, _>>()?,
    })
}
