//! What all kinds of objects have in common: being made, shown, listed, changed, deleted.

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::body::{Attribute, Body};
use crate::cloud::{Answer, Ask, Cloud};
use crate::list;
use crate::quota;
use crate::refusal::Refusal;
use crate::store::{Common, Key, Row};
use crate::tag;

/// An object as JSON.
pub(crate) type View = Map<String, Value>;

/// A kind of object.
pub(crate) trait Resource: Row + Serialize {
    /// The key of one in a body.
    const ONE: &'static str;
    /// The key of many in a body.
    const MANY: &'static str;
    /// All that a body or a filter may name.
    const ATTRIBUTES: &'static [Attribute];

    /// The refusal if there is none with this identifier.
    fn missing(id: &str) -> Refusal;

    /// Refuses what can't be asked for in one request.
    fn check_many(_bodies: &[Body]) -> Result<(), Refusal> {
        Ok(())
    }

    /// Makes one; what it returns is kept.
    fn create(cloud: &mut Cloud, common: Common, body: Body) -> Result<Self, Refusal>;

    /// Changes one; what it returns is kept.
    fn update(self, cloud: &Cloud, body: Body) -> Result<Self, Refusal>;

    /// Refuses, or removes what goes along.
    fn delete(&self, cloud: &mut Cloud) -> Result<(), Refusal>;

    /// What objects for which a condition holds are looked up by, if they are.
    fn key(_attribute: &str, _value: &str) -> Option<Key> {
        None
    }

    /// What is shown beyond what is kept.
    fn decorate(&self, _cloud: &Cloud, _view: &mut View) {}
}

/// Does what is asked of a kind of object: `path` is what follows its name.
pub(crate) fn serve<R: Resource>(
    cloud: &mut Cloud,
    ask: &Ask,
    path: &[&str],
) -> Result<Answer, Refusal> {
    match (&ask.method, path) {
        (&Method::GET, []) => list_all::<R>(cloud, ask),
        (&Method::POST, []) => create::<R>(cloud, ask),
        (&Method::GET, [id]) => show::<R>(cloud, ask, id),
        (&Method::PUT, [id]) => update::<R>(cloud, ask, id),
        (&Method::DELETE, [id]) => delete::<R>(cloud, ask, id),
        (&Method::PUT | &Method::DELETE, []) => Err(R::missing("None")),
        (_, [] | [_]) => Err(Refusal::no_such_method()),
        (_, [id, "tags", tag @ ..]) if cloud.has_extension("standard-attr-tag") => {
            // Neutron stumbles over the tags of what does not exist, and over conditions on tags.
            match find::<R>(cloud, id) {
                Ok(row) if ask.revision.is_none() => tag::serve(cloud, ask, row, tag),
                Ok(_) | Err(_) => Err(Refusal::stumble()),
            }
        }
        _ => Err(Refusal::no_such_path()),
    }
}

fn list_all<R: Resource>(cloud: &Cloud, ask: &Ask) -> Result<Answer, Refusal> {
    let wanted = list::Wanted::read(ask, &known::<R>(cloud), cloud)?;
    let page = wanted.page::<R>(cloud)?;
    let mut body = Map::from_iter([(R::MANY.to_owned(), json!(page.objects))]);
    if !page.links.is_empty() {
        body.insert(format!("{}_links", R::MANY), json!(page.links));
    }
    Ok(Answer::with(StatusCode::OK, body.into()))
}

fn show<R: Resource>(cloud: &Cloud, ask: &Ask, id: &str) -> Result<Answer, Refusal> {
    let row = find::<R>(cloud, id)?;
    let fields = list::fields(ask);
    Ok(one::<R>(
        StatusCode::OK,
        list::only(view(cloud, &row), &fields),
    ))
}

