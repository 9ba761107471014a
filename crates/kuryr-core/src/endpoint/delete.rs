//! Endpoints that go: interface and port in the background.

use std::future::poll_fn;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use kuryr_vif::Attachment as Plugged;
use neutron_api::{Port, PortId};
use neutron_client::Filter;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::Endpoint;
use crate::address::removal_of;
use crate::ask::{EndpointId, NetworkId};
use crate::debt::{Debt, is_ours};
use crate::error::{Error, plugging, told};
use crate::kuryr::Kuryr;

impl Kuryr {
    /// Takes an endpoint's interface off this host, and its port out of Neutron if we made it.
    ///
    /// Both go in the background, the port also if Neutron can't be reached now. What is gone is a
    /// success.
    ///
    /// # Errors
    /// The host's refusal, as far as it comes at once.
    pub async fn delete_endpoint(
        &self,
        network: &NetworkId,
        id: &EndpointId,
        by: Instant,
    ) -> Result<(), Error> {
        let _call = self.lull.ends();
        let turn = self.endpoint_turns.turn(id, by).await?;
        self.delete_endpoint_in_turn(turn, network, id, by).await
    }

    /// The same by whoever has the endpoint's turn, which ends with the interface.
    pub(super) async fn delete_endpoint_in_turn(
        &self,
        turn: OwnedMutexGuard<()>,
        network: &NetworkId,
        id: &EndpointId,
        by: Instant,
    ) -> Result<(), Error> {
        if let Some(endpoint) = self.endpoints.remove(id) {
            self.reservations.remove(endpoint.port.id);
            self.unreleased.insert(&endpoint.port);
            if let Some(net) = self.view.get(network)
                && let Some(lent) = &endpoint.lent
                && self.recycle(&net, &endpoint.port, lent).await
            {
                return match self.hands_interfaces_on(&net) {
                    true => Ok(()),
                    false => self.begin_to_unplug(&endpoint.plugged, turn, by).await,
                };
            }
            // Noted first: whatever happens to the interface, the port must not stay.
            self.part_with(&endpoint, id).await;
            return self.begin_to_unplug(&endpoint.plugged, turn, by).await;
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
                // It is on its way into its pool already, and takes the interface along.
                if self.port_pools.has(port) {
                    continue;
                }
                self.part_with_unknown(port, id).await;
            }
            self.unplug(attachment, by).await?;
        }
        for port in self.port_adoptions.of(id) {
            self.abandon_port(port).await;
        }
        if plugged.is_empty() {
            tracing::debug!("nothing is plugged for endpoint {id} of network {network}");
            match self.ports_of(id, by).await {
                Ok(ports) => {
                    for port in ports {
                        self.debts.owe(removal_of(&port, true)).await;
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

    /// Parts with a port that an endpoint has used, as it was when the endpoint was made or found.
    async fn part_with(&self, endpoint: &Endpoint, id: &EndpointId) {
        let port = &endpoint.port;
        if is_ours(port, id.as_str()) && !self.port_adoptions.has(port.id) {
            let has_group = self.exposures.remove(port.id) || endpoint.found_again;
            self.debts.owe(removal_of(port, has_group)).await;
        } else {
            self.part_with_unknown(port.id, id).await;
        }
    }

    /// The same where it must be asked first whose port it is.
    async fn part_with_unknown(&self, port: PortId, endpoint: &EndpointId) {
        if self.port_adoptions.has(port) {
            self.abandon_port(port).await;
        } else {
            let endpoint = endpoint.clone();
            self.debts
                .owe(Debt::DeletePortIfOurs { port, endpoint })
                .await;
        }
    }

    /// The runtime forgets an endpoint whatever we answer.
    async fn owe_ports_of(&self, id: &EndpointId) {
        let endpoint = id.clone();
        self.debts.owe(Debt::DeletePortsOf { endpoint }).await;
    }

    /// Unplugs without waiting for the end of it, for which the kernel takes tens of milliseconds.
    ///
    /// The first step is taken here: with it the interface has its turn, and who plugs it next waits.
    async fn begin_to_unplug(
        &self,
        plugged: &Plugged,
        turn: OwnedMutexGuard<()>,
        by: Instant,
    ) -> Result<(), Error> {
        let (kuryr, plugged) = (self.clone(), plugged.clone());
        let mut unplug = Box::pin(async move { kuryr.unplug(&plugged, by).await });
        let begun = poll_fn(|context| Poll::Ready(unplug.as_mut().poll(context))).await;
        if let Poll::Ready(outcome) = begun {
            return outcome;
        }
        self.background.spawn(async move {
            if let Err(error) = unplug.await {
                tracing::error!(error = &error as &dyn std::error::Error, "not done yet");
            }
            drop(turn);
        });
        Ok(())
    }

    async fn unplug(&self, plugged: &Plugged, by: Instant) -> Result<(), Error> {
        let act = format!(
            "unplug port {} of endpoint {}",
            plugged.interface_id, plugged.owner
        );
        let unplugged = self.host.unplug(plugged, by).await;
        if unplugged.is_err() {
            // The runtime does not ask again.
            self.suspicion.store(true, Relaxed);
        }
        unplugged.map_err(plugging(act))
    }

    /// The ports that we have made for an endpoint, as Neutron knows them.
    async fn ports_of(&self, id: &EndpointId, by: Instant) -> Result<Vec<Port>, Error> {
        let filter = Filter::new().with("device_id", id);
        let by = self.absence.wait(by);
        let ports = self.neutron.by(by).list::<Port>(&filter).await;
        let ports = ports.map_err(told(format!("look up the port of endpoint {id}")));
        self.absence.tell(&ports);
        let mut ports = ports?;
        ports.retain(|port| is_ours(port, id.as_str()));
        Ok(ports)
    }
}
