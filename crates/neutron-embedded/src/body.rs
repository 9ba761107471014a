//! Reading the body of a request, attribute by attribute.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use neutron_api::MacAddress;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::refusal::Refusal;

/// An attribute of a kind of object: who may set it when, and which extension it belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    post: bool,
    put: bool,
    pub(crate) is_filter: bool,
    pub(crate) is_sort_key: bool,
    pub(crate) form: Form,
    extension: Option<&'static str>,
}

/// What the values of an attribute are, as far as lists must know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Text,
    Number,
    Truth,
}

/// An attribute that may be set at any time.
pub(crate) const fn settable(name: &'static str) -> Attribute {
    Attribute {
        name,
        post: true,
        put: true,
        is_filter: true,
        is_sort_key: true,
        form: Form::Text,
        extension: None,
    }
}

/// An attribute that may only be set when the object is made.
pub(crate) const fn fixed(name: &'static str) -> Attribute {
    Attribute {
        put: false,
        ..settable(name)
    }
}

/// An attribute that says when something was done.
pub(crate) const fn moment(name: &'static str) -> Attribute {
    shown(name)
        .of("standard-attr-timestamp")
        .unfiltered()
        .unsorted()
}

/// An attribute that only Neutron sets.
pub(crate) const fn shown(name: &'static str) -> Attribute {
    Attribute {
        post: false,
        ..fixed(name)
    }
}

impl Attribute {
    /// The same, where this extension is.
    pub(crate) const fn of(self, extension: &'static str) -> Self {
        Self {
            extension: Some(extension),
            ..self
        }
    }

    /// The same, but no condition of a list.
    pub(crate) const fn unfiltered(self) -> Self {
        Self {
            is_filter: false,
            ..self
        }
    }

    /// The same, but no list is in its order.
    pub(crate) const fn unsorted(self) -> Self {
        Self {
            is_sort_key: false,
            ..self
        }
    }

    /// The same, as a truth value.
    pub(crate) const fn truth(self) -> Self {
        Self {
            form: Form::Truth,
            ..self
        }
    }

    /// The same, as a number.
    pub(crate) const fn number(self) -> Self {
        Self {
            form: Form::Number,
            ..self
        }
    }

    pub(crate) fn is_known(&self, extensions: &[String]) -> bool {
        self.extension
            .is_none_or(|needed| extensions.iter().any(|known| known == needed))
    }
}

/// The attributes of one object in a request.
#[derive(Debug)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    /// The objects of a POST, one or many, and whether they came as many.
    pub(crate) fn to_create(
        bytes: &[u8],
        (one, many): (&str, &str),
        known: &[Attribute],
    ) -> Result<(Vec<Self>, bool), Refusal> {
        let mut body = json(bytes)?;
        if let Some(list) = body.remove(many) {
            let list: Vec<Map<String, Value>> = serde_json::from_value(list).unwrap_or_default();
            if list.is_empty() {
                return Err(Refusal::bad_request("Resources required"));
            }
            let bodies = list
                .into_iter()
                .map(|object| Self(object).checked_for_post(known));
            return Ok((bodies.collect::<Result<_, _>>()?, true));
        }
        let object = Self(object(&mut body, one)?).checked_for_post(known)?;
        Ok((vec![object], false))
    }

    /// The object of a PUT.
    pub(crate) fn to_update(bytes: &[u8], one: &str, known: &[Attribute]) -> Result<Self, Refusal> {
        let body = Self(object(&mut json(bytes)?, one)?);
        body.check_names(known)?;
        match body.first_of(known, |attribute| !attribute.put) {
            Some(name) => Err(Refusal::bad_request(format!(
                "Cannot update read-only attribute {name}"
            ))),
            None => Ok(body),
        }
    }

    fn checked_for_post(self, known: &[Attribute]) -> Result<Self, Refusal> {
        self.check_names(known)?;
        match self.first_of(known, |attribute| !attribute.post) {
            Some(name) => Err(Refusal::bad_request(format!(
                "Attribute '{name}' not allowed in POST"
            ))),
            None => Ok(self),
        }
    }

    fn check_names(&self, known: &[Attribute]) -> Result<(), Refusal> {
        let strange: Vec<&str> = self
            .0
            .keys()
            .map(String::as_str)
            .filter(|name| !known.iter().any(|attribute| attribute.name == *name))
            .collect();
        if strange.is_empty() {
            return Ok(());
        }
        let strange = strange.join(", ");
        Err(Refusal::bad_request(format!(
            "Unrecognized attribute(s) '{strange}'"
        )))
    }

    fn first_of(&self, known: &[Attribute], is: impl Fn(&Attribute) -> bool) -> Option<&str> {
        let mut wrong = known.iter().filter(|attribute| is(attribute));
        wrong
            .find(|attribute| self.0.contains_key(attribute.name))
            .map(|attribute| attribute.name)
    }

    /// The value of an attribute as it was sent.
    pub(crate) fn sent(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value of an attribute, if it is there. With `T` an `Option`, `null` is a value.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Refusal> {
        self.0
            .remove(name)
            .map(|value| read(name, value))
            .transpose()
    }

    /// The value of an attribute that must be there.
    pub(crate) fn need<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Refusal> {
        self.take(name)?.ok_or_else(|| {
            Refusal::bad_request(format!(
                "Failed to parse request. Required attribute '{name}' not specified"
            ))
        })
    }

    /// The value of an attribute, or a default one.
    pub(crate) fn or<T: DeserializeOwned>(&mut self, name: &str, value: T) -> Result<T, Refusal> {
        Ok(self.take(name)?.unwrap_or(value))
    }

    /// A truth value in any of the spellings that Neutron takes.
    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        let Some(value) = self.0.remove(name) else {
            return Ok(None);
        };
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        truth(&text).map(Some)
    }

    /// A number, also written as a string.
    pub(crate) fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Refusal> {
        let text = match self.0.remove(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text,
            Some(number) => number.to_string(),
        };
        let number = text.parse().map(Some);
        number.map_err(|_| Refusal::input(format_args!("'{text}' is not an integer")))
    }

    /// A number that must be one if it is there.
    pub(crate) fn whole_number(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        if self.0.get(name).is_some_and(Value::is_null) {
            return Err(Refusal::input("'None' is not an integer"));
        }
        self.number(name)
    }

    /// Refuses what has not been taken.
    pub(crate) fn refuse_rest(&self) -> Result<(), Refusal> {
        self.check_names(&[])
    }

    /// A text of at most 255 characters, as the database has them.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        let text = match self.0.remove(name) {
            None => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                let other = as_python(&other);
                return Err(Refusal::bad_request(format!(
                    "Invalid input for {name}. Reason: '{other}' is not a valid string."
                )));
            }
        };
        match text {
            Some(long) if long.chars().count() > 255 => Err(Refusal::bad_request(format!(
                "Invalid input for {name}. Reason: '{long}' exceeds maximum length of 255."
            ))),
            fits => Ok(fits),
        }
    }
}

