//! Containers in a guest, each on a port of its own, which is a subport of the trunk that the guest's
//! own port carries.
//!
//! Which VLAN ids a trunk has is asked for whenever one is chosen: others change it, too. Who comes
//! second with an id is refused, looks again, and chooses another. Starts at the same time share
//! requests: who is first takes those along that wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use kuryr_vif::{IfName, Sharing, Switch};
use neutron_api::{Port, PortChange, PortId, Subport, Trunk, TrunkId};
use neutron_client::{Filter, Neutron};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep};

use super::{Guest, LONGEST_PAUSE, OwnPort, PATIENCE, chance, listed};
use crate::error::{Error, plugging, told};
use crate::kuryr::Kuryr;
use crate::names;

/// The trunk that a port of the guest's own carries.
#[derive(Clone, Debug)]
pub(super) struct OwnTrunk {
    id: TrunkId,
    port: PortId,
    interface: IfName,
}

/// Ports that are to be subports.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<PortId>,
    /// The VLAN ids of those that others have taken along.
    done: HashMap<PortId, u16>,
}

/// A port in the queue, for as long as somebody wants it there.
struct Place<'a> {
    guest: &'a Guest,
    port: PortId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = self.guest.queue();
        queue.waiting.retain(|port| *port != self.port);
        queue.done.remove(&self.port);
    }
}

impl Guest {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_trunk(&self) -> Option<OwnTrunk> {
        let trunk = self.trunk.lock().unwrap_or_else(PoisonError::into_inner);
        trunk.clone()
    }

    fn set_trunk(&self, known: Option<OwnTrunk>) {
        if known.is_none() {
            self.waiting_subports().clear();
        }
        let mut trunk = self.trunk.lock().unwrap_or_else(PoisonError::into_inner);
        *trunk = known;
    }

    /// The subports that were ACTIVE before a container needed them, with their VLAN ids.
    fn waiting_subports(&self) -> MutexGuard<'_, HashMap<PortId, u16>> {
        let subports = self.ready.lock();
        subports.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a port was an ACTIVE subport before the container came that has it.
    pub(crate) fn has_ready(&self, port: PortId) -> bool {
        self.waiting_subports().contains_key(&port)
    }

    fn line_up(&self, port: PortId) -> Place<'_> {
        self.queue().waiting.push(port);
        Place { guest: self, port }
    }

    /// The turn of this guest's own trunk, or none if it takes too long: its own writers wait for each other,
    /// and with others Neutron settles it.
    async fn turn_on(&self, own: &OwnTrunk) -> Option<OwnedMutexGuard<()>> {
        let by = Instant::now() + PATIENCE;
        self.turns.turn(&own.port, by).await.ok()
    }

    /// Makes a container's port the subport again that it was before the container came, with the VLAN id
    /// that is plugged, if somebody has taken it off the trunk meanwhile. True if it was: then it has to be
    /// said again whose it is.
    pub(crate) async fn put_back_on_trunk(
        &self,
        neutron: &Neutron,
        port: &Port,
    ) -> Result<bool, neutron_client::Error> {
        let vlan = self.waiting_subports().get(&port.id).copied();
        let (Some(vlan), Some(own)) = (vlan, self.known_trunk()) else {
            return Ok(false);
        };
        if port.device_owner == names::SUBPORT_OWNER {
            return Ok(false);
        }
        let _turn = self.turn_on(&own).await;
        neutron.update(port.id, &of_nobody()).await?;
        let subport = [Subport::tagged(port.id, vlan)];
        let refused = match neutron.add_subports(own.id, &subport).await {
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => error,
            Ok(()) => {
                tracing::warn!(port = %port.id, trunk = %own.id, "somebody had taken the port of a container off the trunk: \
                    it is on it again");
                return Ok(true);
            }
        };
        // The reply to an earlier attempt may have been lost.
        let now = neutron.find::<Trunk>(own.id).await?;
        if now.and_then(|now| vlan_of(&now, port.id)) != Some(vlan) {
            let error = &refused as &dyn std::error::Error;
            tracing::error!(error, port = %port.id, trunk = %own.id, "somebody has taken the port of a container off the \
                trunk, and it can't be on it again with VLAN id {vlan}: the container has no network until it is started \
                again");
        }
        Ok(true)
    }

    /// Makes a port not exist, whatever trunk it is a subport of.
    pub(crate) async fn delete_port(
        &self,
        neutron: &Neutron,
        port: PortId,
    ) -> Result<(), neutron_client::Error> {
        self.waiting_subports().remove(&port);
        if let Some(own) = self.known_trunk() {
            let _turn = self.turn_on(&own).await;
            match remove(neutron, own.id, port).await {
                Err(error) if error.is_passing() => return Err(error),
                // A refusal, as of a disabled trunk, counts only if the port is one of its subports.
                Ok(()) | Err(_) => {}
            }
        }
        match neutron.delete::<Port>(port).await {
            Err(error) if is_subport(&error) => {
                take_off(neutron, port).await?;
                neutron.delete::<Port>(port).await.map(drop)
            }
            outcome => outcome.map(drop),
        }
    }
}

