//! Docker writes most values as texts: what they may be, and what is said when they are not.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use kuryr_core::{EndpointId, MacAddress, NetworkId, PoolId};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value};

/// A value that Docker writes as a text.
pub(crate) trait Text: Sized {
    /// Reads it, or says what was there and what was expected.
    fn read(text: &str) -> Result<Self, String>;
}

/// A text that must be there.
pub(crate) fn text<'de, D: Deserializer<'de>, T: Text>(from: D) -> Result<T, D::Error> {
    T::read(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// A text where there may be none.
pub(crate) fn text_or_none<'de, D: Deserializer<'de>, T: Text>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    text.filter(|text| is_something(text))
        .map(|text| T::read(&text))
        .transpose()
        .map_err(D::Error::custom)
}

/// The texts of a map of which some may be none, without their names.
pub(crate) fn texts<'de, D: Deserializer<'de>, T: Text>(from: D) -> Result<Vec<T>, D::Error> {
    let texts: Option<BTreeMap<String, Option<String>>> = Option::deserialize(from)?;
    texts
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)))
        .filter(|(_, text)| is_something(text))
        .map(|(name, text)| T::read(&text).map_err(|e| D::Error::custom(format!("{name}: {e}"))))
        .collect()
}

/// Go writes a list or a map that was never made as null.
pub(crate) fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A user's options: Docker lets only texts through, other front ends to its API also the rest.
pub(crate) fn options<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let options: Option<Map<String, Value>> = Option::deserialize(from)?;
    Ok(options
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, value)| match value {
            Value::Null => None,
            Value::String(text) => Some((name, text)),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Some((name, other.to_string()))
            }
        })
        .collect())
}

/// A yes or no of Docker's own, which some of its versions write as a text.
pub(crate) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    match Value::deserialize(from)? {
        Value::Bool(flag) => Ok(flag),
        Value::Null => Ok(false),
        Value::String(text) if text.is_empty() || text.eq_ignore_ascii_case("false") => Ok(false),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        other @ (Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => Err(
            D::Error::custom(format!("{other} is not true and not false")),
        ),
    }
}

/// Go's `net.IPNet` and `net.IP` write `<nil>` where they hold nothing.
fn is_something(text: &str) -> bool {
    !text.is_empty() && text != "<nil>"
}

impl Text for IpNet {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!(
                "{text:?} is not an address with a prefix length (expected such as 10.20.0.5/24)"
            )
        })
    }
}

impl Text for IpAddr {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is not an address (expected such as 10.20.0.5)"))
    }
}

impl Text for MacAddress {
    fn read(text: &str) -> Result<Self, String> {
        parsed(text)
    }
}

impl Text for NetworkId {
    fn read(text: &str) -> Result<Self, String> {
        parsed(text)
    }
}

impl Text for EndpointId {
    fn read(text: &str) -> Result<Self, String> {
        parsed(text)
    }
}

impl Text for PoolId {
    fn read(text: &str) -> Result<Self, String> {
        parsed(text)
    }
}

/// For types whose own errors say what was there and what was expected.
fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: T::Err| e.to_string())
}
