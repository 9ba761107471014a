//! Pools that go with their networks, or because somebody else needs the addresses.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use kuryr_vif::Attachment;
use neutron_api::{NetworkId as NeutronNetworkId, Port, PortId};
use neutron_client::{Filter, Neutron};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::address::removal;
use crate::ask::NetworkId;
use crate::debt::Debt;
use crate::kuryr::Kuryr;
use crate::names;
use crate::nested::Guest;

const AT_ONCE: usize = 4;
const UNPLUGGING: Duration = Duration::from_secs(60);

impl Kuryr {
    /// Owes the removal of all warm ports of a network, also of those that are not known here.
    pub(crate) async fn drain(
        &self,
        of: &NetworkId,
        network: Option<NeutronNetworkId>,
        by: Instant,
    ) {
        let mut returning = Vec::new();
        if let Some((pool, ports)) = self.port_pools.close(of) {
            returning = ports;
            // What is being made now goes as soon as it is there.
            let _ = timeout_at(by, pool.turn.lock()).await;
        }
        let name = names::pool_port(&self.settings.host, of);
        for (port, removal) in self.debts.recycling(&name) {
            returning.push(port);
            self.debts.owe(removal).await;
        }
        self.debts.owe(self.draining(of, network)).await;
        let used: HashSet<String> = returning.iter().map(PortId::to_string).collect();
        let is_pools =
            |plugged: &Attachment| plugged.owner == name || used.contains(&plugged.interface_id);
        self.unplug_owned(by, is_pools).await;
    }

    /// The debt that the warm ports of a network are to go, on this Neutron network if that is known.
    pub(crate) fn draining(&self, of: &NetworkId, network: Option<NeutronNetworkId>) -> Debt {
        let name = names::pool_port(&self.settings.host, of);
        Debt::DrainPool { name, network }
    }

    /// Gives up what pools have on a Neutron network, or what they have of this address, and waits
    /// until the addresses are free that are going to be; whether there were any.
    pub(crate) async fn give_up_warm(
        &self,
        network: NeutronNetworkId,
        address: Option<IpAddr>,
        by: Instant,
    ) -> bool {
        let mut any = self.debts.may_free(network, address);
        for port in self.port_pools.take_out(network, address) {
            self.retire(&port).await;
            any = true;
        }
        self.debts.addresses_freed(network, address, by).await;
        any
    }

    /// Gives up what all pools of this host have, and waits until that is gone; whether there was any.
    pub(crate) async fn give_up_all_warm(&self, by: Instant) -> bool {
        let ports = self.port_pools.take_all_out();
        for port in &ports {
            self.retire(port).await;
        }
        let concerns = |debt: &Debt| ports.iter().any(|port| debt.is_about(port));
        self.debts.settled(by, concerns).await;
        !ports.is_empty()
    }

    /// Parts with a warm port.
    pub(crate) async fn retire(&self, port: &Port) {
        self.port_pools.take_announced(port);
        self.debts.owe(removal(port)).await;
        let (id, by) = (port.id.to_string(), Instant::now() + UNPLUGGING);
        self.unplug_owned(by, |plugged| plugged.interface_id == id)
            .await;
    }

    /// Takes interfaces off this host that an earlier run has kept for their ports' next owners.
    pub(crate) fn unplug_kept(&self, ports: Vec<PortId>) {
        if ports.is_empty() {
            return;
        }
        let kuryr = self.clone();
        self.background.spawn(async move {
            let ids: Vec<String> = ports.iter().map(PortId::to_string).collect();
            let by = Instant::now() + UNPLUGGING;
            kuryr
                .unplug_owned(by, |plugged| ids.contains(&plugged.interface_id))
                .await;
        });
    }

    async fn unplug_owned(&self, by: Instant, which: impl Fn(&Attachment) -> bool) {
        let left = |error: kuryr_vif::Error| {
            // Nobody comes back to them but who looks for orphans.
            self.suspicion.store(true, Relaxed);
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "an interface of a warm port is left");
        };
        let all = match self.host.all_attachments().await {
            Ok(all) => all,
            Err(error) => return left(error),
        };
        // At once: the kernel waits for its readers when it deletes an interface.
        let mut going = JoinSet::new();
        for plugged in all.into_iter().filter(which) {
            let host = Arc::clone(&self.host);
            going.spawn(async move { host.unplug(&plugged, by).await });
        }
        while let Some(gone) = going.join_next().await {
            gone.unwrap_or(Ok(())).unwrap_or_else(left);
        }
    }
}

/// Removes the ports that bear the name of a pool.
pub(crate) async fn delete_pool_ports(
    neutron: &Neutron,
    guest: &Arc<Guest>,
    name: &str,
) -> Result<(), neutron_client::Error> {
    let filter = Filter::new().with("name", name);
    let mut ports = neutron.list::<Port>(&filter).await?.into_iter();
    loop {
        let batch: Vec<Port> = ports.by_ref().take(AT_ONCE).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let mut going = JoinSet::new();
        for port in batch {
            let (neutron, guest) = (neutron.clone(), Arc::clone(guest));
            going.spawn(async move { guest.delete_port(&neutron, port.id).await });
        }
        while let Some(gone) = going.join_next().await {
            gone.unwrap_or(Ok(()))?;
        }
    }
}
