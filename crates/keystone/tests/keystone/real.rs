//! The same against a real cloud, which `OS_*` in the environment names.

use std::env;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use keystone::{
    ApplicationCredential, Auth, Domain, EndpointChoice, Error, Project, Scope, Session, Settings,
    Tls, Url, User,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::cloud::get;

#[tokio::test]
#[ignore = "needs a cloud: make test"]
async fn a_password_opens_neutron() {
    assert_neutron_opens(password(&variable("OS_PASSWORD"))).await;
}

#[tokio::test]
#[ignore = "needs a cloud: make test"]
async fn a_wrong_password_is_refused() {
    let error = network(password("certainly not this"))
        .authenticate()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
}

#[tokio::test]
#[ignore = "needs a cloud: make test"]
async fn a_token_opens_neutron() {
    let identity = identity();
    let body = json!({ "auth": { "identity": { "methods": ["password"], "password": { "user": {
        "name": variable("OS_USERNAME"),
        "domain": { "name": variable("OS_USER_DOMAIN_NAME") },
        "password": variable("OS_PASSWORD"),
    } } } } });
    let reply = send(&identity, Method::POST, "/v3/auth/tokens", &body).await;
    assert_eq!(reply.status(), StatusCode::CREATED);
    let token = reply.headers()["x-subject-token"].to_str().unwrap();
    let scope = scope();
    assert_neutron_opens(Auth::Token {
        auth_url: auth_url(),
        token: token.into(),
        scope,
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cloud: make test"]
async fn an_application_credential_opens_neutron() {
    let identity = identity();
    let user = identity.authenticate().await.unwrap().user_id.unwrap();
    let all = format!("/v3/users/{user}/application_credentials");
    let name = format!("kuryr-test-{}", std::process::id());
    let secret = "not secret for longer than this test";
    let body = json!({ "application_credential": { "name": name, "secret": secret } });
    let reply = send(&identity, Method::POST, &all, &body).await;
    assert_eq!(reply.status(), StatusCode::CREATED, "{:?}", reply.body());
    let made: Value = serde_json::from_slice(reply.body()).unwrap();
    let id = made["application_credential"]["id"]
        .as_str()
        .unwrap()
        .to_owned();

    let auth = |credential| Auth::ApplicationCredential {
        auth_url: auth_url(),
        credential,
        secret: secret.into(),
    };
    let by_id = network(auth(ApplicationCredential::Id(id.clone())))
        .authenticate()
        .await;
    let by_name = ApplicationCredential::Name {
        name,
        user: User::Id(user),
    };
    let by_name = get(&network(auth(by_name)), "/v2.0/extensions").await;

    let reply = send(
        &identity,
        Method::DELETE,
        &format!("{all}/{id}"),
        &Value::Null,
    )
    .await;
    assert_eq!(reply.status(), StatusCode::NO_CONTENT);
    assert!(by_id.unwrap().project_id.is_some());
    assert_eq!(by_name.unwrap().status(), StatusCode::OK);
}

async fn assert_neutron_opens(auth: Auth) {
    let session = network(auth);
    let reply = get(&session, "/v2.0/extensions?fields=alias")
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    let reply: Value = serde_json::from_slice(reply.body()).unwrap();
    let extensions = reply["extensions"].as_array().unwrap();
    assert!(
        extensions
            .iter()
            .any(|extension| extension["alias"] == "subnet_allocation")
    );
    assert!(session.ping().await.unwrap().as_u16() < 400);
}

async fn send(session: &Session, method: Method, path: &str, body: &Value) -> Response<Bytes> {
    let body = if body.is_null() {
        Bytes::new()
    } else {
        Bytes::from(body.to_string())
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    session.clone().oneshot(request).await.unwrap()
}

fn network(auth: Auth) -> Session {
    session(auth, EndpointChoice::default())
}

fn identity() -> Session {
    let endpoint = EndpointChoice {
        service_type: "identity".into(),
        ..EndpointChoice::default()
    };
    session(password(&variable("OS_PASSWORD")), endpoint)
}

fn session(auth: Auth, endpoint: EndpointChoice) -> Session {
    Session::new(Settings {
        auth,
        endpoint,
        tls: Tls::default(),
        timeout: Some(Duration::from_secs(60)),
        user_agent: "kuryr-test/1".to_owned(),
    })
    .unwrap()
}

fn password(password: &str) -> Auth {
    Auth::Password {
        auth_url: auth_url(),
        user: User::Name {
            name: variable("OS_USERNAME"),
            domain: Domain::Name(variable("OS_USER_DOMAIN_NAME")),
        },
        password: password.into(),
        scope: scope(),
    }
}

fn scope() -> Scope {
    Scope::Project(Project::Name {
        name: variable("OS_PROJECT_NAME"),
        domain: Domain::Name(variable("OS_PROJECT_DOMAIN_NAME")),
    })
}

fn auth_url() -> Url {
    variable("OS_AUTH_URL").parse().unwrap()
}

#[allow(
    clippy::disallowed_methods,
    reason = "which cloud to test with is no configuration of the program"
)]
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} must be set, as by an openrc file"))
}