fn create<R: Resource>(cloud: &mut Cloud, ask: &Ask) -> Result<Answer, Refusal> {
    let known = known::<R>(cloud);
    let (bodies, as_many) = Body::to_create(&ask.body, (R::ONE, R::MANY), &known)?;
    R::check_many(&bodies)?;
    let mut made = Vec::new();
    for body in bodies {
        made.push(create_one::<R>(cloud, body)?);
    }
    let mut views = made.iter().map(|row| view(cloud, row));
    if as_many {
        let views: Vec<View> = views.collect();
        return Ok(Answer::with(StatusCode::CREATED, json!({ R::MANY: views })));
    }
    let view = views.next().unwrap_or_default();
    Ok(one::<R>(StatusCode::CREATED, view))
}

fn create_one<R: Resource>(cloud: &mut Cloud, mut body: Body) -> Result<R, Refusal> {
    let project: Option<String> = body.take("project_id")?;
    let tenant: Option<String> = body.take("tenant_id")?;
    let name = body.text("name")?.unwrap_or_default();
    let description = body.text("description")?.unwrap_or_default();
    let project = project.or(tenant);
    let project = project.as_ref().unwrap_or(&cloud.settings.project_id);
    quota::check::<R>(cloud, project)?;
    let common = Common::new(&name, &description, project);
    let row = R::create(cloud, common, body)?;
    cloud.store.insert(row.clone());
    Ok(row)
}

fn update<R: Resource>(cloud: &mut Cloud, ask: &Ask, id: &str) -> Result<Answer, Refusal> {
    let mut row = find::<R>(cloud, id)?;
    check_revision(cloud, ask, row.common())?;
    let mut body = Body::to_update(&ask.body, R::ONE, &known::<R>(cloud))?;
    let common = row.common_mut();
    common.name = body
        .text("name")?
        .unwrap_or(std::mem::take(&mut common.name));
    let description = std::mem::take(&mut common.description);
    common.description = body.text("description")?.unwrap_or(description);
    let row = row.update(cloud, body)?;
    let row = cloud.store.replace(row);
    Ok(one::<R>(StatusCode::OK, view(cloud, &row)))
}

fn delete<R: Resource>(cloud: &mut Cloud, ask: &Ask, id: &str) -> Result<Answer, Refusal> {
    let row = find::<R>(cloud, id)?;
    check_revision(cloud, ask, row.common())?;
    row.delete(cloud)?;
    cloud.store.remove::<R>(row.common().id);
    Ok(Answer::empty())
}

fn find<R: Resource>(cloud: &Cloud, id: &str) -> Result<R, Refusal> {
    id.parse::<Uuid>()
        .ok()
        .and_then(|id| cloud.store.find::<R>(id))
        .cloned()
        .ok_or_else(|| R::missing(id))
}

/// `If-Match: revision_number=N`.
fn check_revision(cloud: &Cloud, ask: &Ask, common: &Common) -> Result<(), Refusal> {
    let current = common.revision_number;
    match ask.revision {
        Some(_) if !cloud.has_extension("revision-if-match") => Err(Refusal::invalid(
            "BadRequest",
            "Bad if-match request: The extension to support revision number constraints is not enabled.",
        )),
        Some(expected) if expected != current => Err(Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            "RevisionNumberConstraintFailed",
            format!("Constrained to {expected}, but current revision is {current}"),
        )),
        _ => Ok(()),
    }
}

/// The attributes of a kind, without those of extensions that are not there.
fn known<R: Resource>(cloud: &Cloud) -> Vec<Attribute> {
    R::ATTRIBUTES
        .iter()
        .filter(|attribute| attribute.is_known(&cloud.settings.extensions))
        .copied()
        .collect()
}

pub(crate) fn view<R: Resource>(cloud: &Cloud, row: &R) -> View {
    let Ok(Value::Object(mut view)) = serde_json::to_value(row) else {
        return View::new();
    };
    view.insert("tenant_id".into(), json!(row.common().project_id));
    row.decorate(cloud, &mut view);
    for attribute in R::ATTRIBUTES {
        if !attribute.is_known(&cloud.settings.extensions) {
            view.remove(attribute.name);
        }
    }
    view
}

fn one<R: Resource>(status: StatusCode, view: View) -> Answer {
    let body = Map::from_iter([(R::ONE.to_owned(), Value::Object(view))]);
    Answer::with(status, body.into())
}
