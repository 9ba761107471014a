//! Waiting until the switch forwards for an endpoint.

use std::time::Duration;

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
        let fatal = self.settings.plugging_is_fatal;
        if wired && (!fatal || self.is_active(endpoint.port.id, until).await?) {
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

    /// Waits until Neutron has heard from its agent that a port forwards.
    async fn is_active(&self, port: PortId, until: Instant) -> Result<bool, Error> {
        const LONGEST: Duration = Duration::from_secs(1);
        let mut pause = Duration::from_millis(50);
        loop {
            let found = self.neutron.by(until).find::<Port>(port).await;
            let found = found.map_err(told(format!("wait for port {port} to be ACTIVE")))?;
            if found.is_some_and(|port| port.status == PortStatus::Active) {
                return Ok(true);
            }
            if Instant::now() + pause >= until {
                return Ok(false);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }
}
