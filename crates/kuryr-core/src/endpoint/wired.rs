//! Waiting until the switch forwards for an endpoint.

use std::net::IpAddr;
use std::time::Duration;

use kuryr_vif::{Attachment as Plugged, Sharing, Switch};
use neutron_api::{Port, PortId, PortStatus};
use tokio::time::{Instant, sleep};

use super::Endpoint;
use crate::error::{Error, plugging, told};
use crate::kuryr::Kuryr;

impl Kuryr {
    pub(super) async fn wait_until_wired(
        &self,
        endpoint: &Endpoint,
        by: Instant,
    ) -> Result<(), Error> {
        let start = Instant::now();
        let until = by.min(start + self.settings.patience());
        let wired = self.host.wired(&endpoint.plugged, until).await;
        let wired = wired.map_err(plugging(format!("wait for port {}", endpoint.port.id)))?;
        let (may_be_fatal, asks) = match endpoint.plugged.switch {
            // The switch is not on this machine, and no sign of it but Neutron's.
            Switch::Parent {
                sharing: Sharing::Vlan(_),
                ..
            } => (true, !self.guest.has_ready(endpoint.port.id)),
            // Such containers have no port that Neutron's agents would know of.
            Switch::Parent { .. } => (false, false),
            // Neutron's agent takes a function for unused whose interface is in a container.
            Switch::Device(_) => (false, false),
            Switch::OpenVSwitch { .. }
            | Switch::Hybrid { .. }
            | Switch::LinuxBridge { .. }
            | Switch::AgentBridge { .. }
            | Switch::Tap
            | Switch::Program(_) => (true, self.settings.plugging_is_fatal),
        };
        let fatal = self.settings.plugging_is_fatal && may_be_fatal;
        if wired && (!asks || self.active(endpoint.port.id, until).await?.is_some()) {
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

    /// Neighbours may remember the address's last owner. A container can live with that for a
    /// while, so a failure is told and nothing more; whether it went well.
    pub(crate) async fn announce(&self, plugged: &Plugged, port: &Port, by: Instant) -> bool {
        let addresses: Vec<IpAddr> = port.fixed_ips.iter().map(|ip| ip.ip_address).collect();
        let mac = port.mac_address.octets().into();
        let announced = self.host.announce(plugged, mac, &addresses, by).await;
        if let Err(error) = &announced {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, port = %port.id, "first packets of the container may be lost");
        }
        announced.is_ok()
    }

    /// Waits until Neutron has heard from its agent that a port forwards; the port then, or none at `until`.
    pub(crate) async fn active(&self, port: PortId, until: Instant) -> Result<Option<Port>, Error> {
        const LONGEST: Duration = Duration::from_secs(1);
        let mut pause = Duration::from_millis(50);
        loop {
            let found = match self.neutron.by(until).find::<Port>(port).await {
                // A Neutron that does not answer in time has not said so in time.
                Err(error) if error.is_passing() && !self.settings.plugging_is_fatal => {
                    return Ok(None);
                }
                found => found.map_err(told(format!("wait for port {port} to be ACTIVE")))?,
            };
            let found = found.filter(|port| port.status == PortStatus::Active);
            if found.is_some() || Instant::now() + pause >= until {
                return Ok(found);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }
}
