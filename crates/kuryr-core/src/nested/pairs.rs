//! What a guest's own port lets through: its `allowed_address_pairs`.
//!
//! The list is one value that any number of writers change, so it is changed only if it still is what
//! was read (`If-Match`), and else read again. Neutron compares before it writes, not as it writes, and the
//! second of two that do so at the same moment undoes what the first was told to have done. Whoever does that is
//! under way by then; so each change is looked at again after a while, and made again until it lasts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use ipnet::IpNet;
use kuryr_vif::Sharing;
use neutron_api::{AddressPair, NetworkId, Port, PortChange, PortId};
use neutron_client::{Filter, Neutron};
use tokio::time::{Instant, sleep};

use super::{Guest, LONGEST_PAUSE, OwnPort, PATIENCE, chance};
use crate::error::{Error, told};
use crate::kuryr::Kuryr;

/// How often what a container may send is looked at again.
const LOOKS: usize = 10;

impl Guest {
    fn admitted(&self) -> MutexGuard<'_, BTreeSet<PortId>> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the guest's port let through what an admitted port is to send. How long that took, if it did not
    /// before.
    async fn admit(
        &self,
        neutron: &Neutron,
        own: &OwnPort,
        port: &Port,
        sharing: Sharing,
        by: Instant,
    ) -> Result<Option<Duration>, Error> {
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
        if !self.admitted().contains(&port.id) {
            return Ok(None);
        }
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
        self.admitted().remove(&port);
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
            while let Some(took) = {
                // Who else is at it in this process ends; if it does not, the others' turn decides.
                let _turn = self.turns.turn(&own.id, by).await.ok();
                self.change(neutron, &own, drop, by).await?
            } {
                sleep(until_it_lasts(took)).await;
            }
        }
        Ok(())
    }

    /// Changes the list, if nobody else does at the same time, and else again. A port that has gone has
    /// no list. How long the change took; none if there was nothing to be changed.
    async fn change(
        &self,
        neutron: &Neutron,
        own: &OwnPort,
        change: impl Fn(&[AddressPair]) -> Vec<AddressPair>,
        by: Instant,
    ) -> Result<Option<Duration>, neutron_client::Error> {
        let mut pause = Duration::from_millis(5);
        loop {
            let Some(now) = neutron.find::<Port>(own.id).await? else {
                // The guest has another port by now.
                self.forget();
                return Ok(None);
            };
            let wanted = change(&now.allowed_address_pairs);
            if wanted == now.allowed_address_pairs {
                return Ok(None);
            }
            let change = PortChange {
                allowed_address_pairs: Some(wanted),
                ..PortChange::default()
            };
            let start = Instant::now();
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
                other => return other.map(|_| Some(start.elapsed())),
            }
        }
    }
}

/// By then who has begun to change the list before a change that took so long was done has ended, too.
fn until_it_lasts(took: Duration) -> Duration {
    (took * 2).clamp(Duration::from_millis(200), PATIENCE / 2)
}

impl Kuryr {
    /// Has the guest's port let through what a port is to send, and goes on to look whether it does.
    pub(super) async fn let_through(
        &self,
        own: &OwnPort,
        port: &Port,
        sharing: Sharing,
        by: Instant,
    ) -> Result<(), Error> {
        self.guest.admitted().insert(port.id);
        let neutron = self.neutron.by(by);
        let took = self.guest.admit(&neutron, own, port, sharing, by).await?;
        if let Some(took) = took {
            let (kuryr, own, port) = (self.clone(), own.clone(), port.clone());
            self.background
                .spawn(async move { kuryr.keep_letting_through(own, port, sharing, took).await });
        }
        Ok(())
    }

    async fn keep_letting_through(
        &self,
        own: OwnPort,
        port: Port,
        sharing: Sharing,
        took: Duration,
    ) {
        let mut pause = until_it_lasts(took);
        for _ in 0..LOOKS {
            sleep(pause).await;
            let by = Instant::now() + PATIENCE;
            let neutron = self.neutron.by(by);
            match self.guest.admit(&neutron, &own, &port, sharing, by).await {
                Ok(None) => return,
                Ok(Some(took)) => {
                    tracing::warn!(
                        own = %own.id, port = %port.id,
                        "somebody else's change of this machine's port undid what it lets through; done again"
                    );
                    pause = until_it_lasts(took);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "looked at again in a while");
                    pause *= 2;
                }
            }
        }
    }
}
