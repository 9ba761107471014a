//! What a port is held to: security groups, port security, a QoS policy.

use std::collections::BTreeSet;

use neutron_api::{AddressPair, MacAddress, QosPolicyId, SecurityGroupId};
use serde_json::Value;

use crate::body::{Body, as_python};
use crate::cloud::Cloud;
use crate::network::Network;
use crate::port::Port;
use crate::qos_policy::QosPolicy;
use crate::refusal::Refusal;
use crate::resource::Resource as _;
use crate::security_group::SecurityGroup;

/// Whether a port is held to its addresses and groups if it does not say: as its network says, but
/// for Neutron's own.
pub(crate) fn by_default(network: &Network, device_owner: &str) -> bool {
    network.port_security_enabled && !device_owner.starts_with("network:")
}

/// A port that is held to nothing has neither groups nor addresses that it may use beside its own.
pub(crate) fn check(port: &Port, wants_groups: bool) -> Result<(), Refusal> {
    if port.port_security_enabled {
        return Ok(());
    }
    if wants_groups && !port.security_groups.is_empty() {
        return Err(Refusal::invalid(
            "PortSecurityAndIPRequiredForSecurityGroups",
            "Port security must be enabled and port must have an IP address in order to use \
             security groups.",
        ));
    }
    if !port.security_groups.is_empty() {
        let message = "Port has security group associated. Cannot disable port security or IP \
                       address until security group is removed.";
        return Err(Refusal::conflict(
            "PortSecurityPortHasSecurityGroup",
            message,
        ));
    }
    if !port.allowed_address_pairs.is_empty() {
        let message =
            "Port Security must be enabled in order to have allowed address pairs on a port.";
        return Err(Refusal::conflict(
            "AddressPairAndPortSecurityRequired",
            message,
        ));
    }
    Ok(())
}

/// The groups that are asked for; null asks for none.
pub(crate) fn groups_of(
    cloud: &Cloud,
    body: &mut Body,
) -> Result<Option<Vec<SecurityGroupId>>, Refusal> {
    let groups: Option<Option<Vec<SecurityGroupId>>> = body.take("security_groups")?;
    let groups = groups.map(Option::unwrap_or_default);
    let mut seen = BTreeSet::new();
    for id in groups.iter().flatten() {
        if !seen.insert(*id) {
            return Err(Refusal::bad_request(format!(
                "Invalid input for security_groups. Reason: Duplicate items in the list: '{id}'."
            )));
        }
    }
    let missing = |id: &&SecurityGroupId| cloud.store.find::<SecurityGroup>(**id).is_none();
    match groups.iter().flatten().find(missing) {
        Some(id) => Err(SecurityGroup::missing(&id.to_string())),
        None => Ok(groups),
    }
}

/// A policy that is asked for; one that is null is taken away.
pub(crate) fn qos_policy(
    cloud: &Cloud,
    body: &mut Body,
) -> Result<Option<Option<QosPolicyId>>, Refusal> {
    let wish: Option<Option<QosPolicyId>> = body.take("qos_policy_id")?;
    match wish.flatten() {
        Some(id) if cloud.store.find::<QosPolicy>(id).is_none() => {
            Err(QosPolicy::missing(&id.to_string()))
        }
        _ => Ok(wish),
    }
}

/// Pairs that name no hardware address get the port's.
pub(crate) fn pairs(body: &mut Body, mac: MacAddress) -> Result<Option<Vec<AddressPair>>, Refusal> {
    let pairs = match body.take::<Value>("allowed_address_pairs")? {
        None => return Ok(None),
        Some(Value::Null) => Vec::new(),
        Some(Value::Array(pairs)) => pairs,
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            let message = "Allowed address pairs must be a list.";
            return Err(Refusal::bad_request(message));
        }
    };
    let mut read: Vec<AddressPair> = Vec::new();
    for pair in pairs {
        let pair = self::pair(&pair)?;
        if read.contains(&pair) {
            let mac = pair.mac_address.map(|mac| mac.to_string());
            let mac = mac.unwrap_or_else(|| "None".to_owned());
            let message = format!(
                "Request contains duplicate address pair: mac_address {mac} ip_address {}.",
                pair.ip_address
            );
            return Err(Refusal::invalid("DuplicateAddressPairInRequest", message));
        }
        read.push(pair);
    }
    let with_mac = |pair: AddressPair| AddressPair {
        mac_address: pair.mac_address.or(Some(mac)),
        ..pair
    };
    Ok(Some(read.into_iter().map(with_mac).collect()))
}

fn pair(pair: &Value) -> Result<AddressPair, Refusal> {
    let keys = pair.as_object().into_iter().flat_map(|pair| pair.keys());
    let mut strange = keys.filter(|key| !["ip_address", "mac_address"].contains(&key.as_str()));
    if let Some(key) = strange.next() {
        let message = format!("Unrecognized attribute(s) '{key}'");
        return Err(Refusal::bad_request(message));
    }
    let Some(ip_address) = pair.get("ip_address") else {
        return Err(Refusal::invalid(
            "AllowedAddressPairsMissingIP",
            "AllowedAddressPair must contain ip_address",
        ));
    };
    let wrong = |value: &Value, what: &str| {
        let value = as_python(value);
        Refusal::bad_request(format!("'{value}' is not a valid {what}"))
    };
    let mac_address = match pair.get("mac_address") {
        None | Some(Value::Null) => None,
        Some(mac) => {
            let parsed = mac.as_str().and_then(|mac| mac.parse().ok());
            Some(parsed.ok_or_else(|| wrong(mac, "MAC address"))?)
        }
    };
    let read = AddressPair {
        ip_address: as_python(ip_address),
        mac_address,
    };
    match read.range() {
        Some(_) => Ok(read),
        None => Err(wrong(ip_address, "IP address")),
    }
}
