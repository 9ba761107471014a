//! Plugs what the rules are in force for.

use std::net::IpAddr;

use async_trait::async_trait;
use kuryr_vif::{Attachment, Error, Instant, MacAddress, Plug, Vif};
use neutron_api::{PortId, PortStatus};

use tokio::time::timeout_at;

use super::{Agent, State};
use crate::AgentError;

impl Agent {
    /// Waits until the rules for the port of `attachment`, and its bridge, are there.
    async fn protected(
        &self,
        attachment: &Attachment,
        deadline: Instant,
    ) -> Result<PortId, AgentError> {
        let absent = || AgentError::NoSuchPort {
            port: attachment.interface_id.clone(),
            host: self.settings.host.clone(),
        };
        let id: PortId = attachment.interface_id.parse().map_err(|_| absent())?;
        let network = self.port(id).ok_or_else(absent)?.network_id;
        let is_there = |state: &State| {
            let made = state.bridges.get(&network);
            state.model.port_on(network, id).is_some() && made.is_some_and(|made| made.is_some())
        };
        self.caught_up(deadline, is_there).await?;
        Ok(id)
    }
}

#[async_trait]
impl Plug for Agent {
    async fn plug(&self, vif: &Vif, deadline: Instant) -> Result<(), Error> {
        let protected = self.protected(&vif.attachment, deadline).await;
        let port = protected.map_err(|source| Error::NotReady {
            interface: vif.attachment.host.clone(),
            source: Box::new(source),
        })?;
        let mut state = self.state.clone();
        match self.host.plug(vif, deadline).await {
            // Somebody has deleted it just now: it is made anew.
            Err(Error::NoLinuxBridge { .. }) => {
                let _ = timeout_at(deadline, state.changed()).await;
                self.host.plug(vif, deadline).await?;
            }
            outcome => outcome?,
        }
        self.neutron.report(port, PortStatus::Active).await;
        Ok(())
    }

    async fn unplug(&self, attachment: &Attachment, deadline: Instant) -> Result<(), Error> {
        self.host.unplug(attachment, deadline).await?;
        // The port may be gone already.
        if let Ok(port) = attachment.interface_id.parse() {
            self.neutron.report(port, PortStatus::Down).await;
        }
        Ok(())
    }

    async fn wired(&self, attachment: &Attachment, deadline: Instant) -> Result<bool, Error> {
        self.host.wired(attachment, deadline).await
    }

    async fn announce(
        &self,
        attachment: &Attachment,
        mac: MacAddress,
        addresses: &[IpAddr],
        deadline: Instant,
    ) -> Result<(), Error> {
        self.host
            .announce(attachment, mac, addresses, deadline)
            .await
    }

    async fn is_taken(&self, attachment: &Attachment) -> Result<bool, Error> {
        self.host.is_taken(attachment).await
    }

    async fn attachments(&self, owner: &str) -> Result<Vec<Attachment>, Error> {
        self.host.attachments(owner).await
    }

    async fn all_attachments(&self) -> Result<Vec<Attachment>, Error> {
        self.host.all_attachments().await
    }
}
