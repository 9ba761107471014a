//! A Keystone and a service on one loopback port, which note all that they see.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use keystone::{Auth, Domain, EndpointChoice, Error, Project, Scope, Session, Settings, Tls, User};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

pub(crate) const PASSWORD: &str = "correct-horse-battery";

pub(crate) struct Cloud {
    pub(crate) at: String,
    state: Arc<Mutex<State>>,
    _accepting: JoinSet<()>,
}

/// What the cloud has seen, and how it is to behave.
pub(crate) struct State {
    /// Every token request's path and body.
    pub(crate) asked: Vec<(String, Value)>,
    /// Every service request.
    pub(crate) served: Vec<Served>,
    /// Accepted connections, which live here.
    connections: JoinSet<()>,
    pub(crate) accepted: usize,
    /// Every token ever issued, and until when it is good.
    pub(crate) issued: HashMap<String, Instant>,
    /// The lives of the next tokens; an hour thereafter.
    pub(crate) lifetimes: VecDeque<Duration>,
    /// Keystone's next replies instead of tokens.
    pub(crate) refusals: VecDeque<(StatusCode, &'static str)>,
    /// Added to the time in Keystone's replies.
    pub(crate) keystones_clock: SignedDuration,
    pub(crate) keystone_takes: Duration,
    pub(crate) service_takes: Duration,
    /// How many service requests are yet to be refused, whatever the token.
    pub(crate) refuse: usize,
    pub(crate) catalog: Value,
    /// The length of the service's replies, if it matters.
    pub(crate) reply_length: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) status: StatusCode,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let at = format!("{scheme}://127.0.0.1:{port}");
        let catalog = json!([
            { "type": "identity", "name": "keystone", "id": "k", "endpoints": [
                { "id": "1", "interface": "public", "region_id": "RegionOne", "region": "RegionOne", "url": format!("{at}/identity") },
            ] },
            { "type": "network", "name": "neutron", "id": "n", "endpoints": [
                { "id": "2", "interface": "admin", "region_id": "RegionOne", "region": "RegionOne", "url": format!("{at}/one/admin") },
                { "id": "3", "interface": "public", "region_id": "RegionOne", "region": "RegionOne", "url": format!("{at}/one/public/") },
                { "id": "4", "interface": "public", "region_id": "RegionTwo", "region": "RegionTwo", "url": format!("{at}/two/public/v2.0/") },
            ] },
        ]);
        let state = Arc::new(Mutex::new(State {
            asked: Vec::new(),
            served: Vec::new(),
            connections: JoinSet::new(),
            accepted: 0,
            issued: HashMap::new(),
            lifetimes: VecDeque::new(),
            refusals: VecDeque::new(),
            keystones_clock: SignedDuration::ZERO,
            keystone_takes: Duration::ZERO,
            service_takes: Duration::ZERO,
            refuse: 0,
            catalog,
            reply_length: None,
        }));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, tls, Arc::clone(&state)));
        Self {
            at,
            state,
            _accepting: accepting,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Settings with which this cloud lets us in.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            auth: self.password_auth(PASSWORD),
            endpoint: EndpointChoice::default(),
            tls: Tls::default(),
            timeout: Some(Duration::from_secs(10)),
            user_agent: "kuryr-test/1".to_owned(),
        }
    }

    pub(crate) fn password_auth(&self, password: &str) -> Auth {
        Auth::Password {
            auth_url: format!("{}/identity", self.at).parse().unwrap(),
            user: User::Name {
                name: "kuryr".into(),
                domain: Domain::Name("Default".into()),
            },
            password: password.into(),
            scope: Scope::Project(Project::Name {
                name: "service".into(),
                domain: Domain::Name("Default".into()),
            }),
        }
    }

    pub(crate) fn session(&self) -> Session {
        Session::new(self.settings()).unwrap()
    }

    /// Closes every connection that is open.
    pub(crate) async fn hang_up(&self) {
        self.state().connections.abort_all();
        sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn get(session: &Session, uri: &str) -> Result<Response<Bytes>, Error> {
    let request = Request::get(uri).body(Bytes::new()).unwrap();
    session.clone().oneshot(request).await
}

/// An error and all its causes on one line, as the daemon's edge shows them.
pub(crate) fn line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(line, ": {error}").unwrap();
        cause = error.source();
    }
    line
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _): (_, SocketAddr) = listener.accept().await.unwrap();
        let answer = {
            let state = Arc::clone(&state);
            service_fn(move |request| answer(Arc::clone(&state), request))
        };
        let tls = tls.clone();
        let mut state = state.lock().unwrap();
        state.accepted += 1;
        state.connections.spawn(async move {
            let served = match tls {
                None => {
                    http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer)
                        .await
                }
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => {
                        http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), answer)
                            .await
                    }
                    Err(_) => return,
                },
            };
            drop(served);
        });
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let uri = head.uri.to_string();
    let is_token_request = head.method == Method::POST && uri.ends_with("/v3/auth/tokens");
    let takes = {
        let state = state.lock().unwrap();
        if is_token_request {
            state.keystone_takes
        } else {
            state.service_takes
        }
    };
    if is_token_request {
        let body = serde_json::from_slice(&body).unwrap();
        state.lock().unwrap().asked.push((uri, body));
        sleep(takes).await;
        return Ok(state.lock().unwrap().issue());
    }
    sleep(takes).await;
    let mut state = state.lock().unwrap();
    let status = state.admit(&head.headers);
    let served = Served {
        method: head.method,
        uri,
        headers: head.headers,
        body,
        status,
    };
    let reply = match state.reply_length {
        Some(length) => vec![b' '; length],
        None => json!({ "path": served.uri, "body": String::from_utf8_lossy(&served.body) })
            .to_string()
            .into_bytes(),
    };
    state.served.push(served);
    let reply = Response::builder()
        .status(status)
        .header("x-openstack-request-id", "req-42")
        .body(Full::from(reply));
    Ok(reply.unwrap())
}

