//! Networks.

use neutron_api::{NetworkId, SubnetId};
use serde::Serialize;
use serde_json::json;

use crate::body::{Attribute, Body, fixed, settable, shown};
use crate::cloud::Cloud;
use crate::port::Port;
use crate::refusal::Refusal;
use crate::resource::{Resource, View};
use crate::store::Common;
use crate::subnet::Subnet;

/// A network as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Network {
    #[serde(flatten)]
    pub(crate) common: Common,
    admin_state_up: bool,
    status: &'static str,
    shared: bool,
    mtu: u32,
    port_security_enabled: bool,
}

impl Network {
    fn id(&self) -> NetworkId {
        self.common.id.into()
    }
}

impl Resource for Network {
    const ONE: &'static str = "network";
    const MANY: &'static str = "networks";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description"),
        fixed("project_id"),
        fixed("tenant_id"),
        settable("admin_state_up"),
        shown("status"),
        settable("shared"),
        shown("subnets").unfiltered(),
        settable("mtu").of("net-mtu"),
        settable("port_security_enabled")
            .of("port-security")
            .unfiltered(),
        shown("tags").of("standard-attr-tag"),
        shown("revision_number").of("standard-attr-revisions"),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Network {id} could not be found.");
        Refusal::not_found("NetworkNotFound", message)
    }

    fn create(cloud: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        Ok(Self {
            common,
            admin_state_up: body.flag("admin_state_up")?.unwrap_or(true),
            status: "ACTIVE",
            shared: body.flag("shared")?.unwrap_or(false),
            mtu: mtu(cloud, &mut body)?.unwrap_or(cloud.settings.mtu),
            port_security_enabled: body.flag("port_security_enabled")?.unwrap_or(true),
        })
    }

    fn update(self, cloud: &Cloud, mut body: Body) -> Result<Self, Refusal> {
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

    fn decorate(&self, cloud: &Cloud, view: &mut View) {
        let subnets = cloud.store.subnets_on(self.id()).map(Subnet::id);
        view.insert("subnets".into(), json!(subnets.collect::<Vec<SubnetId>>()));
        view.insert("router:external".into(), json!(false));
        view.insert("provider:network_type".into(), json!("geneve"));
    }
}

fn mtu(cloud: &Cloud, body: &mut Body) -> Result<Option<u32>, Refusal> {
    let largest = cloud.settings.mtu;
    match body.take::<u32>("mtu")? {
        // As Neutron does, 0 leaves the choice to it.
        Some(0) => Ok(Some(largest)),
        Some(mtu) if mtu > largest => Err(Refusal::input(format_args!(
            "Requested MTU is too big, maximum is {largest}"
        ))),
        other => Ok(other),
    }
}
