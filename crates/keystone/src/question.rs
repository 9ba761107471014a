//! The body of a token request, as Keystone's API v3 documents it.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::settings::{ApplicationCredential, Domain, Project, Scope, User};

/// What we show Keystone to get a token, and what the token is to be good for.
pub(crate) struct Question {
    pub(crate) proof: Proof,
    pub(crate) scope: Scope,
}

pub(crate) enum Proof {
    Password(User, SecretString),
    Token(SecretString),
    ApplicationCredential(ApplicationCredential, SecretString),
}

impl Question {
    /// Holds the secret in plain text: for the wire only.
    pub(crate) fn body(&self) -> Value {
        let mut auth = json!({ "identity": self.proof.identity() });
        if let Some(scope) = scope(&self.scope) {
            auth["scope"] = scope;
        }
        json!({ "auth": auth })
    }

    /// A reply of Keystone may quote what it did not like.
    pub(crate) fn redact(&self, text: &str) -> String {
        match self.proof.secret().expose_secret() {
            "" => text.to_owned(),
            secret => text.replace(secret, "***"),
        }
    }
}

impl Proof {
    fn identity(&self) -> Value {
        let secret = self.secret().expose_secret();
        match self {
            Self::Password(whose, _) => {
                let mut user = user(whose);
                user["password"] = secret.into();
                json!({ "methods": ["password"], "password": { "user": user } })
            }
            Self::Token(_) => json!({ "methods": ["token"], "token": { "id": secret } }),
            Self::ApplicationCredential(which, _) => {
                let mut credential = match which {
                    ApplicationCredential::Id(id) => json!({ "id": id }),
                    ApplicationCredential::Name { name, user: whose } => {
                        json!({ "name": name, "user": user(whose) })
                    }
                };
                credential["secret"] = secret.into();
                json!({
                    "methods": ["application_credential"],
                    "application_credential": credential,
                })
            }
        }
    }

    fn secret(&self) -> &SecretString {
        match self {
            Self::Password(_, secret)
            | Self::Token(secret)
            | Self::ApplicationCredential(_, secret) => secret,
        }
    }

    /// The options that an operator must look at when Keystone refuses.
    ///
    /// The project is among them: Keystone answers "unauthorized" for a project that does not
    /// exist or where the user has no role, too.
    pub(crate) fn options(&self) -> &'static str {
        match self {
            Self::Password(..) => "username, password, project_name and their domains",
            Self::Token(_) => "token, which may have expired, and the project",
            Self::ApplicationCredential(..) => {
                "application_credential_id (or _name and the user) and application_credential_secret"
            }
        }
    }
}

/// Who is asking, without what proves it.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(user, _) => user.fmt(f),
            Self::Token(_) => f.write_str("the given token"),
            Self::ApplicationCredential(ApplicationCredential::Id(id), _) => {
                write!(f, "application credential {id}")
            }
            Self::ApplicationCredential(ApplicationCredential::Name { name, user }, _) => {
                write!(f, "application credential {name} of {user}")
            }
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "user {id}"),
            Self::Name {
                name,
                domain: Domain::Id(domain) | Domain::Name(domain),
            } => {
                write!(f, "user {name} (domain {domain})")
            }
        }
    }
}

fn scope(scope: &Scope) -> Option<Value> {
    match scope {
        Scope::Project(Project::Id(id)) => Some(json!({ "project": { "id": id } })),
        Scope::Project(Project::Name {
            name,
            domain: within,
        }) => Some(json!({ "project": { "name": name, "domain": domain(within) } })),
        Scope::Domain(which) => Some(json!({ "domain": domain(which) })),
        Scope::System => Some(json!({ "system": { "all": true } })),
        Scope::Unspecified => None,
        Scope::Unscoped => Some("unscoped".into()),
    }
}

fn user(user: &User) -> Value {
    match user {
        User::Id(id) => json!({ "id": id }),
        User::Name {
            name,
            domain: within,
        } => json!({ "name": name, "domain": domain(within) }),
    }
}

fn domain(domain: &Domain) -> Value {
    match domain {
        Domain::Id(id) => json!({ "id": id }),
        Domain::Name(name) => json!({ "name": name }),
    }
}
