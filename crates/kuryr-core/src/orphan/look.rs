//! One look for orphans.

use std::collections::HashMap;

use kuryr_vif::{Attachment as Plugged, Switch};
use neutron_api::{Port, PortId, SecurityGroup, SecurityGroupId};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;

use super::Orphan;
use crate::debt::{Debt, is_ours};
use crate::driver::Driver;
use crate::error::{Error, plugging, told};
use crate::kuryr::Kuryr;
use crate::names;

/// What a look has found.
pub(super) struct Look {
    pub(super) orphans: Vec<Orphan>,
    /// What Neutron is to know of ports that containers have: it was owed by a run that was killed and had
    /// no room to note it.
    pub(super) unlabelled: Vec<Debt>,
}

impl Kuryr {
    /// Looks once for orphans, and changes nothing.
    ///
    /// What is seen in one look may be a container that is just being started: only what
    /// [`Kuryr::release_orphans`] sees again is one.
    ///
    /// # Errors
    /// Neutron or this host can't be asked.
    pub async fn orphans(&self, by: Instant) -> Result<Vec<Orphan>, Error> {
        Ok(self.look(by).await?.orphans)
    }

    pub(super) async fn look(&self, by: Instant) -> Result<Look, Error> {
        let neutron = self.neutron.by(by);
        let ports = self.ports_here(&neutron).await?;
        // Looked at after the ports were listed: what was plugged meanwhile is seen.
        let plugged = self.host.all_attachments().await;
        let plugged = plugged.map_err(plugging("look at what is plugged".to_owned()))?;
        let mut plugged: HashMap<String, Plugged> = plugged
            .into_iter()
            .map(|plugged| (plugged.interface_id.clone(), plugged))
            .collect();
        let (mut orphans, mut unlabelled) = (Vec::new(), Vec::new());
        for port in ports {
            let plugged = plugged.remove(&port.id.to_string());
            if !self.may_be_orphan(&port, plugged.as_ref()) {
                continue;
            }
            if !self.has_container(port.id, plugged.as_ref()).await? {
                let port = Box::new(port);
                orphans.push(Orphan::Port { port, plugged });
            } else if let Some(plugged) = plugged
                // Its container may have gone while it was asked for, and the port be for the next one.
                && self.may_be_orphan(&port, Some(&plugged))
            {
                unlabelled.extend(label_of(&port, &plugged));
            }
        }
        orphans.extend(self.interfaces_without_port(&neutron, plugged).await?);
        if self.settings.opens_exposed_ports {
            orphans.extend(self.groups_without_port(&neutron).await?);
        }
        let forgotten = self.forgotten_networks().await;
        orphans.extend(forgotten.into_iter().map(Orphan::Network));
        Ok(Look {
            orphans,
            unlabelled,
        })
    }

    /// Ports that may be ours and are for this host: bound to it, or to be reached by way of it.
    async fn ports_here(&self, neutron: &Neutron) -> Result<Vec<Port>, Error> {
        let host = &self.settings.host;
        let bound = Filter::new()
            .with("binding:host_id", host)
            .with("device_owner", names::DEVICE_OWNER);
        let act = || told(format!("list the ports of host {host}"));
        let mut ports = neutron.list::<Port>(&bound).await.map_err(act())?;
        if self.settings.drivers.enabled.contains(&Driver::Vlan) {
            let unbound = Filter::new().with("description", names::port_description(host));
            ports.extend(neutron.list::<Port>(&unbound).await.map_err(act())?);
        }
        Ok(ports)
    }

    /// Whether this run knows of no use of a port that is ours, or that we have plugged for somebody,
    /// and does not part with it already.
    fn may_be_orphan(&self, port: &Port, plugged: Option<&Plugged>) -> bool {
        // An adopted port that is not plugged is put back by another clock.
        let adopted = self.port_adoptions.has(port.id);
        (if adopted {
            plugged.is_some()
        } else {
            is_ours(port, &port.device_id)
        }) && !self.is_kept_warm(port, plugged)
            && !self.port_pools.has(port.id)
            && !self.reservations.awaits_endpoint(port.id)
            && !self.endpoints.use_port(port.id)
            && !self.debts.are_about(port)
    }

    /// Whether a port waits for its container, or is going to be found again by who needs it.
    fn is_kept_warm(&self, port: &Port, plugged: Option<&Plugged>) -> bool {
        self.keeps_warm_ports()
            && names::is_pool_port(&port.name)
            && plugged.is_none_or(|plugged| plugged.owner == port.name)
    }

