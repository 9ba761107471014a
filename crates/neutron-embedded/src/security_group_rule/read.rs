//! The attributes of a security group rule, as users write them.

use ipnet::IpNet;
use neutron_api::{Direction, Protocol};
use serde_json::Value;

use super::Ethertype;
use crate::body::Body;
use crate::refusal::Refusal;

pub(super) fn direction(body: &mut Body) -> Result<Direction, Refusal> {
    let direction: Value = body.need("direction")?;
    serde_json::from_value(direction.clone()).map_err(|_| {
        let direction = direction
            .as_str()
            .map_or(direction.to_string(), str::to_owned);
        Refusal::bad_request(format!(
            "Invalid input for direction. Reason: {direction} is not in valid_values."
        ))
    })
}

pub(super) fn ethertype(body: &mut Body) -> Result<Ethertype, Refusal> {
    let Some(text) = body.take::<String>("ethertype")? else {
        return Ok(Ethertype::IPv4);
    };
    match text.to_ascii_lowercase().as_str() {
        "ipv4" => Ok(Ethertype::IPv4),
        "ipv6" => Ok(Ethertype::IPv6),
        _ => {
            let message = format!(
                "Security group rule for ethertype '{text}' not supported. Allowed values are \
                 ['IPv4', 'IPv6']."
            );
            Err(Refusal::invalid(
                "SecurityGroupRuleInvalidEtherType",
                message,
            ))
        }
    }
}

pub(super) fn protocol(body: &mut Body) -> Result<Option<Protocol>, Refusal> {
    let text = match body.take::<Value>("protocol")? {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() || text.eq_ignore_ascii_case("any") => {
            return Ok(None);
        }
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    parsed_protocol(&text).map(Some)
}

pub(super) fn parsed_protocol(text: &str) -> Result<Protocol, Refusal> {
    text.parse().map_err(|_| {
        let message = format!(
            "Security group rule protocol {text} not supported. Only protocol names and integer \
             representations [0 to 255] are supported."
        );
        Refusal::invalid("SecurityGroupRuleInvalidProtocol", message)
    })
}

pub(super) fn port(body: &mut Body, name: &str) -> Result<Option<u16>, Refusal> {
    let text = match body.take::<Value>(name)? {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    text.parse().map(Some).map_err(|_| {
        let message = format!("Invalid value for port {text}");
        Refusal::invalid("SecurityGroupInvalidPortValue", message)
    })
}

pub(super) fn prefix(body: &mut Body) -> Result<Option<IpNet>, Refusal> {
    let Some(text) = body
        .or::<Option<String>>("remote_ip_prefix", None)?
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let address = || {
        text.parse()
            .ok()
            .map(|address: std::net::IpAddr| address.into())
    };
    text.parse().ok().or_else(address).map(Some).ok_or_else(|| {
        let message = format!("Invalid CIDR {text} given as IP prefix.");
        Refusal::invalid("InvalidCIDR", message)
    })
}
