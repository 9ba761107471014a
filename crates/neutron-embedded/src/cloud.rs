//! One exchange with Neutron, apart from HTTP.

use std::str::FromStr;

use bytes::Bytes;
use http::{Method, StatusCode};
use ipnet::IpNet;
use neutron_api::{PortId, PortStatus};
use serde_json::{Value, json};

use crate::network::Network;
use crate::port::Port;
use crate::qos_policy::{self, QosPolicy};
use crate::quota;
use crate::refusal::Refusal;
use crate::resource::serve;
use crate::security_group::SecurityGroup;
use crate::security_group_rule::SecurityGroupRule;
use crate::settings::{EmbeddedSettings, RangeInUse};
use crate::snapshot::Snapshot;
use crate::store::{Change, Store};
use crate::subnet::Subnet;
use crate::subnet_pool::SubnetPool;
use crate::subnet_pool::prefixes::{self, Way};
use crate::trunk::{self, Trunk};

/// A Neutron: what it is like and what is in it.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) settings: EmbeddedSettings,
    pub(crate) store: Store,
    pub(crate) snapshot: Snapshot,
    /// What is in use outside, as it was before the exchange that is being answered.
    pub(crate) ranges_in_use: Vec<RangeInUse>,
}

/// What is asked of it.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Scheme, host and path, for links.
    pub(crate) url: String,
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    /// The revision that the object must have.
    pub(crate) revision: Option<u64>,
    pub(crate) body: Bytes,
    /// What is in use outside; only read for what takes ranges.
    pub(crate) ranges_in_use: Vec<RangeInUse>,
}

impl Ask {
    /// The first value of a query parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters(name).next()
    }

    /// All values of a query parameter.
    pub(crate) fn parameters(&self, name: &str) -> impl Iterator<Item = &str> {
        self.query
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A query parameter as what it must be.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str, must: &str) -> Result<Option<T>, Refusal> {
        self.parameter(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    let message = format!("Bad {name} request: {must} and not '{text}'.");
                    Refusal::invalid("BadRequest", message)
                })
            })
            .transpose()
    }
}

/// What it answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Option<Value>,
}

impl Answer {
    pub(crate) fn with(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body: Some(body),
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: None,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::with(refusal.status, refusal.fault.to_body())
    }
}

impl Cloud {
    pub(crate) fn new(settings: EmbeddedSettings) -> Self {
        Self {
            settings,
            store: Store::default(),
            snapshot: Snapshot::default(),
            ranges_in_use: Vec::new(),
        }
    }

    /// Makes changes that are to be seen from now on.
    pub(crate) fn apply(&mut self, changes: &[Change]) {
        self.store.apply(changes);
        self.snapshot.note(changes, &self.store);
    }

    /// Makes what a new cloud has; one that was new once has it, or has lost it since.
    pub(crate) fn found(&mut self) {
        if self.store.count::<SecurityGroup>() > 0 {
            return;
        }
        for pool in &self.settings.pools {
            let pool = SubnetPool::shared(pool, &self.settings.project_id);
            self.store.insert(pool);
        }
        SecurityGroup::ensure_default(&mut self.store, &self.settings.project_id);
    }

    /// A refusal changes nothing.
    pub(crate) fn answer(&mut self, ask: &Ask) -> Answer {
        self.ranges_in_use.clone_from(&ask.ranges_in_use);
        self.route(ask).unwrap_or_else(|refusal| {
            self.store.withdraw();
            refusal.into()
        })
    }

