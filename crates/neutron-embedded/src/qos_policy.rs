//! QoS policies and what they say: nothing here holds a port to one.

use http::{Method, StatusCode};
use neutron_api::QosPolicyId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::body::{Attribute, Body, fixed, moment, settable, shown};
use crate::cloud::{Answer, Ask, Cloud};
use crate::port::Port;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::store::{Common, Key};

/// A QoS policy as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct QosPolicy {
    #[serde(flatten)]
    pub(crate) common: Common,
    #[serde(default)]
    rules: Vec<Map<String, Value>>,
}

impl QosPolicy {
    pub(crate) fn id(&self) -> QosPolicyId {
        self.common.id.into()
    }

    pub(crate) fn looked_up_by(&self) -> Vec<Key> {
        Vec::new()
    }
}

impl Resource for QosPolicy {
    const ONE: &'static str = "policy";
    const MANY: &'static str = "policies";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description").unsorted(),
        fixed("project_id"),
        fixed("tenant_id"),
        shown("rules").unfiltered().unsorted(),
        shown("tags").of("standard-attr-tag").unsorted(),
        moment("created_at"),
        moment("updated_at"),
        shown("revision_number")
            .of("standard-attr-revisions")
            .number()
            .unsorted(),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("QoS policy {id} could not be found.");
        Refusal::not_found("QosPolicyNotFound", message)
    }

    fn create(_: &mut Cloud, common: Common, _: Body) -> Result<Self, Refusal> {
        let rules = Vec::new();
        Ok(Self { common, rules })
    }

    fn update(self, _: &Cloud, _: Body) -> Result<Self, Refusal> {
        Ok(self)
    }

    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal> {
        let mut ports = cloud.store.all::<Port>();
        match ports.find(|port| port.qos_policy_id == Some(self.id())) {
            Some(port) => Err(Refusal::conflict(
                "QosPolicyInUse",
                format!("QoS Policy {} is used by port {}.", self.id(), port.id()),
            )),
            None => Ok(()),
        }
    }
}

/// Adds a rule: `POST /v2.0/qos/policies/ID/KIND_rules`. Others than that are not here.
pub(crate) fn add_rule(
    cloud: &mut Cloud,
    ask: &Ask,
    id: &str,
    kind: &str,
) -> Result<Answer, Refusal> {
    if ask.method != Method::POST {
        return Err(Refusal::no_such_method());
    }
    let policy = id.parse::<Uuid>().ok();
    let policy = policy.and_then(|id| cloud.store.find::<QosPolicy>(id).cloned());
    let mut policy = policy.ok_or_else(|| QosPolicy::missing(id))?;
    let key = format!("{kind}_rule");
    let asked: Option<Value> = serde_json::from_slice(&ask.body).ok();
    let Some(Value::Object(mut rule)) =
        asked.and_then(|mut asked| asked.get_mut(&key).map(Value::take))
    else {
        return Err(Refusal::bad_request(format!(
            "Unable to find '{key}' in request body"
        )));
    };
    rule.entry("direction").or_insert_with(|| json!("egress"));
    rule.insert("id".into(), json!(Uuid::new_v4()));
    let body = json!({ &key: rule });
    rule.insert("type".into(), json!(kind));
    rule.insert("qos_policy_id".into(), json!(policy.id()));
    policy.rules.push(rule);
    cloud.store.replace(policy);
    Ok(Answer::with(StatusCode::CREATED, body))
}
