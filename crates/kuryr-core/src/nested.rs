//! Containers in a guest, by way of the guest's own port: that one is to let their addresses through
//! (`allowed_address_pairs`).
//!
//! The list is one value that any number of writers change, so it is changed only if it still is what
//! was read (`If-Match`), and else read again.

mod routed;
mod trunk;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use ipnet::IpNet;
use kuryr_vif::{Attachment, IfName, Sharing, Switch, Vif};
use neutron_api::{AddressPair, MacAddress, NetworkId, Port, PortChange, PortId};
use neutron_client::{Filter, Neutron};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::binding;
use crate::driver::{Driver, Drivers};
use crate::error::{Error, PortError, told};
use crate::keyed::Keyed;
use crate::kuryr::Kuryr;
use crate::names;
use crate::view::Net;
use trunk::{OwnTrunk, Queue};

/// The guest that this host is.
#[derive(Default)]
pub(crate) struct Guest {
    interfaces: Vec<(IfName, MacAddress)>,
    /// Whether containers may be on networks that the guest is not on.
    routes: bool,
    ports: Mutex<Vec<OwnPort>>,
    trunk: Mutex<Option<OwnTrunk>>,
    queue: Mutex<Queue>,
    /// Subports that were made ready before a container came, also while it has them.
    ready: Mutex<HashMap<PortId, u16>>,
    turns: Keyed<PortId>,
}

/// A port of the guest's own.
#[derive(Clone, Debug)]
struct OwnPort {
    id: PortId,
    network: NetworkId,
    mac: MacAddress,
    interface: IfName,
}

impl Guest {
    pub(crate) fn new(drivers: &Drivers) -> Self {
        Self {
            interfaces: drivers.interfaces.clone(),
            routes: drivers.enabled.contains(&Driver::IpvlanL3),
            ..Self::default()
        }
    }

    /// Has the guest's port let through what a container's port is to send.
    async fn admit(
        &self,
        neutron: &Neutron,
        own: &OwnPort,
        port: &Port,
        sharing: Sharing,
        by: Instant,
    ) -> Result<(), Error> {
        let wanted: Vec<AddressPair> = port
            .fixed_ips
            .iter()
            .map(|ip| AddressPair {
                ip_address: ip.ip_address.to_string(),
                mac_address: match sharing {
                    Sharing::Macvlan => Some(port.mac_address),
                    Sharing::Ipvlan | Sharing::IpvlanL3 | Sharing::Vlan(_) => Some(own.mac),
                },
            })
            .collect();
        let add = |has: &[AddressPair]| {
            let lacking = wanted.iter().filter(|pair| !has.contains(pair));
            [has, &lacking.cloned().collect::<Vec<_>>()].concat()
        };
        let _turn = self.turns.turn(&own.id, by).await?;
        let act = told(format!(
            "have port {} of this machine let through what port {} sends",
            own.id, port.id
        ));
        self.change(neutron, own, add, by).await.map_err(act)
    }

    /// Has the guest's port no longer let through what was for a port that is about to go, or, if it
    /// has gone, for these addresses of a network, unless another port has them now.
    pub(crate) async fn expel(
        &self,
        neutron: &Neutron,
        port: PortId,
        known: Option<(NetworkId, &[IpAddr])>,
    ) -> Result<(), neutron_client::Error> {
        if self.interfaces.is_empty() {
            return Ok(());
        }
        let mut network = known.map(|(network, _)| network);
        let mut addresses: Vec<IpAddr> = Vec::new();
        match (neutron.find::<Port>(port).await?, known) {
            (Some(found), _) => {
                network = Some(found.network_id);
                addresses.extend(found.fixed_ips.iter().map(|ip| ip.ip_address));
            }
            (None, Some((network, were))) => {
                for address in were {
                    let filter = Filter::new().with("network_id", network).at(*address);
                    if neutron.list::<Port>(&filter).await?.is_empty() {
                        addresses.push(*address);
                    }
                }
            }
            (None, None) => {}
        }
        let Some(network) = network.filter(|_| !addresses.is_empty()) else {
            return Ok(());
        };
        let owners = if self.routes {
            self.ports_of_machine(neutron).await?
        } else {
            Vec::from_iter(self.port_on(neutron, network).await?)
        };
        let theirs = |pair: &&AddressPair| {
            let range = pair.range();
            !addresses
                .iter()
                .any(|address| range == Some(IpNet::from(*address)))
        };
        let drop = |has: &[AddressPair]| has.iter().filter(theirs).cloned().collect();
        let by = Instant::now() + PATIENCE;
        for own in owners {
            // Who else is at it in this process ends; if it does not, the others' turn decides.
            let _turn = self.turns.turn(&own.id, by).await.ok();
            self.change(neutron, &own, drop, by).await?;
        }
        Ok(())
    }

