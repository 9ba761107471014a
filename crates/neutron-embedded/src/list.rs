//! Lists: which objects, in which order, how many at once, how much of each.

use std::cmp::Ordering;
use std::net::IpAddr;

use form_urlencoded::Serializer;
use serde::Serialize;
use serde_json::Value;

use crate::body::Attribute;
use crate::cloud::{Ask, Cloud};
use crate::refusal::Refusal;
use crate::resource::View;

/// What is asked of a list.
pub(crate) struct Wanted<'a> {
    ask: &'a Ask,
    conditions: Vec<(&'a str, Vec<&'a str>)>,
    order: Vec<(&'a str, bool)>,
    limit: Option<usize>,
}

/// A part of a list.
pub(crate) struct Page {
    pub(crate) objects: Vec<View>,
    pub(crate) links: Vec<Link>,
}

/// The way to another part.
#[derive(Serialize)]
pub(crate) struct Link {
    rel: &'static str,
    href: String,
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

impl<'a> Wanted<'a> {
    pub(crate) fn read(ask: &'a Ask, known: &[Attribute], cloud: &Cloud) -> Result<Self, Refusal> {
        let limit = ask.parsed("limit", "Limit must be an integer 0 or greater")?;
        let limits = limit.filter(|limit| *limit > 0).into_iter();
        Ok(Self {
            ask,
            conditions: conditions(ask, known, cloud)?,
            order: order(ask, known)?,
            limit: limits.chain(cloud.settings.max_page).min(),
        })
    }

    /// The part that is asked for; the marker, if there is no such object.
    pub(crate) fn page(&self, views: impl Iterator<Item = View>) -> Result<Page, &'a str> {
        let marker = self
            .ask
            .parameter("marker")
            .filter(|_| self.limit.is_some());
        let mut views: Vec<View> = views.collect();
        views.sort_by(|one, other| self.compare(one, other));
        let start = match marker {
            None => 0,
            Some(marker) => views
                .iter()
                .position(|view| view.get("id").and_then(Value::as_str) == Some(marker))
                .map(|position| position + 1)
                .ok_or(marker)?,
        };
        let fields = fields(self.ask);
        let chosen = views.into_iter().skip(start).filter(|view| {
            self.conditions
                .iter()
                .all(|(key, any)| holds(view, key, any))
        });
        let Some(limit) = self.limit else {
            return Ok(Page {
                objects: chosen.map(|view| only(view, &fields)).collect(),
                links: Vec::new(),
            });
        };
        let chosen: Vec<View> = chosen.take(limit).collect();
        Ok(Page {
            links: self.links(&chosen, limit, marker),
            objects: chosen.into_iter().map(|view| only(view, &fields)).collect(),
        })
    }

    fn compare(&self, one: &View, other: &View) -> Ordering {
        self.order
            .iter()
            .map(|(key, ascending)| {
                let order = scalar(one.get(*key)).cmp(&scalar(other.get(*key)));
                if *ascending { order } else { order.reverse() }
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Neutron gives the next link with every full page, even if nothing follows.
    fn links(&self, page: &[View], limit: usize, marker: Option<&str>) -> Vec<Link> {
        let id = |view: Option<&View>| scalar(view.and_then(|view| view.get("id")));
        let next = (page.len() >= limit).then(|| self.link("next", &id(page.last())));
        let previous = (!page.is_empty() && marker.is_some())
            .then(|| self.link("previous", &id(page.first())));
        next.into_iter().chain(previous).collect()
    }

    fn link(&self, rel: &'static str, marker: &str) -> Link {
        let kept = self.ask.query.iter();
        let kept = kept.filter(|(key, _)| !matches!(key.as_str(), "marker" | "page_reverse"));
        let mut query = Serializer::new(String::new());
        query.extend_pairs(kept).append_pair("marker", marker);
        if rel == "previous" {
            query.append_pair("page_reverse", "True");
        }
        let href = format!("{}?{}", self.ask.url, query.finish());
        Link { rel, href }
    }
}

/// The fields that each object is cut down to; none means all.
pub(crate) fn fields(ask: &Ask) -> Vec<&str> {
    let fields = ask.parameters("fields");
    fields.filter(|field| !field.is_empty()).collect()
}

/// A view cut down to these fields.
pub(crate) fn only(mut view: View, fields: &[&str]) -> View {
    if !fields.is_empty() {
        view.retain(|key, _| fields.contains(&key.as_str()));
    }
    view
}

fn conditions<'a>(
    ask: &'a Ask,
    known: &[Attribute],
    cloud: &Cloud,
) -> Result<Vec<(&'a str, Vec<&'a str>)>, Refusal> {
    let mut conditions: Vec<(&str, Vec<&str>)> = Vec::new();
    for (key, value) in &ask.query {
        if NO_FILTERS.contains(&key.as_str()) {
            continue;
        }
        let is_known = TAG_FILTERS.contains(&key.as_str())
            || known
                .iter()
                .any(|attribute| attribute.name == key && attribute.is_filter);
        if !is_known && cloud.has_extension("filter-validation") {
            let message = format!("['{key}'] is invalid attribute for filtering");
            return Err(Refusal::bad_request(message));
        }
        if !is_known || (value.is_empty() && !cloud.has_extension("empty-string-filtering")) {
            continue;
        }
        match conditions.iter_mut().find(|(other, _)| other == key) {
            Some((_, values)) => values.push(value),
            None => conditions.push((key, vec![value])),
        }
    }
    Ok(conditions)
}

fn order<'a>(ask: &'a Ask, known: &[Attribute]) -> Result<Vec<(&'a str, bool)>, Refusal> {
    let keys: Vec<&str> = ask.parameters("sort_key").collect();
    let directions: Vec<&str> = ask.parameters("sort_dir").collect();
    if keys.len() != directions.len() {
        let message = "The number of sort_keys and sort_dirs must be same";
        return Err(Refusal::bad_request(message));
    }
    let mut order = Vec::new();
    for (key, direction) in keys.into_iter().zip(directions) {
        if !known.iter().any(|attribute| attribute.name == key) {
            let message = format!("['{key}'] is invalid attribute for sort_keys");
            return Err(Refusal::bad_request(message));
        }
        match direction {
            "asc" => order.push((key, true)),
            "desc" => order.push((key, false)),
            other => {
                let message = format!(
                    "['{other}'] is invalid value for sort_dirs, valid value is 'asc' and 'desc'"
                );
                return Err(Refusal::bad_request(message));
            }
        }
    }
    Ok(order)
}

/// Whether one condition holds: a tag filter takes all its values, any other one of them.
fn holds(view: &View, key: &str, values: &[&str]) -> bool {
    let has = |list: &str, item: &str| {
        let list = view.get(list).and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|value| value == item))
    };
    let mut tags = values.iter().flat_map(|value| value.split(','));
    match key {
        "tags" => tags.all(|tag| has("tags", tag)),
        "tags-any" => tags.any(|tag| has("tags", tag)),
        "not-tags" => !tags.all(|tag| has("tags", tag)),
        "not-tags-any" => !tags.any(|tag| has("tags", tag)),
        "security_groups" => values.iter().any(|group| has(key, group)),
        "fixed_ips" => has_address(view, values),
        _ => {
            let value = scalar(view.get(key));
            values
                .iter()
                .any(|wanted| value.eq_ignore_ascii_case(wanted))
        }
    }
}

/// `ip_address=..` and `subnet_id=..`: of each kind any, of both kinds both, in one address.
fn has_address(view: &View, values: &[&str]) -> bool {
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

/// A value as it stands in a query.
fn scalar(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
