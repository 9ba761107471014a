//! Security groups; what is in them: `security_group_rule`.

use neutron_api::SecurityGroupId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::body::{Attribute, Body, fixed, moment, settable, shown};
use crate::cloud::Cloud;
use crate::refusal::Refusal;
use crate::resource::{self, Resource, View};
use crate::security_group_rule::SecurityGroupRule;
use crate::store::{Common, Key, Store};

/// A security group as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct SecurityGroup {
    #[serde(flatten)]
    pub(crate) common: Common,
    pub(crate) stateful: bool,
    shared: bool,
    is_default: bool,
}

impl SecurityGroup {
    pub(crate) fn id(&self) -> SecurityGroupId {
        self.common.id.into()
    }

    pub(crate) fn is_default(&self) -> bool {
        self.is_default
    }

    pub(crate) fn looked_up_by(&self) -> Vec<Key> {
        Vec::new()
    }

    /// As clients read it.
    pub(crate) fn shown(&self, store: &Store) -> neutron_api::SecurityGroup {
        neutron_api::SecurityGroup {
            id: self.id(),
            name: self.common.name.clone(),
            description: self.common.description.clone(),
            project_id: self.common.project_id.clone(),
            stateful: self.stateful,
            rules: store
                .rules_of(self.id())
                .map(SecurityGroupRule::shown)
                .collect(),
            tags: self.common.tags.iter().cloned().collect(),
            revision_number: Some(self.common.revision_number),
        }
    }

    /// Makes the group that every project has, if the project has none yet.
    pub(crate) fn ensure_default(store: &mut Store, project: &str) -> SecurityGroupId {
        let is_it = |group: &&Self| group.is_default && group.common.project_id == project;
        if let Some(group) = store.all::<Self>().find(is_it) {
            return group.id();
        }
        let group = Self {
            common: Common::new("default", "Default security group", project),
            stateful: true,
            shared: false,
            is_default: true,
        };
        group.insert_template(store);
        let id = group.id();
        store.insert(group);
        id
    }

    fn insert_template(&self, store: &mut Store) {
        for rule in SecurityGroupRule::template(self) {
            store.insert(rule);
        }
    }
}

impl Resource for SecurityGroup {
    const ONE: &'static str = "security_group";
    const MANY: &'static str = "security_groups";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description").unsorted(),
        fixed("project_id"),
        fixed("tenant_id"),
        settable("stateful")
            .of("stateful-security-group")
            .truth()
            .unsorted(),
        shown("shared").truth().unsorted(),
        shown("security_group_rules").unfiltered().unsorted(),
        shown("tags").of("standard-attr-tag").unsorted(),
        moment("created_at"),
        moment("updated_at"),
        shown("revision_number")
            .of("standard-attr-revisions")
            .number()
            .unsorted(),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Security group {id} does not exist");
        Refusal::not_found("SecurityGroupNotFound", message)
    }

    fn create(cloud: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        check_name(&common.name)?;
        let group = Self {
            stateful: body.flag("stateful")?.unwrap_or(true),
            common,
            shared: false,
            is_default: false,
        };
        Self::ensure_default(&mut cloud.store, &group.common.project_id);
        group.insert_template(&mut cloud.store);
        Ok(group)
    }

    fn update(self, cloud: &Cloud, mut body: Body) -> Result<Self, Refusal> {
        let before = cloud.store.find::<Self>(self.common.id);
        let renamed = before.is_some_and(|before| before.common.name != self.common.name);
        if renamed {
            check_name(&self.common.name)?;
        }
        if renamed && self.is_default {
            let message = "Updating default security group not allowed.";
            return Err(Refusal::conflict(
                "SecurityGroupCannotUpdateDefault",
                message,
            ));
        }
        let stateful = body.flag("stateful")?.unwrap_or(self.stateful);
        if stateful != self.stateful && cloud.store.is_group_used(self.id()) {
            return Err(in_use(self.common.id));
        }
        Ok(Self { stateful, ..self })
    }

    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal> {
        let id = self.id();
        if cloud.store.is_group_used(id) {
            return Err(in_use(self.common.id));
        }
        if self.is_default {
            let message = "Insufficient rights for removing default security group.";
            return Err(Refusal::conflict(
                "SecurityGroupCannotRemoveDefault",
                message,
            ));
        }
        let own = cloud.store.ids(Key::RuleOf(id));
        let rules: Vec<Uuid> = own.chain(cloud.store.ids(Key::RuleFrom(id))).collect();
        for rule in rules {
            cloud.store.remove::<SecurityGroupRule>(rule);
        }
        Ok(())
    }

    fn decorate(&self, cloud: &Cloud, view: &mut View) {
        view.remove("is_default");
        let rules = cloud.store.rules_of(self.id());
        let rules: Vec<View> = rules.map(|rule| resource::view(cloud, rule)).collect();
        view.insert("security_group_rules".into(), json!(rules));
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if !name.eq_ignore_ascii_case("default") {
        return Ok(());
    }
    let message = "Default security group already exists.";
    Err(Refusal::conflict(
        "SecurityGroupDefaultAlreadyExists",
        message,
    ))
}

fn in_use(id: Uuid) -> Refusal {
    let message = format!("Security Group {id} in use.");
    Refusal::conflict("SecurityGroupInUse", message)
}
