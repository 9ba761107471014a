//! What a network is on: Neutron's `provider:` attributes.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Network;
use crate::body::Body;
use crate::refusal::Refusal;
use crate::resource::View;
use crate::settings::EmbeddedSettings;
use crate::store::Store;

/// How a network is told from others, and where.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Segment {
    pub(crate) network_type: String,
    pub(crate) physical_network: Option<String>,
    pub(crate) segmentation_id: Option<u16>,
}

/// The VLAN ids of a physical network.
const VLANS: std::ops::RangeInclusive<u16> = 100..=4094;

impl Segment {
    /// As the body wants it, which may leave all of it to Neutron.
    pub(super) fn wanted(
        store: &Store,
        settings: &EmbeddedSettings,
        body: &mut Body,
    ) -> Result<Self, Refusal> {
        let network_type = body.text("provider:network_type")?;
        let physical_network = body.text("provider:physical_network")?;
        let segmentation_id = body.number::<u16>("provider:segmentation_id")?;
        let Some(network_type) = network_type else {
            if physical_network.is_some() || segmentation_id.is_some() {
                return Err(Refusal::input("network_type required"));
            }
            return Self::by_default(settings).with_id(store, None);
        };
        let on = physical_network.clone().unwrap_or_default();
        let kind = match network_type.as_str() {
            "flat" => "flat",
            "vlan" => "VLAN",
            other => {
                return Err(Refusal::input(format_args!(
                    "network_type value '{other}' not supported"
                )));
            }
        };
        if !settings.cards.contains(&on) {
            return Err(Refusal::input(format_args!(
                "physical_network '{on}' unknown for {kind} provider network"
            )));
        }
        let segment = Self {
            network_type,
            physical_network,
            segmentation_id: None,
        };
        segment.with_id(store, segmentation_id)
    }

    /// What networks are on of which nobody has said it.
    pub(crate) fn by_default(settings: &EmbeddedSettings) -> Self {
        Self {
            network_type: settings.network_type.clone(),
            physical_network: settings.physical_network.clone(),
            segmentation_id: None,
        }
    }

    /// On a physical network, one network is untagged, and each other one has a VLAN id of its own.
    fn with_id(self, store: &Store, wanted: Option<u16>) -> Result<Self, Refusal> {
        let is_used = |segmentation_id: Option<u16>| {
            let other = Self {
                segmentation_id,
                ..self.clone()
            };
            store
                .all::<Network>()
                .any(|it| it.segment == Some(other.clone()))
        };
        let on = self.physical_network.clone().unwrap_or_default();
        let segmentation_id = match (self.network_type.as_str(), wanted) {
            ("vlan", Some(id)) if is_used(Some(id)) => {
                let message = format!(
                    "Unable to create the network. The VLAN {id} on physical network {on} is in use."
                );
                return Err(Refusal::conflict("VlanIdInUse", message));
            }
            ("vlan", Some(id)) => Some(id),
            ("vlan", None) => VLANS.into_iter().find(|id| !is_used(Some(*id))),
            ("flat", _) if is_used(None) => {
                let message =
                    format!("Unable to create the flat network. Physical network {on} is in use.");
                return Err(Refusal::conflict("FlatNetworkInUse", message));
            }
            _ => None,
        };
        Ok(Self {
            segmentation_id,
            ..self
        })
    }

    pub(super) fn show(&self, view: &mut View) {
        let mut insert = |what: &str, value| view.insert(format!("provider:{what}"), value);
        insert("network_type", json!(self.network_type));
        insert("physical_network", json!(self.physical_network));
        insert("segmentation_id", json!(self.segmentation_id));
    }
}
