//! How a port is bound: to which host, and how it is plugged there.

use neutron_api::{NetworkId, PortStatus, VifDetails};
use serde_json::{Map, Value, json};

use super::Port;
use crate::body::Body;
use crate::network::Segment;
use crate::refusal::Refusal;
use crate::settings::EmbeddedSettings;

impl Port {
    pub(super) fn is_bound(&self) -> bool {
        !matches!(self.vif_type.as_str(), "unbound" | "binding_failed")
    }

    /// As the mechanism drivers do it: what they say depends on the host, on what the port is for, and for a
    /// device of a card on what its network is on.
    pub(super) fn bound_to(
        self,
        host_id: String,
        segment: &Segment,
        settings: &EmbeddedSettings,
    ) -> Self {
        let vif_type = match host_id.as_str() {
            "" => "unbound",
            host if !settings.hosts.has(host) => "binding_failed",
            _ => match device(&self.vnic_type) {
                None => &settings.vif_type,
                Some(vif_type) if is_on_card(segment, settings) => vif_type,
                Some(_) => "binding_failed",
            },
        };
        let vif_type = vif_type.to_owned();
        let port = Self {
            host_id,
            vif_type,
            status: PortStatus::Down,
            ..self
        };
        // Of a whole card no agent says more.
        let is_up = port.vif_type == CARD || settings.active_when_bound && port.is_bound();
        let status = if is_up {
            PortStatus::Active
        } else {
            PortStatus::Down
        };
        Self { status, ..port }
    }

    pub(super) fn vif_details(&self, segment: &Segment, settings: &EmbeddedSettings) -> VifDetails {
        if !self.is_bound() || self.host_id.is_empty() {
            return VifDetails::default();
        }
        let details = settings.vif_details.clone();
        match self.vif_type.as_str() {
            FUNCTION | CARD => device_details(segment),
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

/// `binding:vif_type` of a port for a virtual function, and of one for a whole card.
const FUNCTION: &str = "hw_veb";
const CARD: &str = "hostdev_physical";

/// How a port of this `binding:vnic_type` is bound if it is for a device of a card.
fn device(vnic_type: &str) -> Option<&'static str> {
    match vnic_type {
        "direct" | "macvtap" => Some(FUNCTION),
        "direct-physical" => Some(CARD),
        _ => None,
    }
}

fn is_on_card(segment: &Segment, settings: &EmbeddedSettings) -> bool {
    let on = segment.physical_network.as_ref();
    matches!(segment.network_type.as_str(), "vlan" | "flat")
        && on.is_some_and(|on| settings.cards.contains(on))
}

fn device_details(segment: &Segment) -> VifDetails {
    let vlan = segment.segmentation_id.unwrap_or_default().to_string();
    VifDetails {
        rest: Map::from_iter([
            ("port_filter".to_owned(), json!(false)),
            ("connectivity".to_owned(), json!("l2")),
            ("vlan".to_owned(), json!(vlan)),
            ("bound_drivers".to_owned(), json!({"0": "sriovnicswitch"})),
        ]),
        ..VifDetails::default()
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
