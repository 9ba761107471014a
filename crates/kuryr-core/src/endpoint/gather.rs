//! The one port that has all of an endpoint's addresses, where no port was made for them together.

use std::net::IpAddr;

use ipnet::IpNet;
use neutron_api::{MacAddress, Port, PortChange, WantedIp};
use tokio::time::Instant;

use crate::address::{has_address, ports_at, removal};
use crate::ask::{AddressRequest, NewEndpoint};
use crate::error::{Error, told};
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
    pub(super) async fn change_mac(
        &self,
        port: Port,
        mac: MacAddress,
        by: Instant,
    ) -> Result<Port, Error> {
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
}
