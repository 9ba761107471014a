//! Security groups: the default one, to be looked up.

use neutron_api::SecurityGroupId;
use serde::Serialize;
use uuid::Uuid;

use crate::body::{Attribute, Body, fixed, settable, shown};
use crate::cloud::Cloud;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::store::{Common, Store};

/// A security group as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SecurityGroup {
    #[serde(flatten)]
    pub(crate) common: Common,
    stateful: bool,
    shared: bool,
    security_group_rules: [(); 0],
}

impl SecurityGroup {
    /// The one that every project has.
    pub(crate) fn default_of(project: &str) -> Self {
        Self::with(Common {
            id: Uuid::new_v4(),
            name: "default".to_owned(),
            description: "Default security group".to_owned(),
            project_id: project.to_owned(),
            tags: [].into(),
            revision_number: 1,
        })
    }

    fn with(common: Common) -> Self {
        Self {
            common,
            stateful: true,
            shared: false,
            security_group_rules: [],
        }
    }

    /// The group that a port has if none is asked for.
    pub(crate) fn default_in(store: &Store, project: &str) -> Vec<SecurityGroupId> {
        store
            .all::<Self>()
            .filter(|group| group.common.name == "default" && group.common.project_id == project)
            .map(|group| group.common.id.into())
            .collect()
    }
}

impl Resource for SecurityGroup {
    const ONE: &'static str = "security_group";
    const MANY: &'static str = "security_groups";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description"),
        fixed("project_id"),
        fixed("tenant_id"),
        settable("stateful"),
        shown("shared"),
        shown("security_group_rules").unfiltered(),
        shown("tags").of("standard-attr-tag"),
        shown("revision_number").of("standard-attr-revisions"),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Security group {id} does not exist");
        Refusal::not_found("SecurityGroupNotFound", message)
    }

    fn create(_: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        if common.name == "default" {
            let message = "Default security group already exists.";
            return Err(Refusal::conflict(
                "SecurityGroupDefaultAlreadyExists",
                message,
            ));
        }
        let stateful = body.flag("stateful")?.unwrap_or(true);
        Ok(Self {
            stateful,
            ..Self::with(common)
        })
    }

    fn update(self, _: &Cloud, mut body: Body) -> Result<Self, Refusal> {
        let stateful = body.flag("stateful")?.unwrap_or(self.stateful);
        Ok(Self { stateful, ..self })
    }

    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal> {
        let id = self.common.id;
        if self.common.name == "default" {
            let message = "Removing default security group not allowed.";
            return Err(Refusal::conflict(
                "SecurityGroupCannotRemoveDefault",
                message,
            ));
        }
        if cloud.store.is_group_used(id.into()) {
            let message = format!("Security Group {id} in use.");
            return Err(Refusal::conflict("SecurityGroupInUse", message));
        }
        Ok(())
    }
}
