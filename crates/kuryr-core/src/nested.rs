//! Containers in a guest, by way of the guest's own port: that one is to let their addresses through
//! (`allowed_address_pairs`).

mod pairs;
mod routed;
mod trunk;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kuryr_vif::{Attachment, IfName, Sharing, Switch, Vif};
use neutron_api::{MacAddress, NetworkId, Port, PortId};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;
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
    /// The ports that are let through, by this run.
    admitted: Mutex<BTreeSet<PortId>>,
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
                self.let_through(&own, port, sharing, by).await?;
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