    fn route(&mut self, ask: &Ask) -> Result<Answer, Refusal> {
        let path: Vec<&str> = ask.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            [] | ["v2.0"] | ["v2.0", "extensions", ..] if ask.method != Method::GET => {
                Err(Refusal::no_such_method())
            }
            [] => Ok(versions(ask)),
            ["v2.0"] => Ok(resources(ask)),
            ["v2.0", "extensions"] => Ok(self.extensions()),
            ["v2.0", "extensions", alias] => self.extension(alias),
            ["v2.0", "networks", rest @ ..] => serve::<Network>(self, ask, rest),
            ["v2.0", "subnets", rest @ ..] => serve::<Subnet>(self, ask, rest),
            ["v2.0", "ports", rest @ ..] => serve::<Port>(self, ask, rest),
            [
                "v2.0",
                "subnetpools",
                id,
                verb @ ("add_prefixes" | "remove_prefixes"),
            ] if self.has_extension("subnetpool-prefix-ops") => {
                let way = match *verb {
                    "add_prefixes" => Way::Add,
                    _ => Way::Remove,
                };
                prefixes::serve(self, ask, id, way)
            }
            ["v2.0", "subnetpools", rest @ ..] if self.has_extension("subnet_allocation") => {
                serve::<SubnetPool>(self, ask, rest)
            }
            ["v2.0", "security-groups", rest @ ..] if self.has_extension("security-group") => {
                serve::<SecurityGroup>(self, ask, rest)
            }
            ["v2.0", "security-group-rules", rest @ ..] if self.has_extension("security-group") => {
                serve::<SecurityGroupRule>(self, ask, rest)
            }
            ["v2.0", "qos", "policies", id, "bandwidth_limit_rules"]
                if self.has_extension("qos") =>
            {
                qos_policy::add_rule(self, ask, id, "bandwidth_limit")
            }
            ["v2.0", "qos", "policies", id, "minimum_bandwidth_rules"]
                if self.has_extension("qos") =>
            {
                qos_policy::add_rule(self, ask, id, "minimum_bandwidth")
            }
            ["v2.0", "qos", "policies", rest @ ..] if self.has_extension("qos") => {
                serve::<QosPolicy>(self, ask, rest)
            }
            [
                "v2.0",
                "trunks",
                id,
                verb @ ("add_subports" | "remove_subports" | "get_subports"),
            ] if self.has_extension("trunk") => trunk::serve(self, ask, id, verb),
            ["v2.0", "trunks", rest @ ..] if self.has_extension("trunk") => {
                serve::<Trunk>(self, ask, rest)
            }
            ["v2.0", "quotas", rest @ ..] if self.has_extension("quotas") => {
                quota::serve(self, ask, rest)
            }
            _ => Err(Refusal::no_such_path()),
        }
    }

    /// What no range out of a pool may overlap with, whatever the pool.
    pub(crate) fn ranges_of_others(&self) -> Vec<IpNet> {
        if !self.settings.one_routing_table {
            return Vec::new();
        }
        let subnets = self.store.all::<Subnet>().map(|subnet| subnet.cidr);
        let others = self.ranges_in_use.iter().map(|used| used.range);
        subnets.chain(others).collect()
    }

    pub(crate) fn has_extension(&self, alias: &str) -> bool {
        self.settings.extensions.iter().any(|known| known == alias)
    }

    fn extensions(&self) -> Answer {
        let extensions: Vec<Value> = self.settings.extensions.iter().map(described).collect();
        Answer::with(StatusCode::OK, json!({ "extensions": extensions }))
    }

    fn extension(&self, alias: &str) -> Result<Answer, Refusal> {
        let mut known = self.settings.extensions.iter();
        known
            .find(|known| *known == alias)
            .map(|alias| Answer::with(StatusCode::OK, json!({ "extension": described(alias) })))
            .ok_or_else(|| {
                let message = format!("Extension with alias {alias} does not exist");
                Refusal::not_found("HTTPNotFound", message)
            })
    }

    /// What an agent says of a port.
    pub(crate) fn report(&mut self, port: PortId, status: PortStatus) -> bool {
        let Some(port) = self.store.find::<Port>(port) else {
            return false;
        };
        let mut port = port.clone();
        port.status = status;
        self.store.replace(port);
        true
    }

    /// What an agent notes on a port.
    pub(crate) fn set_profile(&mut self, port: PortId, key: String, value: Value) -> bool {
        let Some(port) = self.store.find::<Port>(port) else {
            return false;
        };
        let mut port = port.clone();
        port.set_profile(key, value);
        self.store.replace(port);
        true
    }
}

#[allow(clippy::ptr_arg, reason = "maps over a list of strings")]
fn described(alias: &String) -> Value {
    json!({
        "alias": alias,
        "name": alias,
        "description": "",
        "updated": "2012-01-01T10:00:00-00:00",
        "links": [],
    })
}

fn versions(ask: &Ask) -> Answer {
    let href = format!("{}/v2.0/", ask.url.trim_end_matches('/'));
    let links = json!([{ "rel": "self", "href": href }]);
    let version = json!({ "id": "v2.0", "status": "CURRENT", "links": links });
    Answer::with(StatusCode::OK, json!({ "versions": [version] }))
}

fn resources(ask: &Ask) -> Answer {
    let resource = |one: &str| {
        let many = format!("{one}s");
        let href = format!("{}/{many}", ask.url.trim_end_matches('/'));
        json!({ "name": one, "collection": many, "links": [{ "rel": "self", "href": href }] })
    };
    let resources = ["network", "subnet", "subnetpool", "port"].map(resource);
    Answer::with(StatusCode::OK, json!({ "resources": resources }))
}
