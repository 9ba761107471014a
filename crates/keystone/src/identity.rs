//! One question to Keystone, and what its answer grants.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;

use crate::Url;
use crate::carrier::Carrier;
use crate::catalog::Catalog;
use crate::error::{Act, Cause, Error, Exchange};
use crate::question::Question;
use crate::settings::EndpointChoice;

/// The Keystone that we ask, and what we ask it.
pub(crate) struct Keystone {
    pub(crate) auth_url: Url,
    pub(crate) question: Question,
    pub(crate) choice: Arc<EndpointChoice>,
}

/// A token, for how long it is good, and what with it can be reached.
pub(crate) struct Grant {
    pub(crate) token: HeaderValue,
    /// On this host's steady clock, so that no clock needs to be right.
    pub(crate) expires: Instant,
    pub(crate) lifetime: Duration,
    pub(crate) access: Access,
}

/// As whom a session acts, and on what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// Where the service is.
    pub endpoint: Url,
    /// Our user, if Keystone was asked.
    pub user_id: Option<String>,
    /// The project in which we act, if the token is for one.
    pub project_id: Option<String>,
    /// The names of the roles that we have there.
    pub roles: Vec<String>,
}

impl Keystone {
    /// Gets a new token, and the service's endpoint from its catalogue.
    pub(crate) async fn ask(&self, carrier: &Carrier) -> Result<Grant, Error> {
        let asked = Instant::now();
        let exchange = Exchange {
            act: Act::GetToken,
            url: self.token_url(),
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(&exchange.url)
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(self.question.body().to_string()))
            .map_err(|error| bad_reply(&exchange, error))?;
        let reply = carrier.carry(exchange.clone(), request).await?;
        if !reply.status().is_success() {
            return Err(self.refusal(&reply));
        }
        let token = subject_token(reply.headers()).ok_or_else(|| bad_reply(&exchange, NoToken))?;
        let Envelope { token: facts } =
            serde_json::from_slice(reply.body()).map_err(|error| bad_reply(&exchange, error))?;
        let lifetime = facts
            .lifetime(reply.headers())
            .map_err(|error| bad_reply(&exchange, error))?;
        Ok(Grant {
            token,
            expires: asked + lifetime,
            lifetime,
            access: Access {
                endpoint: self.endpoint(&facts.catalog)?,
                user_id: facts.user.map(|user| user.id),
                project_id: facts.project.map(|project| project.id),
                roles: facts.roles.into_iter().map(|role| role.name).collect(),
            },
        })
    }

    fn token_url(&self) -> String {
        self.auth_url
            .join("/v3/auth/tokens")
            .map_or_else(|_| self.auth_url.to_string(), |uri| uri.to_string())
    }

    fn endpoint(&self, catalog: &Catalog) -> Result<Url, Error> {
        if let Some(url) = &self.choice.override_url {
            return Ok(url.clone());
        }
        let url = catalog
            .find(&self.choice)
            .ok_or_else(|| Error::NoEndpoint {
                auth_url: self.auth_url.clone(),
                choice: Arc::clone(&self.choice),
                offers: catalog.summary(),
            })?;
        url.parse().map_err(|error| Error::BadEndpoint {
            auth_url: self.auth_url.clone(),
            service_type: self.choice.service_type.clone(),
            url: url.to_owned(),
            source: Arc::new(error),
        })
    }

    fn refusal(&self, reply: &Response<Bytes>) -> Error {
        let message = self.question.redact(&words(reply.body()));
        let auth_url = self.auth_url.clone();
        match reply.status() {
            StatusCode::UNAUTHORIZED => Error::Unauthorized {
                auth_url,
                who: self.question.proof.to_string(),
                message,
                options: self.question.proof.options(),
            },
            status => Error::KeystoneSaid {
                auth_url,
                status,
                message,
            },
        }
    }
}