    /// Changes the list, if nobody else does at the same time, and else again. A port that has gone has
    /// no list.
    async fn change(
        &self,
        neutron: &Neutron,
        own: &OwnPort,
        change: impl Fn(&[AddressPair]) -> Vec<AddressPair>,
        by: Instant,
    ) -> Result<(), neutron_client::Error> {
        let mut pause = Duration::from_millis(5);
        loop {
            let Some(now) = neutron.find::<Port>(own.id).await? else {
                // The guest has another port by now.
                self.forget();
                return Ok(());
            };
            let wanted = change(&now.allowed_address_pairs);
            if wanted == now.allowed_address_pairs {
                return Ok(());
            }
            let change = PortChange {
                allowed_address_pairs: Some(wanted),
                ..PortChange::default()
            };
            match neutron
                .update_at(own.id, &change, now.revision_number)
                .await
            {
                Err(error)
                    if error.status() == Some(StatusCode::PRECONDITION_FAILED)
                        && Instant::now() + pause < by =>
                {
                    // Each writer waits for another time, or they would meet again.
                    sleep(pause.mul_f64(chance())).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other.map(drop),
            }
        }
    }

    /// The guest's port on a network; none if it has none there.
    async fn port_on(
        &self,
        neutron: &Neutron,
        network: NetworkId,
    ) -> Result<Option<OwnPort>, neutron_client::Error> {
        let on = |ports: &[OwnPort]| ports.iter().find(|port| port.network == network).cloned();
        if let Some(known) = on(&self.known()) {
            return Ok(Some(known));
        }
        let on_network = Filter::new().with("network_id", network);
        let found = self.with_own_mac(neutron, on_network).await?;
        let own: Vec<OwnPort> = found.iter().filter_map(|port| self.own(port)).collect();
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.retain(|port| port.network != network);
        ports.extend(own);
        Ok(on(&ports))
    }

    /// The ports that have the MAC address of an interface of this machine, of those that `filter` lets
    /// through.
    async fn with_own_mac(
        &self,
        neutron: &Neutron,
        filter: Filter,
    ) -> Result<Vec<Port>, neutron_client::Error> {
        let interfaces = self.interfaces.iter();
        let filter = interfaces.fold(filter, |filter, (_, mac)| filter.with("mac_address", mac));
        neutron.list(&filter).await
    }

    /// This machine's interfaces, for messages.
    fn interfaces_shown(&self) -> String {
        let interfaces = self.interfaces.iter();
        listed(interfaces.map(|(name, mac)| format!("{name} {mac}")))
    }

    /// The port as the guest's own; none if it is no interface's of this machine.
    fn own(&self, port: &Port) -> Option<OwnPort> {
        let has = |(_, mac): &&(IfName, MacAddress)| *mac == port.mac_address;
        let (interface, mac) = self.interfaces.iter().find(has)?;
        Some(OwnPort {
            id: port.id,
            network: port.network_id,
            mac: *mac,
            interface: interface.clone(),
        })
    }

    fn known(&self) -> Vec<OwnPort> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.clone()
    }

    fn forget(&self) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.clear();
    }
}

