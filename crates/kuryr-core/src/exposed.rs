//! Ports that containers expose: each port of ours that has some gets a security group of its own,
//! which lets in what is for them.
//!
//! Nothing is noted of it: the group bears the port's identifier, and whoever removes the port looks
//! for it.

mod rules;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use neutron_api::{
    IpVersion, NewSecurityGroup, Port, PortChange, PortId, SecurityGroup, SecurityGroupId,
};
use neutron_client::{Filter, Neutron};
use tokio::time::Instant;

use crate::ask::{EndpointId, ExposedPort, NetworkId};
use crate::debt::{Debt, is_ours};
use crate::error::{Error, PortError, told};
use crate::kuryr::Kuryr;
use crate::names;

/// What is open, as far as this run knows.
#[derive(Default)]
pub(crate) struct Exposures(Mutex<HashMap<PortId, Vec<ExposedPort>>>);

impl Exposures {
    fn is_open(&self, port: PortId, exposed: &[ExposedPort]) -> bool {
        self.all().get(&port).is_some_and(|open| open == exposed)
    }

    /// From now on it has a group, or may have; nothing may be open yet.
    fn begin(&self, port: PortId) {
        self.all().insert(port, Vec::new());
    }

    fn opened(&self, port: PortId, exposed: &[ExposedPort]) {
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
    /// Ports that were there before keep their groups, and so do ours where it is switched off.
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
        let _turn = self.exposure_turns.turn(&port.id, by).await?;
        if self.exposures.is_open(port.id, exposed) {
            return Ok(());
        }
        let closing = |debt: &Debt| *debt == Debt::Close { port: port.id };
        self.debts.settled(by, closing).await;
        self.exposures.begin(port.id);
        let opened = self.ensure_open(port, exposed, by).await;
        match &opened {
            Ok(()) => self.exposures.opened(port.id, exposed),
            Err(_) => self.close(port.id).await,
        }
        opened
    }

    /// Takes a port's own group away, if it has one.
    pub(crate) async fn close(&self, port: PortId) {
        if self.exposures.remove(port) {
            self.debts.owe(Debt::Close { port }).await;
        }
    }

    async fn ensure_open(
        &self,
        port: &Port,
        exposed: &[ExposedPort],
        by: Instant,
    ) -> Result<(), Error> {
        let neutron = self.neutron.by(by);
        let mut versions: Vec<IpVersion> = Vec::new();
        for ip in &port.fixed_ips {
            let version = IpVersion::of(ip.ip_address);
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        let group = self.ensure_group(&neutron, port.id).await?;
        ensure_rules(&neutron, &group, exposed, &versions)
            .await
            .map_err(told(format!(
                "let in what is for the exposed ports of port {}",
                port.id
            )))?;
        add_group(&neutron, port.id, group.id).await
    }

    async fn ensure_group(&self, neutron: &Neutron, port: PortId) -> Result<SecurityGroup, Error> {
        let name = names::exposed_group(port);
        let identity = Filter::new().with("name", &name);
        let act = || {
            told(format!(
                "make a security group for the exposed ports of port {port} \
                 (process_external_connectivity = false in kuryr.conf does without)"
            ))
        };
        let found = neutron.list::<SecurityGroup>(&identity).await;
        if let Some(group) = found.map_err(act())?.pop() {
            return Ok(group);
        }
        let new = NewSecurityGroup {
            description: names::exposed_description(port),
            name,
        };
        let stray = |except| Debt::DeleteStrayGroup { port, except };
        let made = self.debts.make(neutron, &new, &identity, stray).await;
        made.map_err(act())
    }
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

/// Only into the groups that the port has at that moment: others may change them, too.
async fn add_group(neutron: &Neutron, port: PortId, group: SecurityGroupId) -> Result<(), Error> {
    let act = || {
        told(format!(
            "put port {port} into the security group of its exposed ports"
        ))
    };
    for _ in 0..ATTEMPTS {
        let found = neutron.find::<Port>(port).await.map_err(act())?;
        // A port that has gone meanwhile takes its endpoint's start with it soon enough.
        let Some(now) = found.filter(|now| !now.security_groups.contains(&group)) else {
            return Ok(());
        };
        let change = PortChange {
            security_groups: Some([now.security_groups, vec![group]].concat()),
            ..PortChange::default()
        };
        match neutron.update_at(port, &change, now.revision_number).await {
            Err(error) if error.status() == Some(StatusCode::PRECONDITION_FAILED) => {}
            other => return other.map(drop).map_err(act()),
        }
    }
    Err(PortError::Changing(port).into())
}

/// Takes a port out of the group of its exposed ports, and removes the group.
pub(crate) async fn close(neutron: &Neutron, port: PortId) -> Result<(), neutron_client::Error> {
    let groups = groups_of(neutron, port).await?;
    let Some(now) = neutron.find::<Port>(port).await? else {
        return delete_groups(neutron, port, None).await;
    };
    let is_own = |id: &SecurityGroupId| groups.iter().any(|group| group.id == *id);
    if now.security_groups.iter().any(is_own) {
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
    delete_groups(neutron, port, None).await
}

/// Removes the group of a port that is gone.
pub(crate) async fn delete_groups(
    neutron: &Neutron,
    port: PortId,
    except: Option<SecurityGroupId>,
) -> Result<(), neutron_client::Error> {
    for group in groups_of(neutron, port).await? {
        if Some(group.id) != except {
            neutron.delete::<SecurityGroup>(group.id).await?;
        }
    }
    Ok(())
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
