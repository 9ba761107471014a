//! The authenticated transport: one token for all callers, renewed by one of them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tower::Service;

use crate::carrier::Carrier;
use crate::error::{Act, Error, Exchange, SettingsError};
use crate::identity::{Access, Grant, Keystone};
use crate::question::{Proof, Question};
use crate::settings::{Auth, DEFAULT_TIMEOUT, EndpointChoice, Scope, Settings};
use crate::{Url, tls};

/// Carries requests to one OpenStack service on behalf of one user. Clones share the token and
/// the connections.
///
/// A request's URI is a path with an optional query, such as `/v2.0/ports?fields=id`. The reply
/// is the service's, whatever its status; an [`Error`] means that there is none.
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    carrier: Carrier,
    source: Source,
}

/// Where the right to ask the service comes from.
enum Source {
    Fixed(Option<(HeaderName, HeaderValue)>, Access),
    Keystone(Keystone, Renewal),
}

impl Session {
    /// Reads the certificate files that `settings` names. Nothing is sent before the first
    /// request.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let Settings {
            auth,
            endpoint,
            tls,
            timeout,
            user_agent,
        } = settings;
        let user_agent =
            HeaderValue::from_str(&user_agent).map_err(|_| SettingsError::UserAgent(user_agent))?;
        let limit = timeout.unwrap_or(DEFAULT_TIMEOUT);
        Ok(Self(Arc::new(Shared {
            carrier: Carrier::new(tls::client_config(&tls)?, limit, user_agent),
            source: source(auth, endpoint),
        })))
    }

    /// Makes sure that there is a token and an endpoint, and says what they give; costs nothing
    /// if they are there already.
    pub async fn authenticate(&self) -> Result<Access, Error> {
        match &self.0.source {
            Source::Fixed(_, access) => Ok(access.clone()),
            Source::Keystone(keystone, renewal) => {
                let grant = renewal.grant(keystone, &self.0.carrier, None).await?;
                Ok(grant.access.clone())
            }
        }
    }

    /// Makes sure that the service itself answers, and takes our token if it looks at it: asks it
    /// for its root and returns the status.
    pub async fn ping(&self) -> Result<StatusCode, Error> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = Uri::from_static("/");
        Ok(self.send(request).await?.status())
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let Shared { carrier, source } = &*self.0;
        let (keystone, renewal) = match source {
            Source::Fixed(header, access) => {
                return attempt(carrier, &access.endpoint, header.clone(), request).await;
            }
            Source::Keystone(keystone, renewal) => (keystone, renewal),
        };
        let grant = renewal.grant(keystone, carrier, None).await?;
        let reply = attempt_with(carrier, &grant, request.clone()).await?;
        if reply.status() != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        tracing::debug!("the service refused the token");
        let grant = renewal.grant(keystone, carrier, Some(&grant)).await?;
        attempt_with(carrier, &grant, request).await
    }
}

impl Service<Request<Bytes>> for Session {
    type Response = Response<Bytes>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let session = self.clone();
        Box::pin(async move { session.send(request).await })
    }
}

/// Shows nothing of what it holds: all of it is secret or noise.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

fn source(auth: Auth, choice: EndpointChoice) -> Source {
    let fixed = |header, endpoint| {
        let endpoint = choice.override_url.clone().unwrap_or(endpoint);
        Source::Fixed(
            header,
            Access {
                endpoint,
                user_id: None,
                project_id: None,
                roles: Vec::new(),
            },
        )
    };
    let (auth_url, proof, scope) = match auth {
        Auth::None { endpoint } => return fixed(None, endpoint),
        Auth::HttpBasic {
            endpoint,
            username,
            password,
        } => {
            let header = basic(&username, &password).map(|value| (AUTHORIZATION, value));
            return fixed(header, endpoint);
        }
        Auth::Password {
            auth_url,
            user,
            password,
            scope,
        } => (auth_url, Proof::Password(user, password), scope),
        Auth::Token {
            auth_url,
            token,
            scope,
        } => (auth_url, Proof::Token(token), scope),
        Auth::ApplicationCredential {
            auth_url,
            credential,
            secret,
        } => {
            let proof = Proof::ApplicationCredential(credential, secret);
            // Keystone refuses any scope beside an application credential, even its own.
            (auth_url, proof, Scope::Unspecified)
        }
    };
    let question = Question { proof, scope };
    let keystone = Keystone {
        auth_url,
        question,
        choice: Arc::new(choice),
    };
    Source::Keystone(keystone, Renewal::default())
}

