//! Warm ports that an earlier run of the program has left.

use std::collections::HashSet;
use std::sync::Arc;

use kuryr_vif::Attachment;
use neutron_api::Port;
use neutron_client::Filter;
use tokio::time::Instant;

use super::PortPool;
use super::park::Before;
use super::recycle::led_to;
use crate::error::{Error, plugging, told};
use crate::kuryr::Kuryr;
use crate::names;
use crate::view::Net;

impl Kuryr {
    /// Makes sure that a pool has what an earlier run has left; false if that can't be known now.
    pub(super) async fn complete(&self, net: &Net, pool: &Arc<PortPool>, by: Instant) -> bool {
        if pool.state().complete {
            return true;
        }
        // Who gathers an endpoint's addresses may be about to use one of these ports.
        let Ok(_network) = self.network_turns.turn(&net.of, by).await else {
            return false;
        };
        let _turn = pool.turn.lock().await;
        {
            let state = pool.state();
            if state.complete || state.closed {
                return state.complete;
            }
        }
        let found = self.find_pool_ports(net, pool, by).await;
        if let Err(error) = &found {
            tracing::warn!(error = error as &dyn std::error::Error, network = %net.id, "its warm ports are looked for again later");
        }
        pool.state().complete = found.is_ok();
        found.is_ok()
    }

    /// Puts the ports in a pool that bear its name, and that nobody uses as far as can be told.
    ///
    /// A port that was given to an endpoint bears the name until its label is written: so what has a
    /// debt, an endpoint or a reservation is left alone, and so is what is plugged for an endpoint.
    async fn find_pool_ports(
        &self,
        net: &Net,
        pool: &Arc<PortPool>,
        by: Instant,
    ) -> Result<(), Error> {
        let act = format!("look for the warm ports of network {}", net.id);
        let (neutron, name) = (
            self.neutron.by(by),
            names::pool_port(&self.settings.host, &net.of),
        );
        let filter = Filter::new().with("name", &name).with("network_id", net.id);
        let ports = neutron.list::<Port>(&filter).await;
        let ports = ports.map_err(told(act.clone()))?;
        let plugged = self.host.all_attachments().await;
        let plugged = plugged.map_err(plugging(act.clone()))?;
        let known: HashSet<String> = ports.iter().map(|port| port.id.to_string()).collect();
        let mut free = ports;
        free.retain(|port| self.is_free_for_pool(port, &name, &plugged));
        let led_to = led_to(&neutron, &free).await.map_err(told(act))?;
        for port in free {
            let parked = self.port_defaults.of(&net.of).check(&port);
            let parked = match parked {
                // What is let in for its last owner is not for the next one.
                Ok(()) if !led_to.contains(&port.id) && !self.debts.are_about_group_of(port.id) => {
                    self.park(net, &port, Before::Found, by).await.map(Some)
                }
                other => other.map(|()| None),
            };
            match parked {
                Ok(Some(port)) => {
                    self.put_in(pool, port, self.port_pools.settled_from).await;
                }
                Ok(None) => self.retire(&port).await,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, port = %port.id, "a warm port of an earlier run goes");
                    self.retire(&port).await;
                }
            }
        }
        for stale in plugged {
            if stale.owner == name && !known.contains(&stale.interface_id) {
                let act = plugging(format!("unplug {}, whose port is gone", stale.host));
                self.host.unplug(&stale, by).await.map_err(act)?;
            }
        }
        Ok(())
    }

    fn is_free_for_pool(&self, port: &Port, name: &str, plugged: &[Attachment]) -> bool {
        let id = port.id.to_string();
        let mut plugged = plugged.iter();
        Self::host_of(port) == Some(self.settings.host.as_str())
            && !self.debts.are_about(port)
            && !self.reservations.has(port.id)
            && !self.endpoints.have(port.id)
            && !self.port_pools.has(port.id)
            && plugged.all(|other| other.interface_id != id || other.owner == name)
    }
}
