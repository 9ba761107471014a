//! What a container's port is to be like, beyond its place: of its own, or by its network's default.
//!
//! Docker says a network's options once, when it is made, so they are kept in the journal.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use neutron_api::Resource;
use neutron_api::{
    AddressPair, NewPort, Port, PortChange, QosPolicy, QosPolicyId, SecurityGroup, SecurityGroupId,
};
use neutron_client::{Filter, Neutron};
use serde::{Deserialize, Serialize};

use crate::ask::NetworkId;
use crate::driver::Driver;
use crate::error::{Error, told};
use crate::journal::Journal;
use crate::options::{Named, PortWishes};
use crate::pool::candidates;

/// What a port is to be like; what is not set is left to Neutron.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct PortSettings {
    pub(crate) name: Option<String>,
    dns_name: Option<String>,
    security_groups: Option<Vec<SecurityGroupId>>,
    qos_policy: Option<QosPolicyId>,
    port_security: Option<bool>,
    address_pairs: Option<Vec<AddressPair>>,
    #[serde(default)]
    pub(crate) driver: Option<Driver>,
    /// Of a network: its ports are made when they are needed, and not before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) without_pool: bool,
}

impl PortSettings {
    /// Finds in Neutron what the user names.
    pub(crate) async fn find(neutron: &Neutron, wishes: PortWishes) -> Result<Self, Error> {
        let PortWishes {
            security_groups,
            name,
            dns_name,
            qos_policy,
            port_security,
            address_pairs,
            driver,
        } = wishes;
        for (is_wanted, what, extension) in [
            (
                security_groups.is_some(),
                "security_groups",
                "security-group",
            ),
            (dns_name.is_some(), "dns_name", "dns-integration"),
            (qos_policy.is_some(), "qos_policy", "qos"),
            (port_security.is_some(), "port_security", "port-security"),
            (
                address_pairs.is_some(),
                "allowed_address_pairs",
                "allowed-address-pairs",
            ),
        ] {
            if is_wanted {
                need(neutron, what, extension).await?;
            }
        }
        let groups = match security_groups {
            Some(named) => {
                let mut ids = Vec::new();
                for group in &named {
                    ids.push(one::<SecurityGroup>(neutron, "security group", group).await?);
                }
                Some(ids)
            }
            None => None,
        };
        let qos_policy = match qos_policy {
            Some(named) => Some(one::<QosPolicy>(neutron, "QoS policy", &named).await?),
            None => None,
        };
        // A port that is held to nothing can't be held to groups; without port security, the
        // project's default group and a network's default would be in the way.
        let empty = port_security == Some(false);
        Ok(Self {
            name,
            dns_name,
            security_groups: groups.or(empty.then(Vec::new)),
            qos_policy,
            port_security,
            address_pairs: address_pairs.or(empty.then(Vec::new)),
            driver,
            without_pool: false,
        })
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Makes a new port like this.
    pub(crate) fn of_new(&self, port: NewPort) -> NewPort {
        let settings = self.clone();
        NewPort {
            security_groups: settings.security_groups,
            allowed_address_pairs: settings.address_pairs,
            port_security_enabled: settings.port_security,
            qos_policy_id: settings.qos_policy,
            dns_name: settings.dns_name,
            ..port
        }
    }

    /// Whether a port has become like this.
    ///
    /// Neutron lists `dns-integration` also where no ML2 extension driver does it, and then takes the
    /// name and drops it.
    pub(crate) fn check(&self, port: &Port) -> Result<(), Error> {
        match &self.dns_name {
            Some(name) if port.dns_name.as_ref() != Some(name) => Err(Error::NoExtension {
                option: "neutron.port.dns_name".to_owned(),
                extension: "dns-integration (or its ML2 extension driver dns, or dns_domain in neutron.conf)",
            }),
            _ => Ok(()),
        }
    }

    /// Makes a port like this that there is; its name follows later.
    pub(crate) fn change(&self) -> PortChange {
        let settings = self.clone();
        PortChange {
            security_groups: settings.security_groups,
            allowed_address_pairs: settings.address_pairs,
            port_security_enabled: settings.port_security,
            qos_policy_id: settings.qos_policy,
            dns_name: settings.dns_name,
            ..PortChange::default()
        }
    }
}

async fn need(neutron: &Neutron, what: &str, extension: &'static str) -> Result<(), Error> {
    let option = format!("neutron.port.{what}");
    let act = told(format!("look whether Neutron has what {option} needs"));
    if neutron.has_extension(extension).await.map_err(act)? {
        return Ok(());
    }
    Err(Error::NoExtension { option, extension })
}

/// The one object that the user names.
async fn one<R: Resource>(
    neutron: &Neutron,
    what: &'static str,
    named: &Named<R::Id>,
) -> Result<R::Id, Error> {
    let act = told(format!("look up {what} {named}"));
    let found = match named {
        Named::Id(id) => neutron.find::<R>(*id).await.map(Vec::from_iter),
        Named::Name(name) => neutron.list(&Filter::new().with("name", name)).await,
    };
    match <[R; 1]>::try_from(found.map_err(act)?) {
        Ok([object]) => Ok(object.id()),
        Err(found) if found.is_empty() => {
            let named = named.to_string();
            Err(Error::NoSuchObject { what, named })
        }
        Err(found) => Err(Error::Ambiguous {
            what: format!("{what} {named}"),
            candidates: candidates(&found),
        }),
    }
}

/// What the ports of each container network are to be like, where the user has said so.
pub(crate) struct PortDefaults {
    all: Mutex<HashMap<String, PortSettings>>,
    journal: Journal,
}

impl PortDefaults {
    pub(crate) fn new(journal: Journal) -> Self {
        let all = journal.read(PREFIX).into_iter().collect();
        Self {
            all: Mutex::new(all),
            journal,
        }
    }

    pub(crate) fn of(&self, network: &NetworkId) -> PortSettings {
        self.all()
            .get(network.as_str())
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn insert(&self, network: &NetworkId, settings: PortSettings) -> Result<(), Error> {
        if settings.is_default() {
            return Ok(());
        }
        self.journal
            .write(&format!("{PREFIX}{network}"), &settings)
            .map_err(|source| Error::Journal {
                network: network.clone(),
                source,
            })?;
        self.all().insert(network.to_string(), settings);
        Ok(())
    }

    pub(crate) fn remove(&self, network: &NetworkId) {
        if self.all().remove(network.as_str()).is_none() {
            return;
        }
        self.journal.forget(&format!("{PREFIX}{network}"));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, PortSettings>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PREFIX: &str = "defaults-";
