//! Publishes ports: holds them, notes them in the Neutron, waits until they lead to the container.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};

use async_trait::async_trait;
use kuryr_vif::{Attachment, Instant, Publish, PublishError, PublishedPort};
use neutron_api::PortId;
use neutron_embedded::HostPort;

use super::Agent;
use crate::AgentError;
use crate::held::{self, Held};
use crate::published::{self, KEY};

impl Agent {
    /// Takes the ports again that were published before this program started.
    pub(super) fn hold_again(&self) {
        let snapshot = self.neutron.snapshot();
        for port in snapshot.ports_on(&self.settings.host) {
            for published in published::of_port(port) {
                match self.hold(&published, port) {
                    Ok(held) => self.held().entry(port.id).or_default().push(held),
                    Err(error) => tracing::warn!(
                        port = %port.id, published = %published, %error,
                        "a published port leads to its container, but is not held"
                    ),
                }
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<PortId, Vec<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, published: &PublishedPort, port: &HostPort) -> Result<Held, PublishError> {
        let mut addresses = port.addresses.iter().copied();
        let first = addresses.next();
        let container = addresses
            .find(IpAddr::is_ipv4)
            .filter(|_| first.is_some_and(|ip| ip.is_ipv6()));
        let container = container.or(first).ok_or_else(|| PublishError::Refused {
            action: "publish",
            port: *published,
            source: "its container has no address".into(),
        })?;
        let ours = |published: &PublishedPort| self.container_with(published);
        held::hold(published, container, &self.carriers, &ours)
    }

    /// The container of ours that a port leads to.
    fn container_with(&self, port: &PublishedPort) -> Option<String> {
        let same = |held: &Held| {
            held.port.transport == port.transport && held.port.host_port == port.host_port
        };
        let held = self.held();
        let (id, _) = held.iter().find(|(_, ports)| ports.iter().any(same))?;
        let owner = self.neutron.device_of(*id);
        let owner: String = owner.unwrap_or_default().chars().take(12).collect();
        Some(format!(
            "the container with endpoint {owner} (Neutron port {id})"
        ))
    }

    /// Notes what is published, and waits until it is so.
    async fn note(
        &self,
        id: PortId,
        ports: &[PublishedPort],
        deadline: Instant,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let noted = published::to_be_kept(ports);
        if !self.neutron.set_profile(id, KEY, noted).await? && !ports.is_empty() {
            return Err(Box::new(AgentError::NoSuchPort {
                port: id.to_string(),
                host: self.settings.host.clone(),
            }));
        }
        Ok(self.caught_up(deadline, |_| true).await?)
    }
}

#[async_trait]
impl Publish for Agent {
    async fn publish(
        &self,
        attachment: &Attachment,
        ports: &[PublishedPort],
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let _turn = self.publishing.lock().await;
        let id = attachment.interface_id.parse().ok();
        let port = id.and_then(|id: PortId| self.port(id));
        let Some(port) = port else {
            // What leads to a port goes with the port.
            return ports.first().map_or(Ok(()), |first| {
                Err(refused(
                    *first,
                    "its container has no port in the embedded Neutron any more",
                ))
            });
        };
        let before = published::of_port(&port);
        let mut all: Vec<PublishedPort> = Vec::new();
        let mut new: Vec<Held> = Vec::new();
        for wanted in ports {
            if let Some(same) = self.kept(port.id, wanted) {
                all.push(same);
                continue;
            }
            let held = self.hold(wanted, &port)?;
            all.push(held.port);
            new.push(held);
        }
        if let Err(source) = self.note(port.id, &all, deadline).await {
            if let Err(error) = self.note(port.id, &before, deadline).await {
                tracing::warn!(port = %port.id, %error, "could not take back what was published");
            }
            return match all.first().or(before.first()) {
                Some(first) => Err(refused(*first, source)),
                None => Ok(()),
            };
        }
        {
            let mut held = self.held();
            let of_port = held.entry(port.id).or_default();
            of_port.retain(|held| all.contains(&held.port));
            of_port.extend(new);
            if of_port.is_empty() {
                held.remove(&port.id);
            }
        }
        if before.is_empty() != all.is_empty() {
            let set = self
                .host
                .set_hairpin(&attachment.host, !all.is_empty(), deadline);
            if let Err(error) = set.await {
                tracing::warn!(%error, "a container can't reach itself by its published ports");
            }
        }
        Ok(())
    }
}

impl Agent {
    /// The port as it is held for this container already.
    fn kept(&self, id: PortId, wanted: &PublishedPort) -> Option<PublishedPort> {
        let range = wanted.host_port..=wanted.host_port_end.max(wanted.host_port);
        let is_same = |held: &&Held| {
            let port = &held.port;
            (port.transport, port.host_ip, port.container_port)
                == (wanted.transport, wanted.host_ip, wanted.container_port)
                && (wanted.host_port == 0 || range.contains(&port.host_port))
        };
        let held = self.held();
        Some(held.get(&id)?.iter().find(is_same)?.port)
    }
}

fn refused(
    port: PublishedPort,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> PublishError {
    PublishError::Refused {
        action: "publish",
        port,
        source: source.into(),
    }
}
