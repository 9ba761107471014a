//! How a port is bound: to which host, and how it is plugged there.

use neutron_api::{NetworkId, PortStatus, VifDetails};
use serde_json::{Value, json};

use super::Port;
use crate::body::Body;
use crate::refusal::Refusal;
use crate::settings::EmbeddedSettings;

impl Port {
    pub(super) fn is_bound(&self) -> bool {
        !matches!(self.vif_type.as_str(), "unbound" | "binding_failed")
    }

    /// As the mechanism driver does it: what it says depends on the host alone.
    pub(super) fn bound_to(self, host_id: String, settings: &EmbeddedSettings) -> Self {
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

    pub(super) fn vif_details(&self, settings: &EmbeddedSettings) -> VifDetails {
        if !self.is_bound() || self.host_id.is_empty() {
            return VifDetails::default();
        }
        let details = settings.vif_details.clone();
        match self.vif_type.as_str() {
            "bridge" => VifDetails {
                bridge_name: Some(bridge_name(self.network_id)),
                ..details
            },
            _ => details,
        }
    }

    /// As OVN's trunk driver does it: what the parent has is the subport's, a host of its own is not
    /// needed.
    pub(crate) fn reached_by(
        mut self,
        parent: &Self,
        vlan: u16,
        settings: &EmbeddedSettings,
    ) -> Self {
        self.set_profile("parent_name".into(), json!(parent.id()));
        self.set_profile("tag".into(), json!(vlan));
        Self {
            device_owner: "trunk:subport".to_owned(),
            vif_type: settings.vif_type.clone(),
            status: parent.status,
            ..self
        }
    }

    /// The same, back.
    pub(crate) fn on_its_own(mut self) -> Self {
        self.set_profile("parent_name".into(), Value::Null);
        self.set_profile("tag".into(), Value::Null);
        Self {
            device_owner: String::new(),
            vif_type: "unbound".to_owned(),
            status: PortStatus::Down,
            ..self
        }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host_id
    }

    /// Sets one key of `binding:profile`, or removes it.
    pub(crate) fn set_profile(&mut self, key: String, value: Value) {
        if value.is_null() {
            self.profile.remove(&key);
        } else {
            self.profile.insert(key, value);
        }
    }
}

/// The bridge of a network, named as Neutron's Linux bridge agent names it: `brq` and the first 11
/// characters of the network's identifier.
pub fn bridge_name(network: NetworkId) -> String {
    let id = network.to_string();
    format!("brq{}", id.get(..11).unwrap_or(&id))
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

pub(super) fn vnic_type(body: &mut Body) -> Result<Option<String>, Refusal> {
    let vnic_type = body.text("binding:vnic_type")?;
    match &vnic_type {
        None => Ok(None),
        Some(known) if VNIC_TYPES.contains(&known.as_str()) => Ok(vnic_type),
        Some(wrong) => Err(Refusal::bad_request(format!(
            "Invalid input for binding:vnic_type. Reason: {wrong} is not in valid_values."
        ))),
    }
}
