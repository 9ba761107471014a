//! `[neutron]`'s credentials, in keystoneauth's words, as the settings of a Keystone session.

use keystone::{
    ApplicationCredential, Auth, Domain, EndpointChoice, Interface, Project, Scope, Tls, Url, User,
};
use secrecy::SecretString;

use super::options::{self as opt, Declared, Kind};
use super::sources::Sources;
use super::value::{Choice, Secret, Setting, choices};

choices! {
    /// The auth plugins that are known, by keystoneauth's names.
    AuthType {
        /// A user's password.
        Password = "password",
        /// The same.
        V3Password = "v3password",
        /// A token.
        Token = "token",
        /// The same.
        V3Token = "v3token",
        /// An application credential.
        ApplicationCredential = "v3applicationcredential",
        /// Nothing.
        None = "none",
        /// A user's password, for Neutron itself.
        HttpBasic = "http_basic",
    }
}

impl Setting for AuthType {
    fn parse(text: &str) -> Result<Self, String> {
        Self::choose(text)
    }
}

impl Setting for Option<Url> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|error| format!("this is not a URL to use: {error}"))
    }
}

/// How to reach Neutron, or `None` if no `auth_type` is given, or if a mistake was noted.
pub(crate) fn read(sources: &mut Sources) -> Option<keystone::Settings> {
    let section: Option<String> = sources.read(&opt::AUTH_SECTION);
    sources.auth_section = section.map(|name| super::sources::canonical_group(&name));
    let endpoint = EndpointChoice {
        region: sources.read(&opt::REGION_NAME),
        interface: sources.read::<Face>(&opt::ENDPOINT_TYPE).into(),
        override_url: sources.read(&opt::ENDPOINT_OVERRIDE),
        ..EndpointChoice::default()
    };
    let tls = Tls {
        ca_file: sources.read(&opt::CAFILE),
        cert_file: sources.read(&opt::CERTFILE),
        key_file: sources.read(&opt::KEYFILE),
        insecure: sources.read(&opt::INSECURE),
    };
    if tls.key_file.is_some() && tls.cert_file.is_none() {
        sources.mistake(&opt::KEYFILE, "a key without a certfile proves nothing");
    }
    let timeout = sources.read(&opt::TIMEOUT);
    Some(keystone::Settings {
        auth: auth(sources, &endpoint)?,
        endpoint,
        tls,
        timeout,
        user_agent: concat!("kuryr/", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

choices! {
    /// Which of a service's endpoints to use.
    Face {
        /// For everyone.
        Public = "public",
        /// For the cloud's own services.
        Internal = "internal",
        /// For administrators.
        Admin = "admin",
    }
}

impl Setting for Face {
    fn parse(text: &str) -> Result<Self, String> {
        Self::choose(text)
    }
}

impl From<Face> for Interface {
    fn from(face: Face) -> Self {
        match face {
            Face::Public => Self::Public,
            Face::Internal => Self::Internal,
            Face::Admin => Self::Admin,
        }
    }
}

fn auth(sources: &mut Sources, endpoint: &EndpointChoice) -> Option<Auth> {
    let mistakes = sources.mistakes.len();
    let Some(kind) = sources.read_auth::<Option<AuthType>>(&opt::AUTH_TYPE) else {
        no_auth_type(sources, mistakes);
        return None;
    };
    match kind {
        AuthType::Password | AuthType::V3Password => {
            let auth_url = required(sources, &opt::AUTH_URL);
            let user = user(sources);
            let password = secret(sources, &opt::PASSWORD);
            Some(Auth::Password {
                scope: scope(sources),
                auth_url: auth_url?,
                user: user?,
                password: password?,
            })
        }
        AuthType::Token | AuthType::V3Token => {
            let auth_url = required(sources, &opt::AUTH_URL);
            let token = secret(sources, &opt::TOKEN);
            Some(Auth::Token {
                scope: scope(sources),
                auth_url: auth_url?,
                token: token?,
            })
        }
        AuthType::ApplicationCredential => {
            let auth_url = required(sources, &opt::AUTH_URL);
            let credential = application_credential(sources);
            let secret = secret(sources, &opt::APPLICATION_CREDENTIAL_SECRET);
            Some(Auth::ApplicationCredential {
                auth_url: auth_url?,
                credential: credential?,
                secret: secret?,
            })
        }
        AuthType::None => Some(Auth::None {
            endpoint: fixed_endpoint(sources, endpoint)?,
        }),
        AuthType::HttpBasic => {
            let endpoint = fixed_endpoint(sources, endpoint);
            let username = required(sources, &opt::USERNAME);
            let password = secret(sources, &opt::PASSWORD);
            Some(Auth::HttpBasic {
                endpoint: endpoint?,
                username: username?,
                password: password?,
            })
        }
    }
}

/// Without credentials at all the program still starts; half of them are a mistake.
fn no_auth_type(sources: &mut Sources, mistakes_before: usize) {
    let given = [&opt::AUTH_URL, &opt::USERNAME, &opt::PASSWORD, &opt::TOKEN];
    let group = sources.auth_group().to_owned();
    let half = sources.auth_section.is_some()
        || given
            .iter()
            .any(|option| sources.find(&group, option).is_some());
    if half && sources.mistakes.len() == mistakes_before {
        let names: Vec<&str> = AuthType::CHOICES.iter().map(|(name, _)| *name).collect();
        sources.mistake(
            &opt::AUTH_TYPE,
            format!("is not set; valid are {}", names.join(", ")),
        );
    }
}

fn required<T>(sources: &mut Sources, option: &'static Declared) -> Option<T>
where
    Option<T>: Setting,
{
    let mistakes = sources.mistakes.len();
    let value = sources.read_auth::<Option<T>>(option);
    if value.is_none() && sources.mistakes.len() == mistakes {
        sources.mistake(option, "is needed with this auth_type, and not set");
    }
    value
}

fn secret(sources: &mut Sources, option: &'static Declared) -> Option<SecretString> {
    debug_assert_eq!(option.kind, Kind::Secret, "or it might be shown");
    required::<Secret>(sources, option).map(|secret| secret.0)
}

fn user(sources: &mut Sources) -> Option<User> {
    let id: Option<String> = sources.read_auth(&opt::USER_ID);
    let name: Option<String> = sources.read_auth(&opt::USERNAME);
    let domain = domain(sources, &opt::USER_DOMAIN_ID, &opt::USER_DOMAIN_NAME)
        .or_else(|| default_domain(sources));
    match (id, name, domain) {
        (Some(id), _, _) => Some(User::Id(id)),
        (None, Some(name), Some(domain)) => Some(User::Name { name, domain }),
        (None, Some(_), None) => {
            sources.mistake(
                &opt::USERNAME,
                "is unique in a domain only: give user_domain_name or user_domain_id too",
            );
            None
        }
        (None, None, _) => {
            sources.mistake(&opt::USERNAME, "neither username nor user_id is set");
            None
        }
    }
}

fn application_credential(sources: &mut Sources) -> Option<ApplicationCredential> {
    let id: Option<String> = sources.read_auth(&opt::APPLICATION_CREDENTIAL_ID);
    let name: Option<String> = sources.read_auth(&opt::APPLICATION_CREDENTIAL_NAME);
    match (id, name) {
        (Some(id), _) => Some(ApplicationCredential::Id(id)),
        (None, Some(name)) => Some(ApplicationCredential::Name {
            name,
            user: user(sources)?,
        }),
        (None, None) => {
            sources.mistake(
                &opt::APPLICATION_CREDENTIAL_ID,
                "neither this nor application_credential_name is set",
            );
            None
        }
    }
}

/// What the token is to be good for: the narrowest that is named.
fn scope(sources: &mut Sources) -> Scope {
    let id: Option<String> = sources.read_auth(&opt::PROJECT_ID);
    let name: Option<String> = sources.read_auth(&opt::PROJECT_NAME);
    let project_domain = domain(sources, &opt::PROJECT_DOMAIN_ID, &opt::PROJECT_DOMAIN_NAME)
        .or_else(|| default_domain(sources));
    let own_domain = domain(sources, &opt::DOMAIN_ID, &opt::DOMAIN_NAME);
    let system: Option<String> = sources.read_auth(&opt::SYSTEM_SCOPE);
    if sources
        .read_auth::<Option<String>>(&opt::TRUST_ID)
        .is_some()
    {
        sources.mistake(&opt::TRUST_ID, "trusts are not supported");
    }
    if let Some(id) = id {
        return Scope::Project(Project::Id(id));
    }
    match (name, project_domain, own_domain, system) {
        (Some(name), Some(domain), _, _) => Scope::Project(Project::Name { name, domain }),
        (Some(_), None, _, _) => {
            sources.mistake(
                &opt::PROJECT_NAME,
                "is unique in a domain only: give project_domain_name or project_domain_id too",
            );
            Scope::Unspecified
        }
        (None, _, Some(domain), _) => Scope::Domain(domain),
        (None, _, None, Some(system)) => {
            if system != "all" {
                sources.mistake(&opt::SYSTEM_SCOPE, "is not valid; valid is all");
            }
            Scope::System
        }
        (None, _, None, None) => Scope::Unspecified,
    }
}

fn domain(sources: &mut Sources, id: &'static Declared, name: &'static Declared) -> Option<Domain> {
    Domain::from_options(sources.read_auth(id), sources.read_auth(name))
}

fn default_domain(sources: &mut Sources) -> Option<Domain> {
    domain(sources, &opt::DEFAULT_DOMAIN_ID, &opt::DEFAULT_DOMAIN_NAME)
}

/// Neutron's URL where there is no catalogue to find it in.
fn fixed_endpoint(sources: &mut Sources, choice: &EndpointChoice) -> Option<Url> {
    let endpoint: Option<Url> = sources.read_auth(&opt::ENDPOINT);
    endpoint
        .or_else(|| choice.override_url.clone())
        .or_else(|| {
            sources.mistake(
                &opt::ENDPOINT,
                "is needed with this auth_type: there is no catalogue to find Neutron in",
            );
            None
        })
}
