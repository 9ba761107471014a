//! Ports: what they are and how they are bound. Their addresses: `port_addresses`.

use neutron_api::{FixedIp, MacAddress, NetworkId, PortId, PortStatus, SecurityGroupId};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::body::{Attribute, Body, fixed, settable, shown};
use crate::cloud::Cloud;
use crate::network::Network;
use crate::port_addresses::{Place, Wish};
use crate::refusal::Refusal;
use crate::resource::{Resource, View};
use crate::security_group::SecurityGroup;
use crate::settings::EmbeddedSettings;
use crate::store::Common;

/// A port as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Port {
    #[serde(flatten)]
    pub(crate) common: Common,
    pub(crate) network_id: NetworkId,
    pub(crate) mac_address: MacAddress,
    pub(crate) fixed_ips: Vec<FixedIp>,
    device_id: String,
    device_owner: String,
    pub(crate) status: PortStatus,
    admin_state_up: bool,
    #[serde(rename = "binding:host_id")]
    host_id: String,
    #[serde(rename = "binding:vif_type")]
    vif_type: String,
    #[serde(rename = "binding:vnic_type")]
    vnic_type: String,
    #[serde(rename = "binding:profile")]
    profile: Map<String, Value>,
    pub(crate) security_groups: Vec<SecurityGroupId>,
    allowed_address_pairs: Vec<Value>,
    port_security_enabled: bool,
}

impl Port {
    pub(crate) fn id(&self) -> PortId {
        self.common.id.into()
    }

    /// Whether it is Neutron's own, and no reason to keep its network or subnet.
    pub(crate) fn goes_with_network(&self) -> bool {
        matches!(
            self.device_owner.as_str(),
            "network:dhcp" | "network:distributed"
        )
    }

    fn is_bound(&self) -> bool {
        !matches!(self.vif_type.as_str(), "unbound" | "binding_failed")
    }

    /// As the mechanism driver does it: what it says depends on the host alone.
    fn bound_to(self, host_id: String, settings: &EmbeddedSettings) -> Self {
        let vif_type = match host_id.as_str() {
            "" => "unbound".to_owned(),
            host if settings.hosts.has(host) => settings.vif_type.clone(),
            _ => "binding_failed".to_owned(),
        };
        let port = Self {
            host_id,
            vif_type,
            status: PortStatus::Down,
            ..self
        };
        let is_up = settings.active_when_bound && port.is_bound();
        let status = if is_up {
            PortStatus::Active
        } else {
            PortStatus::Down
        };
        Self { status, ..port }
    }

    fn place(&self) -> Place<'_> {
        Place {
            port: self.id(),
            network: self.network_id,
            mac: self.mac_address,
            owner: &self.device_owner,
        }
    }
}

