//! Conditions: which objects a list has.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::scalar;
use crate::body::{Attribute, Form, truth};
use crate::cloud::{Ask, Cloud};
use crate::refusal::Refusal;
use crate::resource::View;
use crate::store::Common;

/// What an attribute must be: one of some values, or for a filter of tags, what it says.
pub(super) struct Condition<'a> {
    pub(super) key: &'a str,
    pub(super) values: Vec<Cow<'a, str>>,
}

const NO_FILTERS: [&str; 6] = [
    "fields",
    "limit",
    "marker",
    "page_reverse",
    "sort_dir",
    "sort_key",
];
const TAG_FILTERS: [&str; 4] = ["tags", "tags-any", "not-tags", "not-tags-any"];

/// The conditions of a list.
pub(super) fn read<'a>(
    ask: &'a Ask,
    known: &[Attribute],
    cloud: &Cloud,
) -> Result<Vec<Condition<'a>>, Refusal> {
    let mut conditions: Vec<Condition<'a>> = Vec::new();
    let mut strange: Vec<&str> = Vec::new();
    for (key, value) in &ask.query {
        if NO_FILTERS.contains(&key.as_str()) {
            continue;
        }
        let attribute = known
            .iter()
            .find(|attribute| attribute.name == key && attribute.is_filter);
        let form = attribute.map(|attribute| attribute.form);
        let tags = TAG_FILTERS.contains(&key.as_str()) && known.iter().any(|it| it.name == "tags");
        let Some(form) = form.or(tags.then_some(Form::Text)) else {
            if !strange.contains(&key.as_str()) {
                strange.push(key);
            }
            continue;
        };
        if value.is_empty() && !cloud.has_extension("empty-string-filtering") {
            continue;
        }
        let value = formed(key, form, value)?;
        match conditions.iter_mut().find(|condition| condition.key == key) {
            Some(condition) => condition.values.push(value),
            None => conditions.push(Condition {
                key,
                values: vec![value],
            }),
        }
    }
    if strange.is_empty() || !cloud.has_extension("filter-validation") {
        return Ok(conditions);
    }
    let strange = strange.join("', '");
    let message = format!("['{strange}'] is invalid attribute for filtering");
    Err(Refusal::bad_request(message))
}

/// A value as it is shown, or a refusal if there can be none like it.
fn formed<'a>(key: &str, form: Form, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    match form {
        Form::Truth => truth(value).map(|truth| truth.to_string().into()),
        Form::Number if value.parse::<i64>().is_err() => {
            Err(Refusal::input(format_args!("'{value}' is not an integer")))
        }
        Form::Text if key == "cidr" => match value.parse::<IpNet>() {
            Ok(range) => Ok(range.trunc().to_string().into()),
            Err(_) => Err(Refusal::input(format_args!(
                "{value} is not in a CIDR format"
            ))),
        },
        Form::Text if key == "fixed_ips" && !value.contains('=') => Err(Refusal::input(
            format_args!("'{value}' is not of the form <key>=[value]"),
        )),
        Form::Number | Form::Text => Ok(Cow::Borrowed(value)),
    }
}

impl Condition<'_> {
    /// Whether it can hold for an object that has this; cheap, as it is asked of every object.
    pub(super) fn may_hold(&self, common: &Common) -> bool {
        let mut tags = self.values.iter().flat_map(|value| value.split(','));
        let has = |tag: &str| common.tags.contains(tag);
        match self.key {
            "tags" => tags.all(has),
            "tags-any" => tags.any(has),
            "not-tags" => !tags.all(has),
            "not-tags-any" => !tags.any(has),
            "name" => {
                let mut names = self.values.iter();
                names.any(|name| name.eq_ignore_ascii_case(&common.name))
            }
            _ => true,
        }
    }

    /// Whether it holds, if it may.
    pub(super) fn holds(&self, view: &View) -> bool {
        match self.key {
            tags if TAG_FILTERS.contains(&tags) => true,
            "security_groups" => {
                let groups = view.get(self.key).and_then(Value::as_array);
                let mut groups = groups.into_iter().flatten();
                groups.any(|group| self.values.iter().any(|wanted| group == wanted.as_ref()))
            }
            "fixed_ips" => has_address(view, &self.values),
            _ => {
                let value = scalar(view.get(self.key));
                let mut values = self.values.iter();
                values.any(|wanted| value.eq_ignore_ascii_case(wanted))
            }
        }
    }
}

/// `ip_address=..` and `subnet_id=..`: of each kind any, of both kinds both, in one address.
fn has_address(view: &View, values: &[Cow<'_, str>]) -> bool {
    let pairs: Vec<(&str, &str)> = values
        .iter()
        .filter_map(|value| value.split_once('='))
        .collect();
    let all = view.get("fixed_ips").and_then(Value::as_array);
    all.into_iter().flatten().any(|fixed| {
        ["ip_address", "ip_address_substr", "subnet_id"]
            .iter()
            .all(|kind| {
                let mut wanted = pairs.iter().filter(|(key, _)| key == kind).peekable();
                wanted.peek().is_none() || wanted.any(|(key, value)| is_at(fixed, key, value))
            })
    })
}

fn is_at(fixed: &Value, key: &str, wanted: &str) -> bool {
    let address = scalar(fixed.get("ip_address"));
    match key {
        "subnet_id" => scalar(fixed.get("subnet_id")) == wanted,
        "ip_address_substr" => address.contains(wanted),
        _ => wanted
            .parse::<IpAddr>()
            .map_or(wanted == address, |wanted| wanted.to_string() == address),
    }
}