    /// Whether a container has the interface of a port.
    async fn has_container(&self, port: PortId, plugged: Option<&Plugged>) -> Result<bool, Error> {
        let looked_at = match plugged {
            Some(plugged) => plugged.clone(),
            // Open vSwitch may have lost its database, and the container still have its interface.
            None => match Plugged::of_port(&port.to_string(), "", Switch::Tap) {
                Ok(usual) => usual,
                Err(_) => return Ok(true),
            },
        };
        let act = plugging(format!("look who has the interface of port {port}"));
        self.host.is_taken(&looked_at).await.map_err(act)
    }

    /// Of what is plugged for endpoints here, or kept warm for them, the interfaces that no container has,
    /// and no port that is bound to this host.
    async fn interfaces_without_port(
        &self,
        neutron: &Neutron,
        plugged: HashMap<String, Plugged>,
    ) -> Result<Vec<Orphan>, Error> {
        let mut lonely = Vec::new();
        for plugged in plugged.into_values() {
            if let Ok(port) = plugged.interface_id.parse::<PortId>()
                && (names::is_endpoint(&plugged.owner) || names::is_pool_port(&plugged.owner))
                && !self.endpoints.use_port(port)
                && !self.port_pools.has(port)
                && !self.has_container(port, Some(&plugged)).await?
            {
                lonely.push((port, plugged));
            }
        }
        let here = Filter::new().with("binding:host_id", &self.settings.host);
        let there = those_there(neutron, &lonely, &here).await?;
        let gone = lonely
            .into_iter()
            .filter(|(port, _)| !there.contains_key(port));
        Ok(gone.map(|(_, it)| Orphan::Interface(it)).collect())
    }

    /// Security groups of what containers have exposed, of any host, without a port in them: it is put into
    /// its own last, and may have been taken out of it first. Not those that ports are about to get here.
    async fn groups_without_port(&self, neutron: &Neutron) -> Result<Vec<Orphan>, Error> {
        let groups = neutron.list::<SecurityGroup>(&Filter::new()).await;
        let groups =
            groups.map_err(told("list the security groups of exposed ports".to_owned()))?;
        let of_ports = groups.into_iter().filter_map(|group| {
            let port = names::exposing_port(&group.name, &group.description)?;
            (!self.debts.opens(port)).then_some((port, group))
        });
        let of_ports: Vec<(PortId, SecurityGroup)> = of_ports.collect();
        let there = those_there(neutron, &of_ports, &Filter::new()).await?;
        let is_in_it = |port: &PortId, group: &SecurityGroup| {
            let found = there.get(port);
            found.is_some_and(|found| found.security_groups.contains(&group.id))
        };
        let own = of_ports
            .iter()
            .filter(|(port, group)| is_in_it(port, group));
        let own: HashMap<PortId, SecurityGroupId> =
            own.map(|(port, group)| (*port, group.id)).collect();
        let orphan = |(port, group): (PortId, SecurityGroup)| {
            let gone = !there.contains_key(&port);
            // The Python daemon may put a port into its group later.
            let stays = !gone && names::is_of_python(&group.description) || is_in_it(&port, &group);
            (!stays).then(|| Orphan::SecurityGroup {
                group: Box::new(group),
                port,
                gone,
                own: own.get(&port).copied(),
            })
        };
        Ok(of_ports.into_iter().filter_map(orphan).collect())
    }
}

/// What is owed of a port of ours that an endpoint has, of which Neutron does not know.
fn label_of(port: &Port, plugged: &Plugged) -> Option<Debt> {
    let is_theirs = names::is_endpoint(&plugged.owner) && port.device_id != plugged.owner;
    let endpoint = plugged.owner.parse().ok().filter(|_| is_theirs)?;
    is_ours(port, &port.device_id).then(|| Debt::label(port, endpoint, None))
}

/// Those of the ports of `things` that Neutron has and that `filter` selects.
async fn those_there<T>(
    neutron: &Neutron,
    things: &[(PortId, T)],
    filter: &Filter,
) -> Result<HashMap<PortId, Port>, Error> {
    let mut there = HashMap::new();
    for some in things.chunks(AT_ONCE) {
        let each = |filter: Filter, (port, _): &(PortId, T)| filter.with("id", port);
        let filter = some.iter().fold(filter.clone(), each);
        let found = neutron.list::<Port>(&filter).await;
        let found = found.map_err(told("ask which ports are still there".to_owned()))?;
        there.extend(found.into_iter().map(|port| (port.id, port)));
    }
    Ok(there)
}

/// How many ports are asked for in one request: its address has to stay under what servers take.
const AT_ONCE: usize = 50;
