//! How adopted ports were before, and what they have been changed to.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use neutron_api::{NetworkId as NeutronNetworkId, Port, PortChange, PortId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::ask::EndpointId;
use crate::error::{Error, PortError};
use crate::journal::Journal;

/// A port that was there before, and what we have made of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct PortAdoption {
    pub(crate) port: PortId,
    pub(crate) network: NeutronNetworkId,
    pub(crate) addresses: Vec<IpAddr>,
    /// The endpoint that uses it, once there is one.
    endpoint: Option<EndpointId>,
    pub(super) before: Usage,
    /// What it was changed to; the same as before where nothing had to be changed.
    pub(super) ours: Usage,
}

/// Who uses a port, and where: all of it that we ever change.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Usage {
    pub(super) host: Option<String>,
    pub(super) owner: String,
    pub(super) device: String,
}

impl From<&Port> for Usage {
    fn from(port: &Port) -> Self {
        Self {
            host: port.host_id.clone(),
            owner: port.device_owner.clone(),
            device: port.device_id.clone(),
        }
    }
}

impl Usage {
    /// What must be changed for it to become `other`.
    pub(super) fn change_to(&self, other: &Self) -> PortChange {
        let differing = |from: &String, to: &String| (from != to).then(|| to.clone());
        PortChange {
            host_id: other.host.clone().filter(|_| self.host != other.host),
            device_owner: differing(&self.owner, &other.owner),
            device_id: differing(&self.device, &other.device),
            ..PortChange::default()
        }
    }
}

impl PortAdoption {
    fn new(port: &Port) -> Self {
        Self {
            port: port.id,
            network: port.network_id,
            addresses: port.fixed_ips.iter().map(|ip| ip.ip_address).collect(),
            endpoint: None,
            before: port.into(),
            ours: port.into(),
        }
    }

    /// What is to be changed back in the port as it is now; not what others have changed meanwhile.
    pub(crate) fn change_back(&self, now: &Port) -> PortChange {
        let (mut to, now) = (self.before.clone(), Usage::from(now));
        // Who has it now may call himself owner by the same name.
        let is_others = now.device != self.ours.device && now.device != self.before.device;
        if now.host != self.ours.host {
            to.host.clone_from(&now.host);
        }
        if now.owner != self.ours.owner || is_others {
            to.owner.clone_from(&now.owner);
        }
        if now.device != self.ours.device {
            to.device.clone_from(&now.device);
        }
        now.change_to(&to)
    }
}

/// All ports that this host's endpoints have adopted.
pub(crate) struct PortAdoptions {
    all: Mutex<HashMap<PortId, PortAdoption>>,
    /// Those of an earlier run that no endpoint was made of since: the runtime may be about to.
    promised: Mutex<HashSet<PortId>>,
    /// One of them is promised no more.
    changed: Notify,
    since: Instant,
    journal: Journal,
}

/// From a restart to the endpoint of an address that was asked for before it, at most: other addresses of
/// the endpoint may be asked for meanwhile, and each may take long.
const PROMISE: Duration = Duration::from_secs(45);
/// From a restart to the end of an endpoint's making that it has cut short: the runtime's pauses between
/// attempts grow to 8 seconds, and no longer.
const ATTEMPT: Duration = Duration::from_secs(10);
/// What is to be done after the wait for a promise takes no longer.
const AFTERWARDS: Duration = Duration::from_secs(5);

impl PortAdoptions {
    pub(crate) fn new(journal: Journal) -> Self {
        let noted = journal.read::<PortAdoption>(PREFIX).into_iter();
        let all: HashMap<_, _> = noted
            .map(|(_, adoption)| (adoption.port, adoption))
            .collect();
        Self {
            promised: Mutex::new(all.keys().copied().collect()),
            all: Mutex::new(all),
            changed: Notify::new(),
            since: Instant::now(),
            journal,
        }
    }

    pub(crate) fn has(&self, port: PortId) -> bool {
        self.all().contains_key(&port)
    }

    /// Whether an endpoint uses an adopted port.
    pub(crate) fn is_of(&self, port: PortId, endpoint: &EndpointId) -> bool {
        self.get(port)
            .is_some_and(|adoption| adoption.endpoint.as_ref() == Some(endpoint))
    }

