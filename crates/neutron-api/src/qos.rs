//! QoS policies: what a port's traffic is held to.

use serde::{Deserialize, Serialize};

use crate::{QosPolicyId, Resource};

/// A set of rules for how much a port may send, and how.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QosPolicy {
    /// Its identifier.
    pub id: QosPolicyId,
    /// Its name, not unique.
    #[serde(default)]
    pub name: String,
}

impl Resource for QosPolicy {
    type Id = QosPolicyId;
    const ONE: &'static str = "policy";
    const MANY: &'static str = "policies";
    const FOLDER: &'static str = "qos/";
    const FIELDS: &'static [&'static str] = &["id", "name"];
    fn id(&self) -> QosPolicyId {
        self.id
    }
}

/// A QoS policy to be made. It comes without rules.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NewQosPolicy {
    /// Its name.
    pub name: String,
}

/// What to change in a QoS policy.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct QosPolicyChange {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