impl State {
    fn issue(&mut self) -> Response<Full<Bytes>> {
        if let Some((status, body)) = self.refusals.pop_front() {
            return Response::builder()
                .status(status)
                .body(Full::from(body))
                .unwrap();
        }
        let asked = &self.asked.last().unwrap().1["auth"]["identity"];
        let password = &asked["password"]["user"]["password"];
        if password.is_string() && password != PASSWORD {
            let fault = json!({ "error": { "code": 401, "title": "Unauthorized",
                "message": format!("The request you have made with {password} requires authentication.") } });
            let reply = Response::builder().status(StatusCode::UNAUTHORIZED);
            return reply.body(Full::from(fault.to_string())).unwrap();
        }
        let token = format!("token-{}", self.issued.len());
        let lifetime = self
            .lifetimes
            .pop_front()
            .unwrap_or(Duration::from_secs(3600));
        self.issued.insert(token.clone(), Instant::now() + lifetime);
        #[expect(
            clippy::disallowed_methods,
            reason = "a Keystone with a clock of its own"
        )]
        let now = Timestamp::now() + self.keystones_clock;
        let facts = json!({ "token": {
            "methods": ["password"],
            "user": { "id": "u1", "name": "kuryr", "domain": { "id": "default", "name": "Default" } },
            "project": { "id": "p1", "name": "service", "domain": { "id": "default", "name": "Default" } },
            "roles": [{ "id": "r1", "name": "service" }],
            "audit_ids": ["a"],
            "issued_at": format!("{now:.6}"),
            "expires_at": format!("{:.6}", now + lifetime),
            "catalog": self.catalog,
        } });
        Response::builder()
            .status(StatusCode::CREATED)
            .header("X-Subject-Token", token)
            .body(Full::from(facts.to_string()))
            .unwrap()
    }

    fn admit(&mut self, headers: &HeaderMap) -> StatusCode {
        if self.refuse > 0 {
            self.refuse -= 1;
            return StatusCode::UNAUTHORIZED;
        }
        let token = headers
            .get("x-auth-token")
            .map(|token| token.to_str().unwrap());
        match token.and_then(|token| self.issued.get(token)) {
            Some(until) if Instant::now() < *until => StatusCode::OK,
            Some(_) | None => StatusCode::UNAUTHORIZED,
        }
    }
}
