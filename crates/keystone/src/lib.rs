//! OpenStack credentials in; an authenticated transport and the service catalogue out.
//!
//! A [`Session`] is a `tower` service that carries one HTTP exchange with one OpenStack service.
//! It fetches a token when the first request comes, finds the service in the token's catalogue,
//! and renews the token before it expires or when the service refuses it.

mod carrier;
mod catalog;
mod error;
mod identity;
mod question;
mod session;
mod settings;
mod tls;
mod trust;
mod url;

pub use error::{Act, Cause, Error, Exchange, SettingsError};
pub use identity::Access;
pub use session::Session;
pub use settings::{
    ApplicationCredential, Auth, DEFAULT_TIMEOUT, Domain, EndpointChoice, Interface, Project,
    Scope, Settings, Tls, UnknownInterface, User,
};
pub use url::{BadUrl, Url};