/// How long the list may be changed by others in the background's way.
const PATIENCE: Duration = Duration::from_secs(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

fn listed(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// Between 0 and 1.
fn chance() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

impl Kuryr {
    /// How the ports of a network are plugged here.
    pub(crate) fn driver_of(&self, net: &Net) -> Driver {
        let of_network = self.port_defaults.of(&net.of).driver;
        of_network.unwrap_or(self.settings.drivers.default)
    }

    /// The host that a port of ours on this network is to be bound to: none for subports, as the host of
    /// their guest is theirs, and what binds them there is their trunk.
    pub(crate) fn host_to_bind(&self, net: &Net) -> Option<String> {
        match self.driver_of(net) {
            Driver::Veth | Driver::Macvlan | Driver::Ipvlan | Driver::IpvlanL3 | Driver::HwVeb => {
                Some(self.settings.host.clone())
            }
            Driver::Vlan => None,
        }
    }

    /// What is said of a port of ours that is bound to no host.
    pub(crate) fn port_description(&self, net: &Net) -> String {
        match self.host_to_bind(net) {
            Some(_) => String::new(),
            None => names::port_description(&self.settings.host),
        }
    }

    /// The host that a port of ours is for, whether it is bound to it or not.
    pub(crate) fn host_of(port: &Port) -> Option<&str> {
        let bound = port.host_id.as_deref().filter(|host| !host.is_empty());
        names::host_in(&port.description).or(bound)
    }

    /// Whether a port of ours can be plugged here.
    pub(crate) async fn check_pluggable(
        &self,
        net: &Net,
        port: &Port,
        by: Instant,
    ) -> Result<(), Error> {
        match self.driver_of(net) {
            Driver::Veth | Driver::HwVeb => binding::switch(port, &self.settings.host).map(drop),
            Driver::Macvlan | Driver::Ipvlan | Driver::IpvlanL3 => {
                self.own_port(net, port, by).await.map(drop)
            }
            Driver::Vlan => self.own_trunk(port.id, by).await.map(drop),
        }
    }

    /// The interface that realises a port, which may send what it is to send from now on.
    pub(crate) async fn vif(
        &self,
        net: &Net,
        port: &Port,
        owner: &str,
        by: Instant,
    ) -> Result<Vif, Error> {
        let driver = self.driver_of(net);
        // What a port is for counts more than the driver.
        let is_special = || binding::special_kind(port).is_some();
        let is_adopted = self.port_adoptions.has(port.id);
        if !driver.is_in_guest() || is_adopted && is_special() {
            let mut vif = binding::vif(port, &self.settings.host, owner, net.mtu)?;
            if let Switch::Device(device) = &mut vif.attachment.switch {
                self.limit(device, port, by).await?;
            }
            return Ok(vif);
        }
        if is_adopted {
            let port = port.id;
            return Err(PortError::NotByGuest { port, driver }.into());
        }
        let (parent, sharing) = match driver.sharing() {
            Some(sharing) => {
                let own = self.own_port(net, port, by).await?;
                let neutron = self.neutron.by(by);
                self.guest.admit(&neutron, &own, port, sharing, by).await?;
                (own.interface, sharing)
            }
            None => {
                let (interface, vlan) = self
                    .subport(port, port.name == names::UNBOUND_PORT, by)
                    .await?;
                (interface, Sharing::Vlan(vlan))
            }
        };
        let switch = Switch::Parent { parent, sharing };
        let attachment = Attachment::of_port(&port.id.to_string(), owner, switch)
            .map_err(|_| Error::Bug("a port's id makes no interface name"))?;
        Ok(Vif {
            attachment,
            mac: port.mac_address.octets().into(),
            mtu: net.mtu,
        })
    }

    /// This guest's own port by way of which a container's is reached: on the same network, or where
    /// that is routed, the one.
    async fn own_port(&self, net: &Net, port: &Port, by: Instant) -> Result<OwnPort, Error> {
        if self.driver_of(net) == Driver::IpvlanL3 {
            return self.routing_port(port.id, by).await;
        }
        let act = told(format!(
            "look up this machine's own port on network {}",
            port.network_id
        ));
        let neutron = self.neutron.by(by);
        let found = self.guest.port_on(&neutron, port.network_id).await;
        found.map_err(act)?.ok_or_else(|| {
            Error::Binding {
                port: port.id,
                host: self.settings.host.clone(),
                hint: format!(
                    "this machine has no port on network {}, and containers share its ports (macvlan, ipvlan): \
                     none of Neutron's there has the MAC address of one of its interfaces ({}). Attach the machine \
                     to the network, or use the network that it is on",
                    port.network_id,
                    self.guest.interfaces_shown()
                ),
            }
        })
    }
}