impl Resource for Port {
    const ONE: &'static str = "port";
    const MANY: &'static str = "ports";
    const ATTRIBUTES: &'static [Attribute] = &[
        shown("id"),
        settable("name"),
        settable("description"),
        fixed("project_id"),
        fixed("tenant_id"),
        fixed("network_id"),
        settable("mac_address"),
        settable("fixed_ips"),
        settable("device_id"),
        settable("device_owner"),
        shown("status"),
        settable("admin_state_up"),
        settable("binding:host_id").of("binding"),
        shown("binding:vif_type").of("binding").unfiltered(),
        shown("binding:vif_details").of("binding").unfiltered(),
        settable("binding:vnic_type").of("binding").unfiltered(),
        settable("binding:profile").of("binding").unfiltered(),
        settable("security_groups").of("security-group"),
        settable("allowed_address_pairs")
            .of("allowed-address-pairs")
            .unfiltered(),
        settable("port_security_enabled")
            .of("port-security")
            .unfiltered(),
        fixed("tags").of("standard-attr-tag"),
        shown("revision_number").of("standard-attr-revisions"),
    ];

    fn missing(id: &str) -> Refusal {
        let message = format!("Port {id} could not be found.");
        Refusal::not_found("PortNotFound", message)
    }

    fn create(cloud: &mut Cloud, common: Common, mut body: Body) -> Result<Self, Refusal> {
        // Taken and dropped, as the default set of extension drivers does.
        body.take::<Vec<String>>("tags")?;
        let network_id: NetworkId = body.need("network_id")?;
        if cloud.store.find::<Network>(network_id).is_none() {
            return Err(Network::missing(&network_id.to_string()));
        }
        let full = |most: usize| cloud.store.all::<Self>().count() >= most;
        if cloud.settings.max_ports.is_some_and(full) {
            let message = "Quota exceeded for resources: ['port'].";
            return Err(Refusal::conflict("OverQuota", message));
        }
        let wish: Option<Vec<Wish>> = body.take("fixed_ips")?;
        let mac: Option<MacAddress> = body.or("mac_address", None)?;
        let id = PortId::from(common.id);
        let device_owner = body.text("device_owner")?.unwrap_or_default();
        let groups = SecurityGroup::default_in(&cloud.store, &common.project_id);
        let default_groups = if device_owner.starts_with("network:") {
            Vec::new()
        } else {
            groups
        };
        let host_id: Option<Option<String>> = body.take("binding:host_id")?;
        let port = Self {
            mac_address: mac.unwrap_or_else(|| free_mac(cloud, network_id, id)),
            common,
            network_id,
            fixed_ips: Vec::new(),
            device_id: body.text("device_id")?.unwrap_or_default(),
            device_owner,
            status: PortStatus::Down,
            admin_state_up: body.flag("admin_state_up")?.unwrap_or(true),
            host_id: String::new(),
            vif_type: String::new(),
            vnic_type: vnic_type(&mut body)?.unwrap_or_else(|| "normal".to_owned()),
            profile: body.or("binding:profile", None)?.unwrap_or_default(),
            security_groups: groups_of(cloud, &mut body)?.unwrap_or(default_groups),
            allowed_address_pairs: body.or("allowed_address_pairs", None)?.unwrap_or_default(),
            port_security_enabled: body.flag("port_security_enabled")?.unwrap_or(true),
        };
        port.check_mac(cloud)?;
        let fixed_ips = match wish {
            Some(wish) => port.place().addresses(&cloud.store, &[], &wish)?,
            None => port.place().any_addresses(&cloud.store)?,
        };
        let host_id = host_id.flatten().unwrap_or_default();
        Ok(Self { fixed_ips, ..port }.bound_to(host_id, &cloud.settings))
    }

    fn update(self, cloud: &Cloud, mut body: Body) -> Result<Self, Refusal> {
        let mac_address: MacAddress = body.or("mac_address", self.mac_address)?;
        if mac_address != self.mac_address && self.is_bound() {
            let message = format!(
                "Unable to complete operation on port {}, port is already bound, port type: {}, \
                 old_mac {}, new_mac {mac_address}.",
                self.common.id, self.vif_type, self.mac_address
            );
            return Err(Refusal::conflict("PortBound", message));
        }
        let host_id: Option<Option<String>> = body.take("binding:host_id")?;
        let wish: Option<Vec<Wish>> = body.take("fixed_ips")?;
        let port = Self {
            mac_address,
            device_id: body.text("device_id")?.unwrap_or(self.device_id),
            device_owner: body.text("device_owner")?.unwrap_or(self.device_owner),
            admin_state_up: body.flag("admin_state_up")?.unwrap_or(self.admin_state_up),
            vnic_type: vnic_type(&mut body)?.unwrap_or(self.vnic_type),
            profile: body
                .or("binding:profile", Some(self.profile))?
                .unwrap_or_default(),
            security_groups: groups_of(cloud, &mut body)?.unwrap_or(self.security_groups),
            allowed_address_pairs: body.or("allowed_address_pairs", self.allowed_address_pairs)?,
            port_security_enabled: body
                .flag("port_security_enabled")?
                .unwrap_or(self.port_security_enabled),
            ..self
        };
        port.check_mac(cloud)?;
        let fixed_ips = match wish {
            Some(wish) => port
                .place()
                .addresses(&cloud.store, &port.fixed_ips, &wish)?,
            None => port.fixed_ips.clone(),
        };
        let port = Self { fixed_ips, ..port };
        Ok(match host_id.map(Option::unwrap_or_default) {
            Some(host_id) if host_id != port.host_id => port.bound_to(host_id, &cloud.settings),
            _ => port,
        })
    }

    fn delete(&self, _: &mut Cloud) -> Result<(), Refusal> {
        Ok(())
    }

    fn decorate(&self, cloud: &Cloud, view: &mut View) {
        let details = if self.is_bound() {
            json!(cloud.settings.vif_details)
        } else {
            json!({})
        };
        view.insert("binding:vif_details".into(), details);
    }
}

impl Port {
    fn check_mac(&self, cloud: &Cloud) -> Result<(), Refusal> {
        let (network, mac) = (self.network_id, self.mac_address);
        if mac.octets() == [0; 6] {
            return Err(Refusal::bad_request(format!(
                "Invalid input for mac_address. Reason: '{mac}' is not a valid MAC address."
            )));
        }
        if !cloud.store.has_mac(network, mac, self.id()) {
            return Ok(());
        }
        let message = format!(
            "Unable to complete operation for network {network}. The mac address {mac} is in use."
        );
        Err(Refusal::conflict("MacAddressInUse", message))
    }
}

/// A hardware address that no port of the network has, in OpenStack's range.
fn free_mac(cloud: &Cloud, network: NetworkId, port: PortId) -> MacAddress {
    loop {
        let [a, b, c, ..] = *Uuid::new_v4().as_bytes();
        let mac = MacAddress::from([0xfa, 0x16, 0x3e, a, b, c]);
        if !cloud.store.has_mac(network, mac, port) {
            return mac;
        }
    }
}

/// What an interface can be plugged as: the values of Neutron's `binding:vnic_type`.
const VNIC_TYPES: [&str; 11] = [
    "normal",
    "direct",
    "macvtap",
    "baremetal",
    "direct-physical",
    "virtio-forwarder",
    "smart-nic",
    "vdpa",
    "accelerator-direct",
    "accelerator-direct-physical",
    "remote-managed",
];

fn vnic_type(body: &mut Body) -> Result<Option<String>, Refusal> {
    let vnic_type = body.text("binding:vnic_type")?;
    match &vnic_type {
        None => Ok(None),
        Some(known) if VNIC_TYPES.contains(&known.as_str()) => Ok(vnic_type),
        Some(wrong) => Err(Refusal::bad_request(format!(
            "Invalid input for binding:vnic_type. Reason: {wrong} is not in valid_values."
        ))),
    }
}

fn groups_of(cloud: &Cloud, body: &mut Body) -> Result<Option<Vec<SecurityGroupId>>, Refusal> {
    let groups: Option<Vec<SecurityGroupId>> = body.take("security_groups")?;
    let missing = |id: &&SecurityGroupId| cloud.store.find::<SecurityGroup>(**id).is_none();
    match groups.iter().flatten().find(missing) {
        Some(id) => Err(SecurityGroup::missing(&id.to_string())),
        None => Ok(groups),
    }
}
