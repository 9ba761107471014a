//! Ports for devices of SR-IOV cards: which device, and what its card is to do for it.

use kuryr_vif::{Device, FunctionSettings, Part};
use neutron_api::Port;
use serde_json::Value;

/// The key of `binding:profile` that says where a device is.
pub(crate) const SLOT: &str = "pci_slot";

/// Whether ports of this kind are for devices of cards.
pub(super) fn is_of_card(kind: &str) -> bool {
    matches!(kind, "direct" | "macvtap" | "direct-physical")
}

/// The device that a port is for; none where it names none, or where Neutron has bound it otherwise. What
/// does not go together is told.
pub(super) fn of(port: &Port, kind: &str) -> Option<Result<Device, String>> {
    let slot = port.binding_profile.get(SLOT)?;
    let part = match (kind, port.vif_type.as_deref()?) {
        ("direct", "hw_veb") => settings(port).map(Part::Function),
        ("macvtap", "hw_veb") => settings(port).map(Part::Macvtap),
        ("direct-physical", "hostdev_physical") => whole(port),
        _ => return None,
    };
    let named = slot.as_str().ok_or_else(|| {
        format!("its binding:profile names no PCI device: pci_slot is {slot}, where it should be as \"0000:01:10.0\"")
    });
    let slot = named.and_then(|slot| {
        slot.parse()
            .map_err(|error| format!("its binding:profile names no PCI device: {error}"))
    });
    Some(slot.and_then(|slot| Ok(Device { slot, part: part? })))
}

fn settings(port: &Port) -> Result<FunctionSettings, String> {
    Ok(FunctionSettings {
        vlan: vlan(port)?,
        spoof_check: port.port_security_enabled.unwrap_or(true),
        trusted: port.binding_profile.get("trusted").is_some_and(is_true),
        rates: None,
    })
}

/// A card tags frames for its functions, and for nobody else.
fn whole(port: &Port) -> Result<Part, String> {
    match vlan(port)? {
        0 => Ok(Part::Card),
        vlan => Err(format!(
            "it is for a whole card, on a network in VLAN {vlan}: nothing would tag its frames. Use a network of type \
             flat, or a virtual function (--vnic-type direct)"
        )),
    }
}

/// Neutron writes it as a text.
fn vlan(port: &Port) -> Result<u16, String> {
    let details = port.vif_details.as_ref();
    let vlan = match details.and_then(|details| details.rest.get("vlan")) {
        None | Some(Value::Null) => return Ok(0),
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_u64().and_then(|number| u16::try_from(number).ok()),
    };
    vlan.filter(|id| *id < 4095).ok_or_else(|| {
        "Neutron has bound it to a VLAN that can't be (vlan in binding:vif_details)".to_owned()
    })
}

/// Neutron takes what it is given: Nova gives a text.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => *truth,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}
