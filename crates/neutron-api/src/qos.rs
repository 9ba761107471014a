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
    /// What it says.
    #[serde(default)]
    pub rules: Vec<QosRule>,
}

/// A rule of a QoS policy, as far as we know it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QosRule {
    /// What it is about, such as `bandwidth_limit`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Whether it is about what a port sends (`egress`) or gets; a limit that does not say is about what
    /// it sends.
    #[serde(default)]
    pub direction: Option<String>,
    /// How much at most, in kbit/s.
    #[serde(default)]
    pub max_kbps: Option<u64>,
    /// How much at least, in kbit/s.
    #[serde(default)]
    pub min_kbps: Option<u64>,
}

impl Resource for QosPolicy {
    type Id = QosPolicyId;
    const ONE: &'static str = "policy";
    const MANY: &'static str = "policies";
    const FOLDER: &'static str = "qos/";
    const FIELDS: &'static [&'static str] = &["id", "name", "rules"];
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
