//! The embedded Neutron as a server and as a service.

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use form_urlencoded::parse;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use tower::{Service, service_fn};
use uuid::Uuid;

use crate::Embedded;
use crate::cloud::{Answer, Ask, Cloud};
use crate::disk::Durability;
use crate::refusal::Refusal;
use crate::settings::RangeInUse;
use crate::state::State;

/// The largest body that is read; Neutron's own limit, in bytes.
const LARGEST_BODY: usize = 114_688;

impl Embedded {
    /// As a server, to be served on a socket.
    pub fn router(&self) -> Router {
        let embedded = self.clone();
        Router::new().fallback(move |request: Request<Body>| async move {
            let (parts, body) = request.into_parts();
            let reply = match to_bytes(body, LARGEST_BODY).await {
                Ok(bytes) => embedded.exchange(Request::from_parts(parts, bytes)).await,
                Err(_) => response(too_large()),
            };
            reply.map(Body::from)
        })
    }

    /// As a service, to be called without a socket.
    pub fn service(
        &self,
    ) -> impl Service<
        Request<Bytes>,
        Response = Response<Bytes>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static {
        let embedded = self.clone();
        service_fn(move |request| {
            let embedded = embedded.clone();
            async move { Ok(embedded.exchange(request).await) }
        })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Response<Bytes> {
        response(match ask(request) {
            Ok(ask) if ask.method.is_safe() => self.state.cloud().answer(&ask),
            Ok(mut ask) => {
                if ask.method == Method::POST && ask.path.iter().any(|part| part == "subnets") {
                    ask.ranges_in_use = self.ranges_in_use().await;
                }
                let verb = move |cloud: &mut Cloud| cloud.answer(&ask);
                State::change(&self.state, Durability::Machine, verb)
                    .await
                    .unwrap_or_else(|error| Refusal::unsaved(&error).into())
            }
            Err(refusal) => refusal.into(),
        })
    }

    async fn ranges_in_use(&self) -> Vec<RangeInUse> {
        let source = self.state.cloud().settings.ranges_in_use.clone();
        match source {
            Some(source) => source.list().await,
            None => Vec::new(),
        }
    }
}

fn ask(request: Request<Bytes>) -> Result<Ask, Refusal> {
    let (parts, body) = request.into_parts();
    let host = parts
        .uri
        .host()
        .or_else(|| parts.headers.get(header::HOST)?.to_str().ok())
        .unwrap_or("localhost");
    // Some clients name the format of the reply: it is always this one.
    let path = parts.uri.path();
    let path = path.strip_suffix(".json").unwrap_or(path);
    let segments = path.split('/').filter(|part| !part.is_empty());
    Ok(Ask {
        method: parts.method,
        url: format!("http://{host}{}", parts.uri.path()),
        path: segments
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into())
            .collect(),
        query: parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect(),
        revision: revision(&parts.headers)?,
        body,
        ranges_in_use: Vec::new(),
    })
}

/// `If-Match: revision_number=N`, with or without quotes; other conditions are not for Neutron.
fn revision(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let condition = headers
        .get(header::IF_MATCH)
        .and_then(|condition| condition.to_str().ok())
        .and_then(|condition| condition.trim_matches('"').strip_prefix("revision_number="));
    let Some(number) = condition else {
        return Ok(None);
    };
    number.parse().map(Some).map_err(|_| {
        let message = "Bad if-match request: Revision number etag must be in the format of revision_number=<int>.";
        Refusal::invalid("BadRequest", message)
    })
}

fn too_large() -> Answer {
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    Refusal::new(status, "HTTPRequestEntityTooLarge", "Request is too large.").into()
}

fn response(answer: Answer) -> Response<Bytes> {
    let body = answer.body.map(|body| body.to_string()).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Ok(id) = HeaderValue::try_from(format!("req-{}", Uuid::new_v4())) {
        headers.insert("x-openstack-request-id", id);
    }
    response
}
