//! Containers in a guest, on networks that the guest is not on: Neutron's routers lead to the guest, and
//! the guest's one port lets their addresses through.

use neutron_api::PortId;
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;

use super::{Guest, OwnPort, listed};
use crate::error::{Error, told};
use crate::kuryr::Kuryr;
use crate::names;

impl Guest {
    /// The ports of this machine's interfaces, on whichever networks.
    pub(super) async fn ports_of_machine(
        &self,
        neutron: &Neutron,
    ) -> Result<Vec<OwnPort>, neutron_client::Error> {
        let mut ports = self.with_own_mac(neutron, Filter::new()).await?;
        // What is reached by way of a machine's port may bear its MAC address.
        ports.retain(|port| port.device_owner != names::SUBPORT_OWNER);
        Ok(ports.iter().filter_map(|port| self.own(port)).collect())
    }
}

impl Kuryr {
    /// The one port of this guest's that packets are routed to.
    pub(super) async fn routing_port(&self, port: PortId, by: Instant) -> Result<OwnPort, Error> {
        let act = told("look up this machine's own port".to_owned());
        let found = self.guest.ports_of_machine(&self.neutron.by(by)).await;
        let hint = match <[OwnPort; 1]>::try_from(found.map_err(act)?) {
            Ok([own]) => return Ok(own),
            Err(none) if none.is_empty() => {
                "none of Neutron's ports has the MAC address of one of this machine's \
                 interfaces, or Kuryr's user can't see it"
                    .to_owned()
            }
            Err(many) => {
                let many = listed(many.iter().map(|own| own.id.to_string()));
                format!(
                    "this machine has several ports ({many}): say by link_iface in [binding] which one the containers' \
                     networks are routed to"
                )
            }
        };
        Err(Error::Binding {
            port,
            host: self.settings.host.clone(),
            hint: format!("{hint} (driver ipvlan_l3)"),
        })
    }
}
