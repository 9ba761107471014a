//! Every way to prove who we are, as Keystone's API v3 documents it.

use http::StatusCode;
use keystone::{ApplicationCredential, Auth, Domain, Project, Scope, Session, Url, User};
use serde_json::{Value, json};

use crate::cloud::{Cloud, PASSWORD, get};

async fn asked(auth: impl FnOnce(Url) -> Auth) -> Value {
    let cloud = Cloud::start().await;
    let auth = auth(cloud.at.parse().unwrap());
    let session = Session::new(keystone::Settings {
        auth,
        ..cloud.settings()
    })
    .unwrap();
    session.authenticate().await.unwrap();
    let state = cloud.state();
    assert_eq!(state.asked.len(), 1);
    state.asked[0].1.clone()
}

fn password(user: User, scope: Scope) -> impl FnOnce(Url) -> Auth {
    |auth_url| Auth::Password {
        auth_url,
        user,
        password: PASSWORD.into(),
        scope,
    }
}

fn by_id() -> User {
    User::Id("ee4dfb".into())
}

#[tokio::test]
async fn a_password_is_shown_with_user_and_domain_by_name() {
    let user = User::Name {
        name: "admin".into(),
        domain: Domain::Name("Default".into()),
    };
    assert_eq!(
        asked(password(user, Scope::Unspecified)).await,
        json!({ "auth": { "identity": {
            "methods": ["password"],
            "password": { "user": {
                "name": "admin", "domain": { "name": "Default" }, "password": PASSWORD,
            } },
        } } })
    );
}

#[tokio::test]
async fn a_password_is_shown_with_a_users_id() {
    let project = Scope::Project(Project::Id("a6944d".into()));
    assert_eq!(
        asked(password(by_id(), project)).await,
        json!({ "auth": {
            "identity": {
                "methods": ["password"],
                "password": { "user": { "id": "ee4dfb", "password": PASSWORD } },
            },
            "scope": { "project": { "id": "a6944d" } },
        } })
    );
}

#[tokio::test]
async fn every_scope_is_asked_for_in_keystones_words() {
    let scopes = [
        (
            Scope::Project(Project::Name {
                name: "p".into(),
                domain: Domain::Id("d".into()),
            }),
            json!({ "project": { "name": "p", "domain": { "id": "d" } } }),
        ),
        (
            Scope::Domain(Domain::Id("d".into())),
            json!({ "domain": { "id": "d" } }),
        ),
        (
            Scope::Domain(Domain::Name("D".into())),
            json!({ "domain": { "name": "D" } }),
        ),
        (Scope::System, json!({ "system": { "all": true } })),
        (Scope::Unscoped, json!("unscoped")),
        (Scope::Unspecified, Value::Null),
    ];
    for (scope, expected) in scopes {
        assert_eq!(
            asked(password(by_id(), scope)).await["auth"]["scope"],
            expected
        );
    }
}

#[tokio::test]
async fn a_token_is_exchanged_for_another() {
    let auth = |auth_url| Auth::Token {
        auth_url,
        token: "given".into(),
        scope: Scope::Project(Project::Id("p".into())),
    };
    assert_eq!(
        asked(auth).await,
        json!({ "auth": {
            "identity": { "methods": ["token"], "token": { "id": "given" } },
            "scope": { "project": { "id": "p" } },
        } })
    );
}

#[tokio::test]
async fn an_application_credential_is_shown_by_id_and_without_scope() {
    let auth = |auth_url| Auth::ApplicationCredential {
        auth_url,
        credential: ApplicationCredential::Id("c".into()),
        secret: "s".into(),
    };
    assert_eq!(
        asked(auth).await,
        json!({ "auth": { "identity": {
            "methods": ["application_credential"],
            "application_credential": { "id": "c", "secret": "s" },
        } } })
    );
}

#[tokio::test]
async fn an_application_credential_is_shown_by_name_and_user() {
    let auth = |auth_url| Auth::ApplicationCredential {
        auth_url,
        credential: ApplicationCredential::Name {
            name: "kuryr".into(),
            user: User::Name {
                name: "u".into(),
                domain: Domain::Id("d".into()),
            },
        },
        secret: "s".into(),
    };
    assert_eq!(
        asked(auth).await,
        json!({ "auth": { "identity": {
            "methods": ["application_credential"],
            "application_credential": {
                "name": "kuryr", "secret": "s", "user": { "name": "u", "domain": { "id": "d" } },
            },
        } } })
    );
}

#[tokio::test]
async fn auth_url_is_taken_in_every_form() {
    let cloud = Cloud::start().await;
    for (form, path) in [
        ("", "/v3/auth/tokens"),
        ("/", "/v3/auth/tokens"),
        ("/v3", "/v3/auth/tokens"),
        ("/v3//", "/v3/auth/tokens"),
        ("/identity", "/identity/v3/auth/tokens"),
        ("/identity/v3/", "/identity/v3/auth/tokens"),
    ] {
        let auth = Auth::Password {
            auth_url: format!("{}{form}", cloud.at).parse().unwrap(),
            user: by_id(),
            password: PASSWORD.into(),
            scope: Scope::Unspecified,
        };
        let session = Session::new(keystone::Settings {
            auth,
            ..cloud.settings()
        })
        .unwrap();
        session.authenticate().await.unwrap();
        assert_eq!(cloud.state().asked.last().unwrap().0, path, "{form}");
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_asked_or_shown() {
    let cloud = Cloud::start().await;
    let auth = Auth::None {
        endpoint: format!("{}/neutron", cloud.at).parse().unwrap(),
    };
    let session = Session::new(keystone::Settings {
        auth,
        ..cloud.settings()
    })
    .unwrap();
    let reply = get(&session, "/v2.0/ports").await.unwrap();
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    let state = cloud.state();
    assert!(state.asked.is_empty());
    assert_eq!(state.served.len(), 1);
    assert_eq!(state.served[0].uri, "/neutron/v2.0/ports");
    assert!(!state.served[0].headers.contains_key("x-auth-token"));
    assert!(!state.served[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn basic_credentials_go_to_the_service_itself() {
    let cloud = Cloud::start().await;
    let auth = Auth::HttpBasic {
        endpoint: cloud.at.parse().unwrap(),
        username: "Aladdin".into(),
        password: "open sesame".into(),
    };
    let session = Session::new(keystone::Settings {
        auth,
        ..cloud.settings()
    })
    .unwrap();
    get(&session, "/v2.0/ports").await.unwrap();
    let state = cloud.state();
    assert!(state.asked.is_empty());
    // The example of RFC 7617.
    assert_eq!(
        state.served[0].headers["authorization"],
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    );
}

#[tokio::test]
async fn a_session_knows_as_whom_it_acts() {
    let cloud = Cloud::start().await;
    let access = cloud.session().authenticate().await.unwrap();
    assert_eq!(access.user_id.as_deref(), Some("u1"));
    assert_eq!(access.project_id.as_deref(), Some("p1"));
    assert_eq!(access.roles, ["service"]);
    assert_eq!(
        access.endpoint.to_string(),
        format!("{}/one/public", cloud.at)
    );
}
