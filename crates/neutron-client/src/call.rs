//! Requests written, replies read.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use neutron_api::{Change, Create, Resource, TrunkId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Act, Error};
use crate::filter::Filter;

/// A request that can be sent more than once.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    uri: String,
    body: Bytes,
    /// Only if the object has this revision.
    revision: Option<u64>,
}

impl Call {
    pub(crate) fn create<C: Create>(new: &C, act: &Act) -> Result<Self, Error> {
        let uri = format!("/v2.0/{}", path::<C::Made>());
        let body = body(C::Made::ONE, new, act)?;
        Ok(Self {
            body,
            ..Self::bare(Method::POST, uri)
        })
    }

    pub(crate) fn create_all<C: Create>(new: &[C], act: &Act) -> Result<Self, Error> {
        let uri = format!("/v2.0/{}", path::<C::Made>());
        let body = body(C::Made::MANY, &new, act)?;
        Ok(Self {
            body,
            ..Self::bare(Method::POST, uri)
        })
    }

    pub(crate) fn find<R: Resource>(id: R::Id) -> Self {
        let fields = Filter::new().fields(R::FIELDS).query();
        Self::bare(Method::GET, format!("/v2.0/{}/{id}?{fields}", path::<R>()))
    }

    pub(crate) fn list<R: Resource>(filter: &Filter, after: Option<R::Id>) -> Self {
        let mut filter = filter.clone().fields(R::FIELDS);
        if let Some(marker) = after {
            filter = filter.with("marker", marker);
        }
        Self::bare(
            Method::GET,
            format!("/v2.0/{}?{}", path::<R>(), filter.query()),
        )
    }

    pub(crate) fn update<C: Change>(
        id: <C::Changed as Resource>::Id,
        change: &C,
        revision: Option<u64>,
        act: &Act,
    ) -> Result<Self, Error> {
        let uri = format!("/v2.0/{}/{id}", path::<C::Changed>());
        let body = body(C::Changed::ONE, change, act)?;
        Ok(Self {
            body,
            revision,
            ..Self::bare(Method::PUT, uri)
        })
    }

    pub(crate) fn delete<R: Resource>(id: R::Id) -> Self {
        Self::bare(Method::DELETE, format!("/v2.0/{}/{id}", path::<R>()))
    }

    pub(crate) fn replace_tags<R: Resource>(id: R::Id, tags: &[String]) -> Self {
        let uri = format!("/v2.0/{}/{id}/tags", path::<R>());
        Self {
            body: json!({ "tags": tags }).to_string().into(),
            ..Self::bare(Method::PUT, uri)
        }
    }

    pub(crate) fn remove_tag<R: Resource>(id: R::Id, tag: &str) -> Self {
        Self::bare(
            Method::DELETE,
            format!("/v2.0/{}/{id}/tags/{tag}", path::<R>()),
        )
    }

    /// `verb` is `add_subports` or `remove_subports`.
    pub(crate) fn subports(
        trunk: TrunkId,
        verb: &str,
        subports: &impl Serialize,
        act: &Act,
    ) -> Result<Self, Error> {
        let uri = format!("/v2.0/trunks/{trunk}/{verb}");
        let body = body("sub_ports", subports, act)?;
        Ok(Self {
            body,
            ..Self::bare(Method::PUT, uri)
        })
    }

    pub(crate) fn extensions() -> Self {
        Self::bare(Method::GET, "/v2.0/extensions?fields=alias".to_owned())
    }

    fn bare(method: Method, uri: String) -> Self {
        Self {
            method,
            uri,
            body: Bytes::new(),
            revision: None,
        }
    }

    pub(crate) fn request(&self, act: &Act) -> Result<Request<Bytes>, Error> {
        let request = Request::builder()
            .method(self.method.clone())
            .uri(&self.uri)
            .header(header::ACCEPT, JSON)
            .header(header::CONTENT_TYPE, JSON);
        let request = match self.revision {
            Some(revision) => {
                request.header(header::IF_MATCH, format!("revision_number={revision}"))
            }
            None => request,
        };
        request
            .body(self.body.clone())
            .map_err(|source| Error::unwritable(act, source))
    }
}

const JSON: &str = "application/json";

/// Neutron writes `security_groups` in bodies and `security-groups` in paths.
fn path<R: Resource>() -> String {
    format!("{}{}", R::FOLDER, R::MANY.replace('_', "-"))
}

fn body(key: &str, value: &impl Serialize, act: &Act) -> Result<Bytes, Error> {
    serde_json::to_vec(&HashMap::from([(key, value)]))
        .map(Bytes::from)
        .map_err(|source| Error::unwritable(act, source))
}

/// Reads what stands under `key` in a reply's body.
pub(crate) fn under<T: DeserializeOwned>(
    act: &Act,
    reply: &Response<Bytes>,
    key: &str,
) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Keyed<T>(HashMap<String, T>);
    let unreadable = |source| Error::unreadable(act, source, reply);
    let mut keyed: Keyed<Value> = serde_json::from_slice(reply.body()).map_err(unreadable)?;
    let value = keyed.0.remove(key).unwrap_or(Value::Null);
    T::deserialize(value).map_err(unreadable)
}

/// Reads a reply that carries one object.
pub(crate) fn one<R: Resource>(act: &Act, reply: &Response<Bytes>) -> Result<R, Error> {
    under(act, reply, R::ONE)
}

/// A part of a list.
pub(crate) struct Page<R> {
    pub(crate) objects: Vec<R>,
    /// Whether Neutron has cut the list here.
    pub(crate) more: bool,
}

/// Reads a reply that carries a list, or a page of one.
pub(crate) fn page<R: Resource>(act: &Act, reply: &Response<Bytes>) -> Result<Page<R>, Error> {
    #[derive(Deserialize)]
    struct Link {
        rel: String,
    }
    // The link itself is not followed: behind a proxy it may lead elsewhere.
    let links: Option<Vec<Link>> = under(act, reply, &format!("{}_links", R::MANY))?;
    Ok(Page {
        objects: under(act, reply, R::MANY)?,
        more: links.into_iter().flatten().any(|link| link.rel == "next"),
    })
}