fn bad_reply(exchange: &Exchange, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::BadReply {
        exchange: exchange.clone(),
        source: Arc::new(error) as Cause,
    }
}

fn subject_token(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut token = headers.get("x-subject-token")?.clone();
    token.set_sensitive(true);
    Some(token)
}

/// What Keystone says in an error, or else the first line of what a proxy before it says.
fn words(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        error: Fault,
    }
    #[derive(Deserialize)]
    struct Fault {
        message: String,
    }
    const MAX_WORDS: usize = 300;
    let text = match serde_json::from_slice::<Envelope>(body) {
        Ok(Envelope { error }) => error.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line: String = line
        .unwrap_or("without a word")
        .chars()
        .take(MAX_WORDS)
        .collect();
    line.trim_end_matches('.').to_owned()
}

#[derive(Deserialize)]
struct Envelope {
    token: Facts,
}

/// The parts of a token's description that matter here.
#[derive(Deserialize)]
struct Facts {
    issued_at: Option<String>,
    expires_at: String,
    #[serde(default)]
    catalog: Catalog,
    user: Option<WithId>,
    project: Option<WithId>,
    #[serde(default)]
    roles: Vec<WithName>,
}

#[derive(Deserialize)]
struct WithId {
    id: String,
}

#[derive(Deserialize)]
struct WithName {
    name: String,
}

impl Facts {
    /// From Keystone's "now" to the token's end. Our own clock, which may be wrong, is the last
    /// thing to ask.
    #[expect(clippy::disallowed_methods, reason = "the last thing to ask")]
    fn lifetime(&self, headers: &HeaderMap) -> Result<Duration, jiff::Error> {
        let expires: Timestamp = self.expires_at.parse()?;
        let now = match &self.issued_at {
            Some(issued) => issued.parse()?,
            None => date(headers).unwrap_or_else(Timestamp::now),
        };
        Ok(expires.duration_since(now).try_into().unwrap_or_default())
    }
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new()
        .parse_timestamp(headers.get(DATE)?.as_bytes())
        .ok()
}

#[derive(Debug, thiserror::Error)]
#[error("it has no X-Subject-Token header")]
struct NoToken;

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn facts(issued_at: Option<&str>, expires_at: &str) -> Facts {
        Facts {
            issued_at: issued_at.map(Into::into),
            expires_at: expires_at.into(),
            catalog: Catalog::default(),
            user: None,
            project: None,
            roles: Vec::new(),
        }
    }

    #[test]
    fn a_lifetime_is_counted_on_keystones_clock() {
        let long_ago = facts(
            Some("1999-12-31T23:30:00.000000Z"),
            "2000-01-01T00:30:00.500000Z",
        );
        let hour = long_ago.lifetime(&HeaderMap::new()).unwrap();
        assert_eq!(hour, Duration::from_millis(3_600_500));
    }

    #[test]
    fn without_a_time_of_issue_the_replys_date_counts() {
        let headers = [(
            DATE,
            HeaderValue::from_static("Fri, 31 Dec 1999 23:30:00 GMT"),
        )];
        let headers: HeaderMap = headers.into_iter().collect();
        let lifetime = facts(None, "2000-01-01T00:30:00Z").lifetime(&headers);
        assert_eq!(lifetime.unwrap(), Duration::from_secs(3600));
    }

    #[test]
    fn a_token_that_is_over_has_no_lifetime_left() {
        let over = facts(Some("2000-01-01T00:00:00Z"), "1999-01-01T00:00:00Z");
        assert_eq!(over.lifetime(&HeaderMap::new()).unwrap(), Duration::ZERO);
        assert!(facts(None, "soon").lifetime(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_proxys_page_becomes_one_short_line() {
        assert_eq!(words(b"\n <html>503</html>\nmore"), "<html>503</html>");
        assert_eq!(words(b""), "without a word");
        assert_eq!(words("ü".repeat(1000).as_bytes()).chars().count(), 300);
    }
}
