//! One exchange with Neutron, apart from HTTP.

use std::str::FromStr;

use bytes::Bytes;
use http::{Method, StatusCode};
use neutron_api::{PortId, PortStatus};
use serde_json::{Value, json};

use crate::network::Network;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::resource::serve;
use crate::security_group::SecurityGroup;
use crate::settings::EmbeddedSettings;
use crate::store::Store;
use crate::subnet::Subnet;
use crate::subnet_pool::SubnetPool;

/// A Neutron: what it is like and what is in it.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) settings: EmbeddedSettings,
    pub(crate) store: Store,
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
        let mut store = Store::default();
        for pool in &settings.pools {
            store.insert(SubnetPool::shared(pool, &settings.project_id));
        }
        store.insert(SecurityGroup::default_of(&settings.project_id));
        Self { settings, store }
    }

    pub(crate) fn answer(&mut self, ask: &Ask) -> Answer {
        self.route(ask).unwrap_or_else(Answer::from)
    }

    fn route(&mut self, ask: &Ask) -> Result<Answer, Refusal> {
        let path: Vec<&str> = ask.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            [] => Ok(versions(ask)),
            ["v2.0"] => Ok(Answer::with(StatusCode::OK, json!({ "resources": [] }))),
            ["v2.0", "extensions"] => Ok(self.extensions()),
            ["v2.0", "extensions", alias] => self.extension(alias),
            ["v2.0", "networks", rest @ ..] => serve::<Network>(self, ask, rest),
            ["v2.0", "subnets", rest @ ..] => serve::<Subnet>(self, ask, rest),
            ["v2.0", "ports", rest @ ..] => serve::<Port>(self, ask, rest),
            ["v2.0", "subnetpools", rest @ ..] if self.has_extension("subnet_allocation") => {
                serve::<SubnetPool>(self, ask, rest)
            }
            ["v2.0", "security-groups", rest @ ..] if self.has_extension("security-group") => {
                serve::<SecurityGroup>(self, ask, rest)
            }
            _ => Err(Refusal::no_such_path()),
        }
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
