//! Ports that containers expose: each port of ours that has some gets a security group of its own,
//! which lets in what is for them.
//!
//! What is still to be let in is noted as owed. Of what is open nothing is: the group bears the port's
//! identifier, and whoever removes the port looks for it.

mod rules;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use neutron_api::{
    IpVersion, NewSecurityGroup, Port, PortChange, PortId, SecurityGroup, SecurityGroupId,
};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;

use crate::ask::{EndpointId, ExposedPort, NetworkId};
use crate::debt::{Debt, Debts, is_ours};
use crate::error::{Error, PortError, told};
use crate::kuryr::Kuryr;
use crate::names;

/// What is open, or is going to be, as far as this run knows.
#[derive(Default)]
pub(crate) struct Exposures(Mutex<HashMap<PortId, Vec<ExposedPort>>>);

impl Exposures {
    fn is_open(&self, port: PortId, exposed: &[ExposedPort]) -> bool {
        self.all().get(&port).is_some_and(|open| open == exposed)
    }

    pub(crate) fn have(&self, port: PortId) -> bool {
        self.all().contains_key(&port)
    }

    /// From now on it has a group, or may have.
    fn open(&self, port: PortId, exposed: &[ExposedPort]) {
        self.all().insert(port, exposed.to_vec());
    }

