//! QoS policies, by name only: nothing here holds a port to one.

use neutron_api::QosPolicyId;
use serde::{Deserialize, Serialize};

use crate::body::{Attribute, Body, fixed, moment, settable, shown};
use crate::cloud::Cloud;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::store::{Common, Key};

/// A QoS policy as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct QosPolicy {
    #[serde(flatten)]
    pub(crate) common: Common,
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
        Ok(Self { common })
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
