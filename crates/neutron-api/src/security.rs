//! Security groups.

use serde::{Deserialize, Serialize};

use crate::{Resource, SecurityGroupId};

/// A set of rules for what may pass a port.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SecurityGroup {
    /// Its identifier.
    pub id: SecurityGroupId,
    /// Its name, not unique.
    #[serde(default)]
    pub name: String,
    /// The project that it belongs to.
    #[serde(default)]
    pub project_id: String,
}

impl Resource for SecurityGroup {
    type Id = SecurityGroupId;
    const ONE: &'static str = "security_group";
    const MANY: &'static str = "security_groups";
    const FIELDS: &'static [&'static str] = &["id", "name", "project_id"];
    fn id(&self) -> SecurityGroupId {
        self.id
    }
}
