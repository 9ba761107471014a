//! Trunks: ports by way of which others are reached; their subports' requests: `subports`.

mod subports;

use neutron_api::{PortId, Subport, TrunkId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::body::{Attribute, Body, fixed, moment, settable, shown};
use crate::cloud::Cloud;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::store::{Common, Key};

pub(crate) use subports::serve;

/// A trunk as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Trunk {
    #[serde(flatten)]
    pub(crate) common: Common,
    port_id: PortId,
    admin_state_up: bool,
    status: String,
    sub_ports: Vec<Subport>,
}

impl Trunk {
    pub(crate) fn id(&self) -> TrunkId {
        self.common.id.into()
    }

    pub(crate) fn looked_up_by(&self) -> Vec<Key> {
        let subports = self.sub_ports.iter();
        let subports = subports.map(|subport| Key::TrunkTo(subport.port_id));
        subports.chain([Key::TrunkOn(self.port_id)]).collect()
    }

    /// What its port says of it.
    pub(crate) fn details(&self, cloud: &Cloud) -> Value {
        let subport = |subport: &Subport| {
            let port = cloud.store.find::<Port>(subport.port_id);
            let mut shown = json!(subport);
            shown["mac_address"] = json!(port.map(|port| port.mac_address));
            shown
        };
        let subports: Vec<Value> = self.sub_ports.iter().map(subport).collect();
        json!({ "trunk_id": self.id(), "sub_ports": subports })
    }
}

impl Resource for Trunk {
    const ONE: &'static str = "trunk";
    const MANY: &'static str = "trunks";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description").unsorted(),
        fixed("project_id"),
        fixed("tenant_id"),
        fixed("port_id"),
        settable("admin_state_up").truth(),
        shown("status"),
        fixed("sub_ports").unfiltered().unsorted(),
        shown("tags").of("standard-attr-tag").unsorted(),
        moment("created_at"),
        moment("updated_at"),
        shown("revision_number")
            .of("standard-attr-revisions")
            .number()
            .unsorted(),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Trunk {id} could not be found.");
        Refusal::not_found("TrunkNotFound", message)
    }

    fn create(cloud: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        let port_id: PortId = body.need("port_id")?;
        let wanted: Value = body.or("sub_ports", json!([]))?;
        let wanted = subports::wanted(&wanted).map_err(|reason| {
            Refusal::bad_request(format!("Invalid input for sub_ports. Reason: {reason}."))
        })?;
        let port = cloud.store.find::<Port>(port_id);
        port.ok_or_else(|| Port::missing(&port_id.to_string()))?;
        check_in_no_trunk(cloud, port_id)?;
        let trunk = Self {
            admin_state_up: body.flag("admin_state_up")?.unwrap_or(true),
            common,
            port_id,
            status: "ACTIVE".to_owned(),
            sub_ports: Vec::new(),
        };
        trunk.with(cloud, &wanted)
    }

    fn update(self, _: &Cloud, mut body: Body) -> Result<Self, Refusal> {
        let admin_state_up = body.flag("admin_state_up")?;
        Ok(Self {
            admin_state_up: admin_state_up.unwrap_or(self.admin_state_up),
            ..self
        })
    }

    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal> {
        self.check_enabled()?;
        for subport in &self.sub_ports {
            subports::free(cloud, subport.port_id);
        }
        Ok(())
    }

    fn key(attribute: &str, value: &str) -> Option<Key> {
        (attribute == "port_id").then(|| value.parse().ok().map(Key::TrunkOn))?
    }
}

impl Trunk {
    fn check_enabled(&self) -> Result<(), Refusal> {
        if self.admin_state_up {
            return Ok(());
        }
        let message = format!("Trunk {} is currently disabled.", self.id());
        Err(Refusal::conflict("TrunkDisabled", message))
    }
}

/// Refuses a port that is in a trunk already, in whichever role.
fn check_in_no_trunk(cloud: &Cloud, port: PortId) -> Result<(), Refusal> {
    if cloud.store.trunk_to(port).is_some() {
        let message = format!("Port {port} is in use by another trunk.");
        return Err(Refusal::conflict("TrunkPortInUse", message));
    }
    match cloud.store.trunk_on(port) {
        Some(_) => Err(parent_in_use(port)),
        None => Ok(()),
    }
}

fn parent_in_use(port: PortId) -> Refusal {
    let message =
        format!("Port {port} is currently in use and is not eligible for use as a parent port.");
    Refusal::conflict("ParentPortInUse", message)
}

/// Refuses to let a port go that is in a trunk.
pub(crate) fn check_unused(cloud: &Cloud, port: PortId) -> Result<(), Refusal> {
    if let Some(trunk) = cloud.store.trunk_to(port) {
        let id = trunk.id();
        let message = format!("Port {port} is currently a subport for trunk {id}.");
        return Err(Refusal::conflict("PortInUseAsSubPort", message));
    }
    if let Some(trunk) = cloud.store.trunk_on(port) {
        let id = trunk.id();
        let message = format!("Port {port} is currently a parent port for trunk {id}.");
        return Err(Refusal::conflict("PortInUseAsTrunkParent", message));
    }
    Ok(())
}

fn parsed(id: &str) -> Option<Uuid> {
    id.parse().ok()
}
