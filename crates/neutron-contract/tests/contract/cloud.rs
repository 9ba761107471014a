//! A real cloud, as the environment of the `openstack` command describes it.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "the environment of the openstack command is what there is"
)]

use std::env::var;

use keystone::{
    Auth, Domain, EndpointChoice, Error, Interface, Project, Scope, Session, Settings, Tls, User,
};
use neutron_client::Failure;
use neutron_contract::Subject;
use tower::ServiceExt;

/// The cloud of `OS_AUTH_URL` and so on, with the host `KURYR_TEST_HOST` and its cards' physical network
/// `KURYR_TEST_CARDS`.
pub(crate) fn from_environment() -> Subject {
    let host = var("KURYR_TEST_HOST").unwrap_or_else(|_| "host1".to_owned());
    let cards = var("KURYR_TEST_CARDS").unwrap_or_else(|_| "physnet2".to_owned());
    let session = Session::new(settings()).expect("a session");
    Subject::new(session.map_err(failure), &host, &cards)
}

fn settings() -> Settings {
    let user = User::Name {
        name: needed("OS_USERNAME"),
        domain: domain("OS_USER_DOMAIN"),
    };
    let project = Project::Name {
        name: needed("OS_PROJECT_NAME"),
        domain: domain("OS_PROJECT_DOMAIN"),
    };
    Settings {
        auth: Auth::Password {
            auth_url: needed("OS_AUTH_URL").parse().expect("a URL in OS_AUTH_URL"),
            user,
            password: needed("OS_PASSWORD").into(),
            scope: Scope::Project(project),
        },
        endpoint: EndpointChoice {
            service_type: "network".to_owned(),
            region: var("OS_REGION_NAME").ok(),
            interface: Interface::Public,
            override_url: None,
        },
        tls: Tls {
            ca_file: var("OS_CACERT").ok().map(Into::into),
            ..Tls::default()
        },
        timeout: None,
        user_agent: "kuryr-contract".to_owned(),
    }
}

fn domain(option: &str) -> Domain {
    let id = var(format!("{option}_ID")).ok();
    let name = var(format!("{option}_NAME")).ok();
    Domain::from_options(id, name).unwrap_or(Domain::Id("default".to_owned()))
}

fn needed(name: &str) -> String {
    var(name).unwrap_or_else(|_| panic!("needs a cloud: {name} is not set"))
}

/// Only a peer that could not be reached may be there the next time.
fn failure(error: Error) -> Failure {
    match error {
        Error::Unreachable { .. } => Failure::Passing(error.into()),
        Error::KeystoneSaid { status, .. } if status.is_server_error() => {
            Failure::Passing(error.into())
        }
        Error::Tls { .. }
        | Error::Unauthorized { .. }
        | Error::KeystoneSaid { .. }
        | Error::NoEndpoint { .. }
        | Error::BadEndpoint { .. }
        | Error::BadReply { .. }
        | Error::NotAPath(_) => Failure::Lasting(error.into()),
    }
}
