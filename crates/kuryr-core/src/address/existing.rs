//! Addresses of ports that were there before.

use std::net::IpAddr;
use std::sync::Arc;

use neutron_api::{MacAddress, Port, Subnet};
use tokio::time::Instant;

use super::{has_address, ports_at};
use crate::adopt::port::{other_mac, ports_with};
use crate::ask::AddressRequest;
use crate::debt::Debt;
use crate::error::{Error, PortError};
use crate::kuryr::Kuryr;
use crate::view::Net;

impl Kuryr {
    /// Reserves the port that has the address which the user wants; none if no port has it.
    pub(super) async fn reserve_existing(
        &self,
        net: &Net,
        address: IpAddr,
        ask: AddressRequest,
        by: Instant,
    ) -> Result<Option<IpAddr>, Error> {
        let Some(port) = ports_at(&self.neutron.by(by), net, address).await?.pop() else {
            return Ok(None);
        };
        let whose = (&port).into();
        let in_use = PortError::AddressInUse { address, whose };
        let port = self.adopt_port(port, in_use, by).await?;
        if let Some(mac) = ask.mac.filter(|mac| *mac != port.mac_address) {
            self.abandon_port(port.id).await;
            return Err(other_mac(&port, mac));
        }
        self.reservations.insert_adopted(port, vec![address]);
        Ok(Some(address))
    }

    /// Reserves the port that has the MAC address which the user wants, with its own address.
    pub(super) async fn reserve_by_mac(
        &self,
        net: &Arc<Net>,
        subnet: &Subnet,
        mac: MacAddress,
        ask: AddressRequest,
        by: Instant,
    ) -> Result<Option<IpAddr>, Error> {
        let neutron = self.neutron.by(by);
        let Some(port) = ports_with(&neutron, net.id, mac).await?.pop() else {
            return Ok(None);
        };
        let whose = (&port).into();
        let in_use = PortError::MacInUse { mac, whose };
        let port = self.adopt_port(port, in_use, by).await?;
        let of_subnet = port.fixed_ips.iter().find(|ip| ip.subnet_id == subnet.id);
        let address = match (ask.address, of_subnet) {
            (None, Some(ip)) => ip.ip_address,
            (Some(address), _) if has_address(&port, address) => address,
            (asked, _) => {
                self.abandon_port(port.id).await;
                let has = port.fixed_ips.iter().map(|ip| ip.ip_address).collect();
                let (port, asked) = (port.id, asked.unwrap_or(subnet.cidr.network()));
                let asked = vec![asked];
                return Err(PortError::OtherAddresses { port, has, asked }.into());
            }
        };
        self.reservations.insert_adopted(port, vec![address]);
        Ok(Some(address))
    }

    /// Whether Neutron has refused a MAC address only because the port that had it was about to go, and
    /// that has gone by now.
    pub(crate) async fn is_mac_freed(
        &self,
        refusal: &Error,
        net: &Net,
        mac: Option<MacAddress>,
        by: Instant,
    ) -> bool {
        let Some(mac) = mac.filter(|_| refusal.is_mac_in_use()) else {
            return false;
        };
        let Ok(ports) = ports_with(&self.neutron.by(by), net.id, mac).await else {
            return false;
        };
        let concerns = |debt: &Debt| ports.iter().any(|port| debt.is_about(port));
        ports.iter().all(|port| self.debts.are_about(port))
            && self.debts.settled(by, concerns).await
    }

    /// Says who has a MAC address that Neutron has refused; `refusal` if nobody has it any more.
    pub(crate) async fn mac_in_use(
        &self,
        net: &Net,
        mac: MacAddress,
        refusal: Error,
        by: Instant,
    ) -> Error {
        let found = ports_with(&self.neutron.by(by), net.id, mac).await;
        let Some(port) = found.ok().and_then(|mut ports| ports.pop()) else {
            return refusal;
        };
        match self.is_free(&port).await {
            Ok(true) => only_its_mac(&port),
            Ok(false) | Err(_) => PortError::MacInUse {
                mac,
                whose: (&port).into(),
            }
            .into(),
        }
    }
}

fn only_its_mac(port: &Port) -> Error {
    PortError::OnlyItsMac {
        mac: port.mac_address,
        port: port.id,
        addresses: port.fixed_ips.iter().map(|ip| ip.ip_address).collect(),
    }
    .into()
}