/// The body of a request about a project's quotas.
pub(crate) fn quota(bytes: &[u8]) -> Result<Body, Refusal> {
    object(&mut json(bytes)?, "quota").map(Body)
}

/// The body of a request about a pool's prefixes.
pub(crate) fn prefixes(bytes: &[u8]) -> Result<Vec<IpNet>, Refusal> {
    let prefixes = json(bytes)?.remove("prefixes").unwrap_or_default();
    let prefixes: Vec<IpNet> = serde_json::from_value(prefixes).unwrap_or_default();
    if prefixes.is_empty() {
        return Err(Refusal::bad_request("Request body contains invalid data"));
    }
    Ok(prefixes)
}

/// The body of a request about a trunk's subports.
pub(crate) fn subports(bytes: &[u8]) -> Result<Value, Refusal> {
    // Neutron stumbles where there is nothing.
    json(bytes)?
        .remove("sub_ports")
        .ok_or_else(Refusal::stumble)
}

/// The body of a request about tags.
pub(crate) fn tags(bytes: &[u8]) -> Result<Vec<String>, Refusal> {
    let tags = json(bytes)?.remove("tags");
    let tags = tags.ok_or_else(|| Refusal::input("Invalid tags body"))?;
    let Value::Array(tags) = tags else {
        let what = as_python(&tags);
        return Err(Refusal::input(format_args!("'{what}' is not a list")));
    };
    let tag = |tag: Value| {
        let text = tag.as_str().map(str::to_owned);
        text.ok_or_else(|| {
            let tag = as_python(&tag);
            Refusal::input(format_args!("'{tag}' is not a valid string"))
        })
    };
    tags.into_iter().map(tag).collect()
}

/// What oslo.utils takes for a truth value.
pub(crate) fn truth(text: &str) -> Result<bool, Refusal> {
    match text.to_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Ok(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Ok(false),
        _ => Err(Refusal::input(format_args!(
            "'{text}' cannot be converted to boolean"
        ))),
    }
}

/// The first text in a value that is nothing that can be in one.
fn culprit(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let is_something = text.parse::<Uuid>().is_ok()
                || text.parse::<IpAddr>().is_ok()
                || text.parse::<IpNet>().is_ok()
                || text.parse::<MacAddress>().is_ok();
            (!is_something).then(|| text.clone())
        }
        Value::Array(values) => values.iter().find_map(culprit),
        Value::Object(object) => object.values().find_map(culprit),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// A value as Neutron's messages show it.
pub(crate) fn as_python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn json(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    // Nothing at all is as good as an object with nothing in it.
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|_| Refusal::bad_request("Body contains invalid data"))
}

fn object(body: &mut Map<String, Value>, one: &str) -> Result<Map<String, Value>, Refusal> {
    match body.remove(one) {
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(Refusal::bad_request(format!(
            "Object '{one}' contains invalid data"
        ))),
        None => Err(Refusal::bad_request(format!(
            "Unable to find '{one}' in request body"
        ))),
    }
}

fn read<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, Refusal> {
    let said = culprit(&value).unwrap_or_else(|| as_python(&value));
    serde_json::from_value(value).map_err(|error| {
        let error = error.to_string();
        // The parsers' own words tell users of Neutron nothing.
        let what = [
            ("UUID", "UUID"),
            ("IP address", "IP address"),
            ("MAC address", "MAC address"),
        ];
        let reason = match what.into_iter().find(|(part, _)| error.contains(part)) {
            Some((_, kind)) => format!("'{said}' is not a valid {kind}"),
            None => error,
        };
        Refusal::bad_request(format!("Invalid input for {name}. Reason: {reason}."))
    })
}