/// `None` never happens: Base64 has only characters that a header may have.
fn basic(username: &str, password: &SecretString) -> Option<HeaderValue> {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

async fn attempt_with(
    carrier: &Carrier,
    grant: &Grant,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Error> {
    const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
    let header = Some((X_AUTH_TOKEN, grant.token.clone()));
    attempt(carrier, &grant.access.endpoint, header, request).await
}

async fn attempt(
    carrier: &Carrier,
    endpoint: &Url,
    header: Option<(HeaderName, HeaderValue)>,
    mut request: Request<Bytes>,
) -> Result<Response<Bytes>, Error> {
    let not_a_path = || Error::NotAPath(request.uri().path().to_owned());
    let path = request.uri().path_and_query().ok_or_else(not_a_path)?;
    if request.uri().authority().is_some() || !path.as_str().starts_with('/') {
        return Err(not_a_path());
    }
    let uri = endpoint.join(path.as_str()).map_err(|_| not_a_path())?;
    let url = uri.to_string();
    let url = url.split('?').next().unwrap_or_default().to_owned();
    let exchange = Exchange {
        act: Act::Send(request.method().clone()),
        url,
    };
    *request.uri_mut() = uri;
    if let Some((name, value)) = header {
        request.headers_mut().insert(name, value);
    }
    carrier.carry(exchange, request).await
}

/// The current token, and who may ask for the next one.
///
/// The lock is tokio's and is held while Keystone is asked: that is what makes one caller ask and
/// the others wait for the outcome. A caller that is cancelled meanwhile lets go of it, and the
/// next one in the queue asks instead.
#[derive(Default)]
struct Renewal(Mutex<State>);

#[derive(Default)]
struct State {
    grant: Option<Arc<Grant>>,
    /// When to look for a successor of `grant`, though it still holds.
    renew: Option<Instant>,
    failure: Option<Failure>,
}

/// The last time that Keystone was asked in vain.
struct Failure {
    ended: Instant,
    error: Error,
}

/// The time before the end of a token's life in which it is renewed: for a short-lived one, the
/// last quarter of its life.
const MARGIN: Duration = Duration::from_secs(60);

/// How long a "no" of Keystone holds: callers in a hurry must not hammer it, nor get a user locked
/// out that fast; an operator who has mended the password must not wait.
const NO_HOLDS: Duration = Duration::from_secs(1);

/// How long to live with the old token when there was no new one to be had.
const RENEW_PAUSE: Duration = Duration::from_secs(10);

impl Renewal {
    /// A token other than `refused`, the current one if it will do.
    async fn grant(
        &self,
        keystone: &Keystone,
        carrier: &Carrier,
        refused: Option<&Arc<Grant>>,
    ) -> Result<Arc<Grant>, Error> {
        let arrived = Instant::now();
        let mut state = self.0.lock().await;
        if let (Some(current), Some(refused)) = (&state.grant, refused)
            && Arc::ptr_eq(current, refused)
        {
            state.grant = None;
        }
        if let Some(grant) = state.fresh() {
            return Ok(grant);
        }
        if let Some(error) = state.standing_failure(arrived) {
            return Err(error);
        }
        match keystone.ask(carrier).await {
            Ok(grant) => Ok(state.granted(grant)),
            Err(error) => state.failed(error),
        }
    }
}

impl State {
    fn fresh(&self) -> Option<Arc<Grant>> {
        let grant = self.grant.as_ref()?;
        (Instant::now() < self.renew?).then(|| Arc::clone(grant))
    }

    /// The failure that answers a caller too who arrived at `arrived`: one that it waited for, or
    /// a recent answer of Keystone.
    fn standing_failure(&self, arrived: Instant) -> Option<Error> {
        let Failure { ended, error } = self.failure.as_ref()?;
        let answered = !matches!(error, Error::Unreachable { .. } | Error::Tls { .. });
        let holds = arrived <= *ended || (answered && ended.elapsed() < NO_HOLDS);
        holds.then(|| error.clone())
    }

    fn granted(&mut self, grant: Grant) -> Arc<Grant> {
        let grant = Arc::new(grant);
        self.renew = Some(grant.expires - MARGIN.min(grant.lifetime / 4));
        self.failure = None;
        self.grant = Some(Arc::clone(&grant));
        grant
    }

    /// A token that is still good outlives a Keystone that is away.
    fn failed(&mut self, error: Error) -> Result<Arc<Grant>, Error> {
        let now = Instant::now();
        if let Some(grant) = self.grant.as_ref().filter(|grant| now < grant.expires) {
            tracing::warn!(%error, "the token is not renewed yet");
            self.renew = Some(grant.expires.min(now + RENEW_PAUSE));
            return Ok(Arc::clone(grant));
        }
        self.failure = Some(Failure {
            ended: now,
            error: error.clone(),
        });
        Err(error)
    }
}
