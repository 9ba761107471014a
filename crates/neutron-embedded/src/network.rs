//! Networks.

mod segment;

use neutron_api::{NetworkId, SubnetId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::body::{Attribute, Body, fixed, moment, settable, shown};
use crate::cloud::Cloud;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::resource::{Resource, View};
use crate::settings::EmbeddedSettings;
use crate::store::{Common, Key};
use crate::subnet::Subnet;

pub(crate) use segment::Segment;

/// A network as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Network {
    #[serde(flatten)]
    pub(crate) common: Common,
    admin_state_up: bool,
    shared: bool,
    mtu: u32,
    pub(crate) port_security_enabled: bool,
    /// As the settings say where it is not here.
    #[serde(default)]
    segment: Option<Segment>,
}

impl Network {
    pub(crate) fn id(&self) -> NetworkId {
        self.common.id.into()
    }

    pub(crate) fn mtu(&self) -> u32 {
        self.mtu
    }

    pub(crate) fn segment(&self, settings: &EmbeddedSettings) -> Segment {
        let known = self.segment.clone();
        known.unwrap_or_else(|| Segment::by_default(settings))
    }

    /// As clients read it.
    pub(crate) fn shown(&self) -> neutron_api::Network {
        neutron_api::Network {
            id: self.id(),
            name: self.common.name.clone(),
            project_id: self.common.project_id.clone(),
            mtu: Some(self.mtu),
            admin_state_up: self.admin_state_up,
            shared: self.shared,
            tags: self.common.tags.iter().cloned().collect(),
            revision_number: Some(self.common.revision_number),
        }
    }

    pub(crate) fn looked_up_by(&self) -> Vec<Key> {
        vec![Key::named(&self.common.name)]
    }
}

impl Resource for Network {
    const ONE: &'static str = "network";
    const MANY: &'static str = "networks";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description").unsorted(),
        fixed("project_id"),
        fixed("tenant_id"),
        settable("admin_state_up").truth(),
        shown("status"),
        settable("shared").truth().unsorted(),
        shown("subnets").unfiltered().unsorted(),
        settable("router:external")
            .of("external-net")
            .truth()
            .unsorted(),
        fixed("provider:network_type").of("provider").unsorted(),
        fixed("provider:physical_network").of("provider").unsorted(),
        fixed("provider:segmentation_id")
            .of("provider")
            .number()
            .unsorted(),
        settable("mtu").of("net-mtu").number(),
        settable("port_security_enabled")
            .of("port-security")
            .unfiltered()
            .unsorted(),
        shown("tags").of("standard-attr-tag").unsorted(),
        moment("created_at"),
        moment("updated_at"),
        shown("revision_number")
            .of("standard-attr-revisions")
            .number()
            .unsorted(),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Network {id} could not be found.");
        Refusal::not_found("NetworkNotFound", message)
    }

    fn create(cloud: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        refuse_external(&mut body)?;
        Ok(Self {
            common,
            admin_state_up: body.flag("admin_state_up")?.unwrap_or(true),
            shared: body.flag("shared")?.unwrap_or(false),
            mtu: mtu(cloud, &mut body)?.unwrap_or(cloud.settings.mtu),
            port_security_enabled: body.flag("port_security_enabled")?.unwrap_or(true),
            segment: Some(Segment::wanted(&cloud.store, &cloud.settings, &mut body)?),
        })
    }

    fn update(self, cloud: &Cloud, mut body: Body) -> Result<Self, Refusal> {
        refuse_external(&mut body)?;
        Ok(Self {
            admin_state_up: body.flag("admin_state_up")?.unwrap_or(self.admin_state_up),
            shared: body.flag("shared")?.unwrap_or(self.shared),
            mtu: mtu(cloud, &mut body)?.unwrap_or(self.mtu),
            port_security_enabled: body
                .flag("port_security_enabled")?
                .unwrap_or(self.port_security_enabled),
            ..self
        })
    }

    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal> {
        let used: Vec<String> = cloud
            .store
            .ports_on(self.id())
            .filter(|port| !port.goes_with_network())
            .map(|port| port.common.id.to_string())
            .collect();
        if !used.is_empty() {
            let message = format!(
                "Unable to complete operation on network {}. There are one or more ports still in \
                 use on the network, id for these ports is: {}.",
                self.common.id,
                used.join(",")
            );
            return Err(Refusal::conflict("NetworkInUse", message));
        }
        let ports: Vec<_> = cloud.store.ports_on(self.id()).map(Port::id).collect();
        let subnets: Vec<_> = cloud.store.subnets_on(self.id()).map(Subnet::id).collect();
        for port in ports {
            cloud.store.remove::<Port>(port);
        }
        for subnet in subnets {
            cloud.store.remove::<Subnet>(subnet);
        }
        Ok(())
    }

    fn key(attribute: &str, value: &str) -> Option<Key> {
        (attribute == "name").then(|| Key::named(value))
    }

    fn decorate(&self, cloud: &Cloud, view: &mut View) {
        view.insert("status".into(), json!("ACTIVE"));
        let subnets = cloud.store.subnets_on(self.id()).map(Subnet::id);
        view.insert("subnets".into(), json!(subnets.collect::<Vec<SubnetId>>()));
        view.insert("router:external".into(), json!(false));
        self.segment(&cloud.settings).show(view);
    }
}

/// There is no router that such a network could be behind.
fn refuse_external(body: &mut Body) -> Result<(), Refusal> {
    match body.flag("router:external")? {
        Some(true) => Err(Refusal::input(
            "This Neutron has no external networks: router:external must be False",
        )),
        Some(false) | None => Ok(()),
    }
}

fn mtu(cloud: &Cloud, body: &mut Body) -> Result<Option<u32>, Refusal> {
    let largest = cloud.settings.mtu;
    match body.number::<u32>("mtu")? {
        // As Neutron does, 0 leaves the choice to it.
        Some(0) => Ok(Some(largest)),
        Some(mtu) if mtu > largest => Err(Refusal::input(format_args!(
            "Requested MTU is too big, maximum is {largest}"
        ))),
        other => Ok(other),
    }
}
