//! Where warm ports wait: plugged into the switch of this host, or on the trunk of the guest that it is.

use kuryr_vif::Switch;
use neutron_api::Port;
use tokio::time::Instant;

use super::{PortPool, Warm};
use crate::binding;
use crate::driver::Driver;
use crate::error::{Error, plugging};
use crate::kuryr::Kuryr;
use crate::names;
use crate::view::Net;

/// What a port was before it is parked.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Before {
    /// It was made just now.
    New,
    /// A container has had it.
    Used,
    /// An earlier run has parked it.
    Found,
}

impl Kuryr {
    /// Whether the interface of a warm port is there before its container, and stays for the next one.
    ///
    /// In a guest it is made in a moment: what takes long is that its port becomes a subport.
    pub(crate) fn hands_interfaces_on(&self, net: &Net) -> bool {
        self.driver_of(net) != Driver::Vlan
    }

    /// Whether a port can be made ready before its container is known.
    ///
    /// Of the switches, only Open vSwitch tells whose an interface is in a way that can be changed while
    /// it is plugged.
    pub(super) fn may_wait(&self, net: &Net, port: &Port) -> Result<bool, Error> {
        if !self.hands_interfaces_on(net) {
            return Ok(true);
        }
        let switch = binding::switch(port, &self.settings.host)?;
        Ok(matches!(switch, Switch::OpenVSwitch { .. }))
    }

    /// Makes a port ready for whoever comes next, and waits until the switch forwards for it. Its neighbours
    /// hear of it now, if they can, and not from its containers: to them it is always the same. Returns the
    /// port as it is then.
    pub(super) async fn park(
        &self,
        net: &Net,
        port: &Port,
        before: Before,
        by: Instant,
    ) -> Result<Port, Error> {
        if !self.hands_interfaces_on(net) {
            return self
                .make_subport_ready(port, before == Before::New, by)
                .await;
        }
        let owner = names::pool_port(&self.settings.host, &net.of);
        let vif = binding::vif(port, &self.settings.host, &owner, net.mtu)?;
        let act = || {
            plugging(format!(
                "plug port {}, which waits for an endpoint",
                port.id
            ))
        };
        self.host.plug(&vif, by).await.map_err(act())?;
        let until = by.min(Instant::now() + self.settings.patience());
        // Who takes it waits again, if need be.
        let wired = self.host.wired(&vif.attachment, until).await;
        // Of those that are found there may be many, and a container waits.
        let may_be_heard =
            wired.map_err(act())? && before != Before::Found && !self.settings.plugging_is_fatal;
        if may_be_heard && self.announce(&vif.attachment, port, by).await {
            self.port_pools.note_announced(port);
        }
        Ok(port.clone())
    }

    /// Takes the interface of a port back that its last owner has left, and parks the port.
    pub(super) async fn take_back(&self, net: &Net, port: &Port, by: Instant) -> Result<(), Error> {
        if self.hands_interfaces_on(net) {
            let owner = names::pool_port(&self.settings.host, &net.of);
            let vif = binding::vif(port, &self.settings.host, &owner, net.mtu)?;
            let act = || plugging(format!("take back the interface of port {}", port.id));
            if !self.host.take_back(&vif, by).await.map_err(act())? {
                self.host.unplug(&vif.attachment, by).await.map_err(act())?;
            }
        }
        self.park(net, port, Before::Used, by).await.map(drop)
    }

    /// Puts a plugged port in its pool, for all `from` then on; if the pool is gone, so is the port.
    pub(super) async fn put_in(&self, pool: &PortPool, port: Port, from: Instant) {
        {
            let mut state = pool.state();
            if !state.closed {
                state.ready.push_back(Warm { port, from });
                return;
            }
        }
        self.retire(&port).await;
    }
}