    /// The group goes with its port, or on its own.
    pub(crate) fn remove(&self, port: PortId) -> bool {
        self.all().remove(&port).is_some()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<PortId, Vec<ExposedPort>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kuryr {
    /// Lets in what is for these ports of an endpoint; asked again, has done so.
    ///
    /// That is noted, and done in the background until it is done. What comes of it is waited for where
    /// Neutron has refused it the last time, or was never asked. Ports that were there before keep their
    /// groups, and so do ours where it is switched off.
    ///
    /// # Errors
    /// The endpoint is unknown, or Neutron's refusal, such as a quota of security groups that is
    /// used up.
    pub async fn expose(
        &self,
        network: &NetworkId,
        id: &EndpointId,
        exposed: &[ExposedPort],
        by: Instant,
    ) -> Result<(), Error> {
        if exposed.is_empty() || !self.settings.opens_exposed_ports {
            return Ok(());
        }
        let net = self.network(network, by).await?;
        let endpoint = self.endpoint(&net, id, by).await?;
        self.open(endpoint.port(), id, exposed, by).await
    }

    pub(crate) async fn open(
        &self,
        port: &Port,
        endpoint: &EndpointId,
        exposed: &[ExposedPort],
        by: Instant,
    ) -> Result<(), Error> {
        let ours = !self.port_adoptions.has(port.id) && is_ours(port, endpoint.as_str());
        let is_held = port.port_security_enabled != Some(false);
        if exposed.is_empty() || !self.settings.opens_exposed_ports || !ours || !is_held {
            return Ok(());
        }
        let port = port.id;
        let _turn = self.exposure_turns.turn(&port, by).await?;
        if self.exposures.is_open(port, exposed) {
            return Ok(());
        }
        let is_gone = || self.endpoints.get(endpoint).is_none();
        if is_gone() {
            return Err(Error::UnknownEndpoint(endpoint.clone()));
        }
        let is_trusted = self.debts.lets_in();
        self.exposures.open(port, exposed);
        let exposed = exposed.to_vec();
        let debt = Debt::Open { port, exposed };
        let outcome = match self.debts.owe(debt.clone()).await && is_trusted {
            true => Ok(()),
            false => self.debts.outcome(&debt, by).await,
        };
        // Its port may be on its way to another one.
        if outcome.is_err() || is_gone() {
            self.close(port).await;
        }
        outcome.map_err(|refusal| match refusal {
            Some(refusal) => told(format!(
                "let in what is for the exposed ports of port {port} \
                 (process_external_connectivity = false in kuryr.conf does without)"
            ))(*refusal),
            None => PortError::NotLetIn(port).into(),
        })
    }

    /// Takes a port's own group away, if it has one or is to get one.
    pub(crate) async fn close(&self, port: PortId) {
        if self.exposures.remove(port) || self.debts.opens(port) {
            self.debts.owe(Debt::Close { port }).await;
        }
    }
}

/// Gives a port the group of what its container exposes; of a port that is gone none is left. Whether it
/// is there.
pub(crate) async fn open(
    debts: &Debts,
    neutron: &Neutron,
    port: PortId,
    exposed: &[ExposedPort],
) -> Result<bool, neutron_client::Error> {
    let (groups, found) = tokio::join!(groups_of(neutron, port), neutron.find::<Port>(port));
    let Some(found) = found? else {
        delete_groups(neutron, port, None).await?;
        return Ok(false);
    };
    let mut groups = groups?;
    let has_it = |group: &SecurityGroup| found.security_groups.contains(&group.id);
    let place = groups.iter().position(has_it).unwrap_or_default();
    let group = match groups.is_empty() {
        true => make_group(debts, neutron, port).await?,
        false => groups.swap_remove(place),
    };
    let versions = found.fixed_ips.iter();
    let versions: BTreeSet<_> = versions.map(|ip| IpVersion::of(ip.ip_address)).collect();
    let versions = Vec::from_iter(versions);
    let (ruled, is_there) = tokio::join!(
        ensure_rules(neutron, &group, exposed, &versions),
        add_group(neutron, found, group.id)
    );
    match is_there? {
        true => ruled.map(|()| true),
        false => {
            delete_groups(neutron, port, None).await?;
            Ok(false)
        }
    }
}

async fn make_group(
    debts: &Debts,
    neutron: &Neutron,
    port: PortId,
) -> Result<SecurityGroup, neutron_client::Error> {
    let name = names::exposed_group(port);
    let identity = Filter::new().with("name", &name);
    let new = NewSecurityGroup {
        description: names::exposed_description(port),
        name,
    };
    let stray = |except| Debt::DeleteStrayGroup { port, except };
    debts.make(neutron, &new, &identity, stray).await
}

/// Makes the rules that a group lacks, all in one request. Where it fails, or its reply is lost, it
/// is looked again what is missing.
async fn ensure_rules(
    neutron: &Neutron,
    group: &SecurityGroup,
    exposed: &[ExposedPort],
    versions: &[IpVersion],
) -> Result<(), neutron_client::Error> {
    let mut now = Some(group.clone());
    for attempt in 1.. {
        let Some(group) = &now else {
            return Ok(());
        };
        let missing = rules::missing(group, exposed, versions);
        if missing.is_empty() {
            return Ok(());
        }
        match neutron.create_all(&missing).await {
            Ok(_) => return Ok(()),
            Err(error) if attempt < ATTEMPTS && (error.is_passing() || is_conflict(&error)) => {}
            Err(error) => return Err(error),
        }
        now = neutron.find(group.id).await?;
    }
    Ok(())
}

/// Only into the groups that the port has at that moment: others may change them, too. Whether it is
/// still there.
async fn add_group(
    neutron: &Neutron,
    port: Port,
    group: SecurityGroupId,
) -> Result<bool, neutron_client::Error> {
    let id = port.id;
    let mut now = Some(port);
    for attempt in 1.. {
        let Some(port) = now else {
            return Ok(false);
        };
        if port.security_groups.contains(&group) {
            return Ok(true);
        }
        let change = PortChange {
            security_groups: Some([port.security_groups, vec![group]].concat()),
            ..PortChange::default()
        };
        let Err(error) = neutron.update_at(id, &change, port.revision_number).await else {
            return Ok(true);
        };
        let changed = error.status() == Some(StatusCode::PRECONDITION_FAILED);
        now = neutron.find(id).await?;
        // Of a group that is gone it is told in the same way as of a port.
        if now.is_some() && (!changed || attempt == ATTEMPTS) {
            return Err(error);
        }
    }
    Ok(false)
}

/// Takes a port out of the group of its exposed ports, and removes the group.
pub(crate) async fn close(neutron: &Neutron, port: PortId) -> Result<(), neutron_client::Error> {
    let groups = groups_of(neutron, port).await?;
    if groups.is_empty() {
        return Ok(());
    }
    let is_own = |id: &SecurityGroupId| groups.iter().any(|group| group.id == *id);
    if let Some(now) = neutron.find::<Port>(port).await?
        && now.security_groups.iter().any(is_own)
    {
        let kept = now.security_groups.iter().filter(|id| !is_own(id)).copied();
        let change = PortChange {
            security_groups: Some(kept.collect()),
            ..PortChange::default()
        };
        match neutron.update_at(port, &change, now.revision_number).await {
            Err(error) if !error.is_absence() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    for group in groups {
        neutron.delete::<SecurityGroup>(group.id).await?;
    }
    Ok(())
}

/// Removes the group of a port that is gone, and what is not this one of a port that is there.
pub(crate) async fn delete_groups(
    neutron: &Neutron,
    port: PortId,
    except: Option<SecurityGroupId>,
) -> Result<(), neutron_client::Error> {
    let mut outcome = Ok(());
    for group in groups_of(neutron, port).await? {
        if Some(group.id) != except
            && let Err(error) = neutron.delete::<SecurityGroup>(group.id).await
        {
            outcome = Err(error);
        }
    }
    outcome
}

async fn groups_of(
    neutron: &Neutron,
    port: PortId,
) -> Result<Vec<SecurityGroup>, neutron_client::Error> {
    let filter = Filter::new().with("name", names::exposed_group(port));
    neutron.list(&filter).await
}

fn is_conflict(error: &neutron_client::Error) -> bool {
    error.status() == Some(StatusCode::CONFLICT)
}

/// How often something is tried that others change at the same time.
const ATTEMPTS: u32 = 5;
