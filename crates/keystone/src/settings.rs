//! What a session must be told: who we are, which service we want, how to reach it.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use crate::Url;

/// Everything that a [`Session`](crate::Session) needs to know. Its `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who we are, and where that is checked.
    pub auth: Auth,
    /// Which service, and which of its endpoints.
    pub endpoint: EndpointChoice,
    /// How TLS connections are secured.
    pub tls: Tls,
    /// The longest that one exchange may take, connecting included; [`DEFAULT_TIMEOUT`] if absent.
    pub timeout: Option<Duration>,
    /// The `User-Agent` of every request.
    pub user_agent: String,
}

/// The limit of an exchange where none is configured: what the slowest Neutron call seen (a bulk
/// create on a busy cloud) needs, several times over.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Who we are, and where that is checked. `auth_url` is Keystone's, with or without `/v3`.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A user's password.
    Password {
        /// Keystone's URL.
        auth_url: Url,
        /// Whose password it is.
        user: User,
        /// The password.
        password: SecretString,
        /// What the token is to be good for.
        scope: Scope,
    },
    /// A token that was got elsewhere, exchanged for our own.
    Token {
        /// Keystone's URL.
        auth_url: Url,
        /// The token.
        token: SecretString,
        /// What our token is to be good for.
        scope: Scope,
    },
    /// An application credential; its project is its scope.
    ApplicationCredential {
        /// Keystone's URL.
        auth_url: Url,
        /// Which one.
        credential: ApplicationCredential,
        /// Its secret.
        secret: SecretString,
    },
    /// No credentials: the service trusts everyone who can reach it.
    None {
        /// The service's URL.
        endpoint: Url,
    },
    /// HTTP basic authentication by the service itself, without Keystone.
    HttpBasic {
        /// The service's URL.
        endpoint: Url,
        /// The user's name.
        username: String,
        /// The user's password.
        password: SecretString,
    },
}

/// A Keystone domain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Domain {
    /// By its id.
    Id(String),
    /// By its name.
    Name(String),
}

impl Domain {
    /// The domain that a pair of options means: if both are given, the id wins.
    pub fn from_options(id: Option<String>, name: Option<String>) -> Option<Self> {
        id.map(Self::Id).or(name.map(Self::Name))
    }
}

/// A Keystone user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum User {
    /// By id.
    Id(String),
    /// By name, which is unique in a domain only.
    Name {
        /// The user's name.
        name: String,
        /// The user's domain.
        domain: Domain,
    },
}

/// A Keystone project.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Project {
    /// By its id.
    Id(String),
    /// By its name, which is unique in a domain only.
    Name {
        /// The project's name.
        name: String,
        /// The project's domain.
        domain: Domain,
    },
}

/// What a token is good for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// A project.
    Project(Project),
    /// A domain.
    Domain(Domain),
    /// The whole cloud.
    System,
    /// Whatever Keystone gives who asks for nothing: the user's default project if there is one.
    Unspecified,
    /// Nothing but proving who we are. Such a token has no catalogue.
    Unscoped,
}

/// An application credential.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ApplicationCredential {
    /// By its id.
    Id(String),
    /// By its name, which is unique for a user only.
    Name {
        /// The credential's name.
        name: String,
        /// Whose it is.
        user: User,
    },
}

/// Which of the catalogue's endpoints to use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointChoice {
    /// The service's type in the catalogue, `network` for Neutron.
    pub service_type: String,
    /// The region; the first that matches otherwise if absent.
    pub region: Option<String>,
    /// Which of the service's faces.
    pub interface: Interface,
    /// A URL to use whatever the catalogue says.
    pub override_url: Option<Url>,
}

impl Default for EndpointChoice {
    /// Neutron, at its public endpoint in any region.
    fn default() -> Self {
        Self {
            service_type: "network".to_owned(),
            region: None,
            interface: Interface::Public,
            override_url: None,
        }
    }
}

/// The face of a service: for whom an endpoint is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interface {
    /// For everyone.
    Public,
    /// For the cloud's own services.
    Internal,
    /// For administrators.
    Admin,
}

impl Interface {
    /// As the catalogue writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Interface {
    type Err = UnknownInterface;

    /// Accepts `public` and, from the days of Keystone v2, `publicURL`.
    fn from_str(text: &str) -> Result<Self, UnknownInterface> {
        match text.strip_suffix("URL").unwrap_or(text) {
            "public" => Ok(Self::Public),
            "internal" => Ok(Self::Internal),
            "admin" => Ok(Self::Admin),
            _ => Err(UnknownInterface(text.to_owned())),
        }
    }
}

/// The text names no interface.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not one of public, internal, admin")]
pub struct UnknownInterface(String);

/// How TLS connections are secured. All files are PEM.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// The certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, followed by its intermediates.
    pub cert_file: Option<PathBuf>,
    /// The key of our own certificate; it is in `cert_file` too if absent.
    pub key_file: Option<PathBuf>,
    /// Trust any certificate, whatever `ca_file` says.
    pub insecure: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domains_id_wins_over_its_name() {
        let both = Domain::from_options(Some("id".into()), Some("name".into()));
        assert_eq!(both, Some(Domain::Id("id".into())));
        let name = Domain::from_options(None, Some("name".into()));
        assert_eq!(name, Some(Domain::Name("name".into())));
        assert_eq!(Domain::from_options(None, None), None);
    }

    #[test]
    fn an_interface_is_known_by_its_old_name_too() {
        assert_eq!("internalURL".parse(), Ok(Interface::Internal));
        assert_eq!("admin".parse(), Ok(Interface::Admin));
        assert!("private".parse::<Interface>().is_err());
    }
}