    pub(super) fn at(&self, network: NeutronNetworkId, address: IpAddr) -> Option<PortId> {
        let all = self.all();
        let mut adopted = all.values();
        let has = |adoption: &&PortAdoption| {
            adoption.network == network && adoption.addresses.contains(&address)
        };
        adopted.find(has).map(|adoption| adoption.port)
    }

    pub(crate) fn of(&self, endpoint: &EndpointId) -> Vec<PortId> {
        let all = self.all();
        let of_it = all
            .values()
            .filter(|adoption| adoption.endpoint.as_ref() == Some(endpoint));
        of_it.map(|adoption| adoption.port).collect()
    }

    /// Lets nobody else adopt a port; false if somebody has.
    pub(super) fn claim(&self, port: &Port) -> bool {
        match self.all().entry(port.id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(PortAdoption::new(port));
                true
            }
        }
    }

    /// Notes how a port is.
    pub(super) async fn begin(&self, port: &Port) -> Result<(), Error> {
        let adoption = PortAdoption::new(port);
        self.note(adoption.clone()).await?;
        self.all().insert(port.id, adoption);
        Ok(())
    }

    /// Notes what is going to be made of a port, for which endpoint.
    pub(super) async fn intend(
        &self,
        port: PortId,
        endpoint: &EndpointId,
        ours: Usage,
    ) -> Result<(), Error> {
        let Some(adoption) = self.all().get(&port).cloned() else {
            return Err(Error::Bug("a port is used that was not adopted"));
        };
        let adoption = PortAdoption {
            endpoint: Some(endpoint.clone()),
            ours,
            ..adoption
        };
        self.note(adoption.clone()).await?;
        self.all().insert(port, adoption);
        self.keep_promise(port);
        Ok(())
    }

    /// Waits until a port that an earlier run has adopted is an endpoint's or nobody's; false if that may
    /// take longer than until `by`.
    pub(super) async fn decided(&self, port: PortId, by: Instant) -> bool {
        let is_begun = self.get(port).is_some_and(|it| it.endpoint.is_some());
        let ends = self.since + if is_begun { ATTEMPT } else { PROMISE };
        loop {
            let changed = self.changed.notified();
            if !self.promised().contains(&port) || ends <= Instant::now() {
                return true;
            }
            if by < ends + AFTERWARDS {
                return false;
            }
            let _ = timeout_at(ends, changed).await;
        }
    }

    fn keep_promise(&self, port: PortId) {
        if self.promised().remove(&port) {
            self.changed.notify_waiters();
        }
    }

    async fn note(&self, adoption: PortAdoption) -> Result<(), Error> {
        let (port, key) = (adoption.port, format!("{PREFIX}{}", adoption.port));
        let noted = self.journal.write_aside(&key, &adoption).await;
        noted.map_err(|source| PortError::Note { port, source }.into())
    }

    pub(super) fn get(&self, port: PortId) -> Option<PortAdoption> {
        self.all().get(&port).cloned()
    }

    pub(super) fn end(&self, port: PortId) {
        self.journal.forget(&format!("{PREFIX}{port}"));
        self.all().remove(&port);
        self.keep_promise(port);
    }

    pub(super) fn ports(&self) -> Vec<PortId> {
        self.all().keys().copied().collect()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<PortId, PortAdoption>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn promised(&self) -> MutexGuard<'_, HashSet<PortId>> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PREFIX: &str = "port-";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn port(host: &str, owner: &str, device: &str) -> Port {
        serde_json::from_value(json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "network_id": "00000000-0000-0000-0000-000000000002",
            "mac_address": "fa:16:3e:00:00:01",
            "binding:host_id": host, "device_owner": owner, "device_id": device,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_we_have_changed_and_nobody_since_is_changed_back() {
        let adoption = PortAdoption {
            ours: (&port("here", "compute:kuryr", "theirs")).into(),
            ..PortAdoption::new(&port("", "", "theirs"))
        };
        let back = adoption.change_back(&port("here", "compute:kuryr", "theirs"));
        assert_eq!(
            (back.host_id, back.device_owner),
            (Some("".into()), Some("".into()))
        );
        assert_eq!(back.device_id, None);
        for others in [
            port("there", "compute:kuryr", "new"),
            port("", "", "theirs"),
        ] {
            assert_eq!(adoption.change_back(&others), PortChange::default());
        }
        let back = adoption.change_back(&port("here", "compute:kuryr", "new"));
        assert_eq!((back.host_id, back.device_owner), (Some("".into()), None));
    }
}
