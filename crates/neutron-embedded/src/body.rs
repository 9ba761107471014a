//! Reading the body of a request, attribute by attribute.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// An attribute of a kind of object: who may set it when, and which extension it belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    post: bool,
    put: bool,
    pub(crate) is_filter: bool,
    extension: Option<&'static str>,
}

/// An attribute that may be set at any time.
pub(crate) const fn settable(name: &'static str) -> Attribute {
    Attribute {
        name,
        post: true,
        put: true,
        is_filter: true,
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
            let list: Vec<Map<String, Value>> = read(many, list)?;
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
            .map_or_else(|| value.to_string(), str::to_lowercase);
        match text.as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(Refusal::input(format_args!(
                "'{text}' cannot be converted to boolean"
            ))),
        }
    }

    /// A small number, also written as a string, or a default one.
    pub(crate) fn number(&mut self, name: &str, value: u8) -> Result<u8, Refusal> {
        let Some(number) = self.0.remove(name) else {
            return Ok(value);
        };
        let text = number
            .as_str()
            .map_or_else(|| number.to_string(), str::to_owned);
        text.parse()
            .map_err(|_| Refusal::input(format_args!("'{text}' is not an integer")))
    }

    /// A text of at most 255 characters, as the database has them.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        let text: Option<String> = self.take(name)?;
        match text {
            Some(long) if long.chars().count() > 255 => Err(Refusal::bad_request(format!(
                "Invalid input for {name}. Reason: '{long}' exceeds maximum length of 255."
            ))),
            fits => Ok(fits),
        }
    }
}

/// The body of a request about tags.
pub(crate) fn tags(bytes: &[u8]) -> Result<Vec<String>, Refusal> {
    let tags = json(bytes)?.remove("tags");
    let tags = tags.ok_or_else(|| Refusal::input("Invalid tags body"))?;
    serde_json::from_value(tags).map_err(|error| Refusal::input(error.to_string()))
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
    serde_json::from_value(value).map_err(|error| {
        Refusal::bad_request(format!("Invalid input for {name}. Reason: {error}."))
    })
}