/// Whether a port is refused to go because it is a subport; of several reasons Neutron names none.
fn is_subport(error: &neutron_client::Error) -> bool {
    matches!(
        error.fault(),
        Some("PortInUseAsSubPort" | "ServicePortInUse")
    )
}

/// Takes a port off the trunk that has it, whichever it is.
async fn take_off(neutron: &Neutron, port: PortId) -> Result<(), neutron_client::Error> {
    for trunk in neutron.list::<Trunk>(&Filter::new()).await? {
        if vlan_of(&trunk, port).is_some() {
            remove(neutron, trunk.id, port).await?;
        }
    }
    Ok(())
}

/// What is gone is removed already.
async fn remove(
    neutron: &Neutron,
    trunk: TrunkId,
    port: PortId,
) -> Result<(), neutron_client::Error> {
    match neutron.remove_subports(trunk, &[port]).await {
        Err(error) if !error.is_absence() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Neutron takes no port as a subport that says whose it is.
fn of_nobody() -> PortChange {
    PortChange {
        device_id: Some(String::new()),
        ..PortChange::default()
    }
}

fn vlan_of(trunk: &Trunk, port: PortId) -> Option<u16> {
    let has = |subport: &&Subport| subport.port_id == port;
    trunk
        .sub_ports
        .iter()
        .find(has)
        .map(|it| it.segmentation_id)
}

/// Whether another look may help: somebody else was quicker.
fn is_passing(error: &neutron_client::Error) -> bool {
    let lasts = matches!(
        error.fault(),
        Some(
            "SubPortMtuGreaterThanTrunkPortMtu"
                | "TrunkDisabled"
                | "TrunkInErrorState"
                | "PortInUse"
                | "ParentPortInUse"
        )
    );
    error.status() == Some(StatusCode::CONFLICT) && !lasts
}

/// As many VLAN ids that are free, in no order: who chooses at the same time is to choose others.
fn choose(taken: &BTreeSet<u16>, count: usize) -> Vec<u16> {
    let mut free: Vec<u16> = Subport::IDS.filter(|id| !taken.contains(id)).collect();
    let mut chosen = Vec::new();
    while chosen.len() < count && !free.is_empty() {
        let place = (chance() * free.len() as f64) as usize;
        chosen.push(free.swap_remove(place.min(free.len() - 1)));
    }
    chosen
}

/// How many subports are added in one request.
const AT_ONCE: usize = 50;

impl Kuryr {
    /// Has a port of ours, which is `new` or may be one already, be a subport of this guest's trunk; on
    /// which interface, with which VLAN id.
    pub(super) async fn subport(
        &self,
        port: &Port,
        new: bool,
        by: Instant,
    ) -> Result<(IfName, u16), Error> {
        let mut pause = Duration::from_millis(5);
        let mut place = None;
        let own = self.own_trunk(port.id, by).await?;
        let ready = self.guest.waiting_subports().get(&port.id).copied();
        if let Some(vlan) = ready {
            return Ok((own.interface, vlan));
        }
        if new {
            // It is most likely none yet: whoever's turn it is now can take it along.
            place = Some(self.line_up(port, by).await?);
        }
        let mut own = Some(own);
        loop {
            let own = match own.take() {
                Some(own) => own,
                None => self.own_trunk(port.id, by).await?,
            };
            let neutron = self.neutron.by(by);
            let act = || told(format!("add port {} to trunk {}", port.id, own.id));
            let turn = self.guest.turns.turn(&own.port, by).await?;
            if let Some(vlan) = self.guest.queue().done.remove(&port.id) {
                return Ok((own.interface, vlan));
            }
            let found = neutron.find::<Trunk>(own.id).await.map_err(act())?;
            let Some(now) = found else {
                // The machine has another by now, or none.
                self.guest.set_trunk(None);
                if Instant::now() >= by {
                    return Err(self.lacks(port.id, &format!("trunk {} has gone", own.id)));
                }
                continue;
            };
            if let Some(vlan) = vlan_of(&now, port.id) {
                return Ok((own.interface, vlan));
            }
            if place.is_none() {
                place = Some(self.line_up(port, by).await?);
            }
            let refused = match self.add(&neutron, &own, &now, port.id).await? {
                Ok(vlan) => return Ok((own.interface, vlan)),
                Err(refused) => refused,
            };
            drop(turn);
            let passes = is_passing(&refused);
            if passes && refused.fault() == Some("TrunkPortInUse") {
                // The machine had another trunk before.
                take_off(&neutron, port.id).await.map_err(act())?;
            }
            if !passes || Instant::now() + pause >= by {
                return Err(act()(refused));
            }
            sleep(pause.mul_f64(chance())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The same of a warm port, until Neutron calls it ACTIVE: then a container waits for nothing. Returns
    /// the port as it is then.
    pub(crate) async fn make_subport_ready(
        &self,
        port: &Port,
        new: bool,
        by: Instant,
    ) -> Result<Port, Error> {
        self.guest.waiting_subports().remove(&port.id);
        let begun = Instant::now();
        let (_, vlan) = self.subport(port, new, by).await?;
        let until = by.min(Instant::now() + self.settings.patience());
        let active = self.active(port.id, until).await?;
        let active = active.ok_or_else(|| Error::NotWired {
            port: port.id,
            host: self.settings.host.clone(),
            waited: begun.elapsed(),
        })?;
        self.guest.waiting_subports().insert(port.id, vlan);
        Ok(active)
    }

    /// Adds a port to the trunk as it is now, and with it those that wait, if Neutron takes all.
    async fn add(
        &self,
        neutron: &Neutron,
        own: &OwnTrunk,
        now: &Trunk,
        port: PortId,
    ) -> Result<Result<u16, neutron_client::Error>, Error> {
        let taken = self.vlans_in_use(own, now).await?;
        let mut ports = vec![port];
        let waiting = self.guest.queue().waiting.clone();
        let along = |other: &PortId| *other != port && vlan_of(now, *other).is_none();
        ports.extend(waiting.into_iter().filter(along).take(AT_ONCE - 1));
        let vlans = choose(&taken, ports.len());
        let Some(vlan) = vlans.first().copied() else {
            let hint = &format!("all VLAN ids of trunk {} are in use", own.id);
            return Err(self.lacks(port, hint));
        };
        let subports: Vec<Subport> = ports
            .iter()
            .zip(&vlans)
            .map(|(port, vlan)| Subport::tagged(*port, *vlan))
            .collect();
        match neutron.add_subports(own.id, &subports).await {
            Ok(()) => {
                let mut queue = self.guest.queue();
                for subport in subports.iter().skip(1) {
                    if queue.waiting.contains(&subport.port_id) {
                        queue.waiting.retain(|port| *port != subport.port_id);
                        queue.done.insert(subport.port_id, subport.segmentation_id);
                    }
                }
                Ok(Ok(vlan))
            }
            // One of the others may be why.
            Err(error) if subports.len() > 1 && !error.is_passing() => {
                let alone = [Subport::tagged(port, vlan)];
                Ok(neutron.add_subports(own.id, &alone).await.map(|()| vlan))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// The VLAN ids that can't be chosen: what the trunk has, and what is still plugged here though
    /// somebody has taken it off the trunk.
    async fn vlans_in_use(&self, own: &OwnTrunk, now: &Trunk) -> Result<BTreeSet<u16>, Error> {
        let plugged = self.host.all_attachments().await;
        let act = || plugging("look at what is plugged".to_owned());
        let here = plugged.map_err(act())?;
        let here = here.iter().filter_map(|plugged| {
            let Switch::Parent {
                parent,
                sharing: Sharing::Vlan(id),
            } = &plugged.switch
            else {
                return None;
            };
            (*parent == own.interface).then_some(*id)
        });
        let there = now.sub_ports.iter().map(|subport| subport.segmentation_id);
        Ok(there.chain(here).collect())
    }

    /// It says whose it is again when it is labelled.
    async fn line_up(&self, port: &Port, by: Instant) -> Result<Place<'_>, Error> {
        if port.device_id.is_empty() {
            return Ok(self.guest.line_up(port.id));
        }
        let act = told(format!("make port {} ready to be a subport", port.id));
        let changed = self.neutron.by(by).update(port.id, &of_nobody()).await;
        changed.map_err(act)?;
        Ok(self.guest.line_up(port.id))
    }

    /// The trunk of this guest's own port.
    pub(super) async fn own_trunk(&self, port: PortId, by: Instant) -> Result<OwnTrunk, Error> {
        if let Some(known) = self.guest.known_trunk() {
            return Ok(known);
        }
        let act = || told("look up this machine's own trunk".to_owned());
        let neutron = self.neutron.by(by);
        if !neutron.has_extension("trunk").await.map_err(act())? {
            let hint = "Neutron has no trunks: its service plugin trunk is not on (service_plugins in neutron.conf). \
                        Have it switched on, or use macvlan or ipvlan";
            return Err(self.lacks(port, hint));
        }
        let ports = self.guest.ports_of_machine(&neutron).await.map_err(act())?;
        if ports.is_empty() {
            let interfaces = self.guest.interfaces_shown();
            let hint = &format!(
                "no port that Kuryr's user can see in Neutron has the MAC address of an interface of this machine ({interfaces})"
            );
            return Err(self.lacks(port, hint));
        }
        let on = |filter: Filter, port: &OwnPort| filter.with("port_id", port.id);
        let filter = ports.iter().fold(Filter::new(), on);
        let trunks = neutron.list::<Trunk>(&filter).await.map_err(act())?;
        match trunks.as_slice() {
            [trunk] => {
                let carrier = ports.into_iter().find(|port| port.id == trunk.port_id);
                let carrier = carrier.ok_or(Error::Bug("Neutron lists trunks of other ports"))?;
                let own = OwnTrunk {
                    id: trunk.id,
                    port: carrier.id,
                    interface: carrier.interface,
                };
                self.guest.set_trunk(Some(own.clone()));
                Ok(own)
            }
            [] => {
                let port_id = listed(ports.iter().map(|port| port.id.to_string()));
                let hint = &format!(
                    "this machine's port {port_id} carries no trunk that Kuryr's user can see: make one \
                     (openstack network trunk create --parent-port PORT NAME)"
                );
                Err(self.lacks(port, hint))
            }
            many => {
                let trunks = listed(many.iter().map(|trunk| trunk.id.to_string()));
                let hint = &format!(
                    "several ports with MAC addresses of this machine carry trunks ({trunks}): say by link_iface in \
                     [binding] which interface it is"
                );
                Err(self.lacks(port, hint))
            }
        }
    }

    /// Containers are subports of this machine's here, and something for that is not there.
    fn lacks(&self, port: PortId, hint: &str) -> Error {
        Error::Binding {
            port,
            host: self.settings.host.clone(),
            hint: format!("{hint} (driver vlan)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_free_vlan_ids_are_chosen_and_each_once() {
        let taken: BTreeSet<u16> = (1..=4090).collect();
        let mut chosen = choose(&taken, 3);
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 3);
        assert!(chosen.iter().all(|id| (4091..=4094).contains(id)));
        assert_eq!(choose(&taken, 10).len(), 4);
        assert!(choose(&Subport::IDS.collect(), 1).is_empty());
    }
}
