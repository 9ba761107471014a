//! Carries one HTTP exchange at a time over kept connections, within limits of time and size.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{AlertDescription, ClientConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::{BoxError, Service};

use crate::error::{Cause, Error, Exchange};

/// An HTTP client that knows nothing of OpenStack. Redirects are not followed: a token must not
/// go where a reply says.
pub(crate) struct Carrier {
    client: Client<Connector, Full<Bytes>>,
    limit: Duration,
    user_agent: HeaderValue,
}

/// More than any reply of Neutron that Kuryr asks for; less than what would hurt the host.
const MAX_BODY: usize = 64 << 20;

/// A host that does not accept a connection in this time is taken for down.
const MAX_CONNECT: Duration = Duration::from_secs(10);

/// Shorter than the keep-alive of the usual servers (Apache 5 s is the exception; nginx 75 s,
/// HAProxy 60 s), so that we are the ones who close.
const MAX_IDLE: Duration = Duration::from_secs(30);

impl Carrier {
    pub(crate) fn new(tls: ClientConfig, limit: Duration, user_agent: HeaderValue) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = Connector {
            inner: HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_or_http()
                .enable_http1()
                .wrap_connector(tcp),
            // At most half of the exchange's time, so that the connector's clock runs out before
            // the exchange's: then it is certain that nothing was sent.
            limit: MAX_CONNECT.min(limit / 2),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE)
            .build(connector);
        Self {
            client,
            limit,
            user_agent,
        }
    }

    /// Sends `request`, whose URI is absolute, and returns the whole reply, whatever its status.
    pub(crate) async fn carry(
        &self,
        exchange: Exchange,
        mut request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Error> {
        request
            .headers_mut()
            .insert(USER_AGENT, self.user_agent.clone());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let started = Instant::now();
        let reply = match timeout(self.limit, self.send(&exchange, request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Unreachable {
                may_have_arrived: exchange.reaches_service(),
                source: Arc::new(TimedOut("no reply", self.limit)),
                exchange,
            }),
        };
        let duration = started.elapsed();
        match &reply {
            Ok(reply) => {
                let (status, request_id) = (reply.status().as_u16(), request_id(reply.headers()));
                tracing::debug!(%method, path, status, ?duration, request_id, "exchange");
            }
            Err(error) => tracing::debug!(%method, path, ?duration, %error, "exchange failed"),
        }
        reply
    }

    async fn send(
        &self,
        exchange: &Exchange,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Error> {
        let reply = self
            .client
            .request(request.map(Full::new))
            .await
            .map_err(|error| not_carried(exchange, error))?;
        let (head, body) = reply.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(|error| not_read(exchange, error))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-openstack-request-id")?.to_str().ok()
}

fn not_carried(exchange: &Exchange, error: hyper_util::client::legacy::Error) -> Error {
    let exchange = exchange.clone();
    let connecting = error.is_connect();
    match find::<rustls::Error>(&error) {
        Some(tls) if connecting || refuses_certificate(tls) => Error::Tls {
            source: Arc::new(tls.clone()),
            exchange,
        },
        _ => {
            // A cancelled request was still waiting to be written when its connection broke.
            let unsent = find::<hyper::Error>(&error).is_some_and(hyper::Error::is_canceled);
            Error::Unreachable {
                may_have_arrived: exchange.reaches_service() && !connecting && !unsent,
                source: Arc::new(Broken(error)),
                exchange,
            }
        }
    }
}

/// With TLS 1.3 the peer's verdict on our certificate comes only after our first request.
fn refuses_certificate(error: &rustls::Error) -> bool {
    use AlertDescription as Alert;
    let rustls::Error::AlertReceived(alert) = error else {
        return false;
    };
    [
        Alert::AccessDenied,
        Alert::BadCertificate,
        Alert::CertificateExpired,
        Alert::CertificateRequired,
        Alert::CertificateRevoked,
        Alert::CertificateUnknown,
        Alert::DecryptError,
        Alert::HandshakeFailure,
        Alert::UnknownCA,
        Alert::UnsupportedCertificate,
    ]
    .contains(alert)
}

fn not_read(exchange: &Exchange, error: BoxError) -> Error {
    let exchange = exchange.clone();
    let too_long = error.is::<LengthLimitError>();
    let source = Cause::from(error);
    if too_long {
        return Error::BadReply { exchange, source };
    }
    Error::Unreachable {
        may_have_arrived: exchange.reaches_service(),
        exchange,
        source,
    }
}

/// The first `E` among `error` and its causes.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An io::Error shows its payload's cause as its own, never the payload.
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(payload) => Some(payload),
            None => error.source(),
        };
    }
    None
}

/// hyper-util says only in which of its layers an exchange broke; this says what broke it.
#[derive(Debug)]
struct Broken(hyper_util::client::legacy::Error);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(cause) => fmt::Display::fmt(cause, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl StdError for Broken {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()?.source()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} within {1:?}")]
struct TimedOut(&'static str, Duration);

/// Gives name look-up, TCP and TLS one limit together.
#[derive(Clone)]
struct Connector {
    inner: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let limit = self.limit;
        let connecting = self.inner.call(to);
        Box::pin(async move {
            timeout(limit, connecting)
                .await
                .map_err(|_| TimedOut("no connection", limit))?
        })
    }
}
