//! What can go wrong, as sentences for an operator.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use http::{Method, StatusCode};

use crate::settings::{EndpointChoice, Interface};
use crate::{BadUrl, Url};

/// What lies behind an error; shared, because one failed renewal may answer many callers.
pub type Cause = Arc<dyn StdError + Send + Sync>;

/// Why a request got no reply. Causes are in `source`, not in the sentence.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The peer could not be reached, fell silent, or hung up.
    #[error("could not {exchange}")]
    Unreachable {
        /// What was being done.
        exchange: Exchange,
        /// Whether the caller's request may have reached the service all the same.
        may_have_arrived: bool,
        /// What broke.
        #[source]
        source: Cause,
    },
    /// The peer's certificate, or ours, was not accepted.
    #[error(
        "could not {exchange}: no secure connection; check cafile, certfile, keyfile and insecure in [neutron]"
    )]
    Tls {
        /// What was being done.
        exchange: Exchange,
        /// What TLS found wrong.
        #[source]
        source: Cause,
    },
    /// Keystone refused the credentials.
    #[error("Keystone at {auth_url} refused {who}: {message}; check {options} in [neutron]")]
    Unauthorized {
        /// Which Keystone.
        auth_url: Url,
        /// Who was refused.
        who: String,
        /// Keystone's words.
        message: String,
        /// The options that may be wrong.
        options: &'static str,
    },
    /// Keystone answered, with neither a token nor a refusal of the credentials.
    #[error("Keystone at {auth_url} gave no token: {status}, {message}")]
    KeystoneSaid {
        /// Which Keystone.
        auth_url: Url,
        /// The HTTP status.
        status: StatusCode,
        /// Keystone's words.
        message: String,
    },
    /// The catalogue lacks what was chosen.
    #[error("the catalogue of Keystone at {auth_url} has no {wanted}; it has {offers}; check region_name and endpoint_type in [neutron]", wanted = Wanted(choice))]
    NoEndpoint {
        /// Whose catalogue.
        auth_url: Url,
        /// What was chosen.
        choice: Arc<EndpointChoice>,
        /// The types, regions and interfaces that are there.
        offers: String,
    },
    /// The catalogue has what was chosen, under a URL that is none.
    #[error(
        "the catalogue of Keystone at {auth_url} has {url:?} as URL of the {service_type} service"
    )]
    BadEndpoint {
        /// Whose catalogue.
        auth_url: Url,
        /// Which service.
        service_type: String,
        /// The catalogue's words.
        url: String,
        /// What is wrong with them.
        #[source]
        source: Arc<BadUrl>,
    },
    /// A reply came that makes no sense, or too much of it.
    #[error("could not {exchange}: the reply makes no sense")]
    BadReply {
        /// What was being done.
        exchange: Exchange,
        /// What is wrong with the reply.
        #[source]
        source: Cause,
    },
    /// The caller's request does not name a path of the service.
    #[error("a request to an OpenStack service needs a path from / on, not {0:?}")]
    NotAPath(String),
}

impl Error {
    /// Whether the caller's request may have reached the service.
    ///
    /// If not, repeating it can do no harm. A failure to get a token never reached the service.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Unreachable {
                may_have_arrived, ..
            } => *may_have_arrived,
            Self::BadReply { exchange, .. } => exchange.reaches_service(),
            Self::Tls { .. }
            | Self::Unauthorized { .. }
            | Self::KeystoneSaid { .. }
            | Self::NoEndpoint { .. }
            | Self::BadEndpoint { .. }
            | Self::NotAPath(_) => false,
        }
    }
}

/// One HTTP exchange, as it reads after "could not".
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// What for.
    pub act: Act,
    /// With whom: a URL without its query.
    pub url: String,
}

/// What an exchange is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Act {
    /// Ask Keystone for a token.
    GetToken,
    /// Carry a caller's request to the service.
    Send(Method),
}

impl Exchange {
    pub(crate) fn reaches_service(&self) -> bool {
        match self.act {
            Act::GetToken => false,
            Act::Send(_) => true,
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.act {
            Act::GetToken => write!(f, "get a token from {}", self.url),
            Act::Send(method) => write!(f, "{method} {}", self.url),
        }
    }
}

struct Wanted<'a>(&'a EndpointChoice);

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface: Interface = self.0.interface;
        write!(f, "{} {} endpoint", interface.as_str(), self.0.service_type)?;
        match &self.0.region {
            Some(region) => write!(f, " in region {region}"),
            None => Ok(()),
        }
    }
}

/// Why a session cannot be made of its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file could not be read.
    #[error("could not read {file}")]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{file} has no {what} in PEM form")]
    NotPem {
        /// Which file.
        file: PathBuf,
        /// What was expected in it.
        what: &'static str,
        /// The parser's words, if it choked.
        #[source]
        source: Option<rustls_pki_types::pem::Error>,
    },
    /// A certificate authority cannot be used.
    #[error("{file} has a certificate that can not be trusted as an authority")]
    BadAuthority {
        /// Which file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// There is a key but no certificate.
    #[error("a key file is given, but no certificate file")]
    KeyWithoutCertificate,
    /// Our own certificate and key cannot be used, or not together.
    #[error("the certificate in {file} and its key can not be used")]
    BadClientCertificate {
        /// The certificate's file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// TLS could not be set up at all.
    #[error("TLS can not be set up")]
    Tls(#[source] rustls::Error),
    /// The user agent cannot be sent.
    #[error("{0:?} can not be sent as a user agent")]
    UserAgent(String),
}
