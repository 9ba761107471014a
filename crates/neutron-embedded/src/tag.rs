//! Tags of any object: `/v2.0/ports/ID/tags` and `/v2.0/ports/ID/tags/TAG`.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::body;
use crate::cloud::{Answer, Ask, Cloud};
use crate::refusal::Refusal;
use crate::resource::Resource;

/// Neutron's limits: `MAX_TAGS_COUNT` and `MAX_TAG_LEN` in `neutron/extensions/tagging.py`.
const MOST: usize = 50;
const LONGEST: usize = 255;

pub(crate) fn serve<R: Resource>(
    cloud: &mut Cloud,
    ask: &Ask,
    mut row: R,
    path: &[&str],
) -> Result<Answer, Refusal> {
    let tags = &mut row.common_mut().tags;
    let answer = match (&ask.method, path) {
        (&Method::GET, []) => return Ok(Answer::with(StatusCode::OK, json!({ "tags": tags }))),
        (&Method::PUT, []) => {
            let wanted = checked::<R>(&ask.body)?;
            *tags = wanted.iter().cloned().collect();
            Answer::with(StatusCode::OK, json!({ "tags": wanted }))
        }
        (&Method::POST, []) if cloud.has_extension("tag-creation") => {
            let more = checked::<R>(&ask.body)?;
            tags.extend(more.iter().cloned());
            Answer::with(StatusCode::OK, json!({ "tags": more }))
        }
        (&Method::DELETE, []) => {
            tags.clear();
            Answer::empty()
        }
        (&Method::GET, [tag]) => return found(tags, tag).map(|()| Answer::empty()),
        (&Method::PUT, [tag]) => {
            check(tag)?;
            tags.insert((*tag).to_owned());
            check_count::<R>(tags.len())?;
            Answer::with(StatusCode::CREATED, Value::Null)
        }
        (&Method::DELETE, [tag]) => {
            found(tags, tag)?;
            tags.remove(*tag);
            Answer::empty()
        }
        (_, [] | [_]) => return Err(Refusal::no_such_method()),
        _ => return Err(Refusal::no_such_path()),
    };
    cloud.store.replace(row);
    Ok(answer)
}

fn checked<R: Resource>(bytes: &[u8]) -> Result<Vec<String>, Refusal> {
    let tags = body::tags(bytes)?;
    tags.iter().try_for_each(|tag| check(tag))?;
    let mut seen = BTreeSet::new();
    let twice: Vec<&str> = tags
        .iter()
        .filter(|tag| !seen.insert(*tag))
        .map(String::as_str)
        .collect();
    if !twice.is_empty() {
        let list = twice.join(", ");
        return Err(Refusal::input(format_args!(
            "Duplicate items in the list: '{list}'"
        )));
    }
    check_count::<R>(tags.len())?;
    Ok(tags)
}

fn check(tag: &str) -> Result<(), Refusal> {
    if tag.chars().count() <= LONGEST {
        return Ok(());
    }
    Err(Refusal::input(format_args!(
        "'{tag}' exceeds maximum length of {LONGEST}"
    )))
}

fn check_count<R: Resource>(count: usize) -> Result<(), Refusal> {
    if count <= MOST {
        return Ok(());
    }
    let message = format!(
        "Bad {} request: The number of tags exceed the per-resource limit of {MOST}.",
        R::MANY
    );
    Err(Refusal::invalid("BadRequest", message))
}

fn found(tags: &BTreeSet<String>, tag: &str) -> Result<(), Refusal> {
    if tags.contains(tag) {
        return Ok(());
    }
    let message = format!("Tag {tag} could not be found.");
    Err(Refusal::not_found("TagNotFound", message))
}
