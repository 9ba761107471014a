//! Lists: which objects, in which order, how many at once, how much of each.

mod condition;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use form_urlencoded::Serializer;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::body::Attribute;
use crate::cloud::{Ask, Cloud};
use crate::refusal::Refusal;
use crate::resource::{Resource, View, view};
use crate::store::{Key, Row, Store};
use condition::Condition;

/// What is asked of a list.
pub(crate) struct Wanted<'a> {
    ask: &'a Ask,
    conditions: Vec<Condition<'a>>,
    order: Vec<(&'a str, bool)>,
    limit: Option<usize>,
    is_reversed: bool,
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

impl<'a> Wanted<'a> {
    pub(crate) fn read(ask: &'a Ask, known: &[Attribute], cloud: &Cloud) -> Result<Self, Refusal> {
        let limit = ask.parsed("limit", "Limit must be an integer 0 or greater")?;
        let limits = limit.filter(|limit| *limit > 0).into_iter();
        let reverse = ask.parameter("page_reverse");
        Ok(Self {
            ask,
            conditions: condition::read(ask, known, cloud)?,
            order: order(ask, known)?,
            limit: limits.chain(cloud.settings.max_page).min(),
            is_reversed: reverse.is_some_and(|text| text.eq_ignore_ascii_case("true")),
        })
    }

    /// The part that is asked for.
    pub(crate) fn page<R: Resource>(&self, cloud: &Cloud) -> Result<Page, Refusal> {
        let marker = self.marker::<R>(cloud)?;
        let is_after = |object: &View| {
            let marker = marker.as_ref();
            marker.is_none_or(|marker| self.compare(object, marker).is_gt())
        };
        let mut objects: Vec<View> = self
            .rows::<R>(&cloud.store)
            .map(|row| view(cloud, row))
            .filter(|view| self.conditions.iter().all(|it| it.holds(view)))
            .filter(is_after)
            .collect();
        objects.sort_by(|one, other| self.compare(one, other));
        let mut links = Vec::new();
        if let Some(limit) = self.limit {
            objects.truncate(limit);
            if self.is_reversed {
                objects.reverse();
            }
            links = self.links(&objects, limit);
        }
        let fields = fields(self.ask);
        let objects = objects.into_iter().map(|view| only(view, &fields));
        Ok(Page {
            objects: objects.collect(),
            links,
        })
    }

    /// The object that a page begins after; it need not be in the list.
    fn marker<R: Resource>(&self, cloud: &Cloud) -> Result<Option<View>, Refusal> {
        let marker = self.ask.parameter("marker");
        let Some(marker) = marker.filter(|_| self.limit.is_some()) else {
            return Ok(None);
        };
        let id = marker.parse::<Uuid>().ok();
        let row = id.and_then(|id| cloud.store.find::<R>(id));
        let row = row.ok_or_else(|| R::missing(marker))?;
        Ok(Some(view(cloud, row)))
    }

    /// The objects that can fulfil the conditions, or more of them.
    fn rows<'s, R: Row + Resource>(
        &'s self,
        store: &'s Store,
    ) -> impl Iterator<Item = &'s R> + use<'s, 'a, R> {
        let rows: Box<dyn Iterator<Item = &'s R> + 's> = match self.ids::<R>(store) {
            Some(ids) => Box::new(ids.into_iter().filter_map(|id| store.find(id))),
            None => Box::new(store.all::<R>()),
        };
        rows.filter(|row| self.conditions.iter().all(|it| it.may_hold(row.common())))
    }

    /// What one of the conditions leaves, by an index.
    fn ids<R: Resource>(&self, store: &Store) -> Option<BTreeSet<Uuid>> {
        if let Some(ids) = self.conditions.iter().find(|it| it.key == "id") {
            return Some(ids.values.iter().filter_map(|id| id.parse().ok()).collect());
        }
        let keys = self.conditions.iter().filter_map(|condition| {
            let keys = condition.values.iter();
            let keys = keys.map(|value| R::key(condition.key, value));
            keys.collect::<Option<Vec<Key>>>()
        });
        let keys = keys.min()?;
        Some(keys.into_iter().flat_map(|key| store.ids(key)).collect())
    }

    /// No two objects are equal: what decides at last is the identifier.
    fn compare(&self, one: &View, other: &View) -> Ordering {
        let order = self.order.iter().map(|(key, ascending)| {
            let order = compare(one.get(*key), other.get(*key));
            if *ascending { order } else { order.reverse() }
        });
        let by_id = std::iter::once_with(|| compare(one.get("id"), other.get("id")));
        let order = order.chain(by_id).find(|order| order.is_ne());
        let order = order.unwrap_or(Ordering::Equal);
        if self.is_reversed {
            order.reverse()
        } else {
            order
        }
    }

    /// Neutron gives a link with every full page, even if nothing follows, and always one back to
    /// where the reader comes from.
    fn links(&self, page: &[View], limit: usize) -> Vec<Link> {
        let is_full = page.len() >= limit;
        let next = (is_full || self.is_reversed).then(|| self.link("next", page.last()));
        let previous = (is_full || !self.is_reversed).then(|| self.link("previous", page.first()));
        next.into_iter().chain(previous).collect()
    }

    fn link(&self, rel: &'static str, marker: Option<&View>) -> Link {
        let kept = self.ask.query.iter();
        let kept = kept.filter(|(key, _)| !matches!(key.as_str(), "marker" | "page_reverse"));
        let mut query = Serializer::new(String::new());
        query.extend_pairs(kept);
        if let Some(marker) = marker {
            query.append_pair("marker", &scalar(marker.get("id")));
        }
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

fn order<'a>(ask: &'a Ask, known: &[Attribute]) -> Result<Vec<(&'a str, bool)>, Refusal> {
    let keys: Vec<&str> = ask.parameters("sort_key").collect();
    let directions: Vec<&str> = ask.parameters("sort_dir").collect();
    if keys.len() != directions.len() {
        let message = "The number of sort_keys and sort_dirs must be same";
        return Err(Refusal::bad_request(message));
    }
    let mut order = Vec::new();
    for (key, direction) in keys.into_iter().zip(directions) {
        let mut keys = known.iter().filter(|attribute| attribute.is_sort_key);
        if !keys.any(|attribute| attribute.name == key) {
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

/// As Neutron's database orders: numbers by what they are worth, texts whatever their case.
fn compare(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    let number = |value: Option<&Value>| value.and_then(Value::as_i64);
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => {
            let text = |value| scalar(value).to_lowercase();
            text(one).cmp(&text(other))
        }
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
