//! How long a token is used, and who renews it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use jiff::SignedDuration;
use keystone::{Error, Session, Settings};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use crate::cloud::{Cloud, get};

const SHORT: Duration = Duration::from_millis(400);

async fn twenty_at_once(session: &Session) -> Vec<Result<StatusCode, Error>> {
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let session = session.clone();
        calls.spawn(async move { Ok(get(&session, "/v2.0/ports").await?.status()) });
    }
    calls.join_all().await
}

#[tokio::test]
async fn twenty_first_calls_ask_for_one_token() {
    let cloud = Cloud::start().await;
    cloud.state().keystone_takes = Duration::from_millis(100);
    for status in twenty_at_once(&cloud.session()).await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
    let state = cloud.state();
    assert_eq!((state.asked.len(), state.served.len()), (1, 20));
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let cloud = Cloud::start().await;
    cloud.state().lifetimes.push_back(SHORT);
    let session = cloud.session();
    get(&session, "/").await.unwrap();
    sleep(SHORT * 9 / 10).await;
    get(&session, "/").await.unwrap();
    let state = cloud.state();
    assert!(
        state
            .served
            .iter()
            .all(|served| served.status == StatusCode::OK)
    );
    assert_eq!(state.served[1].headers["x-auth-token"], "token-1");
}

#[tokio::test]
async fn keystones_clock_may_be_wrong_by_years() {
    for hours in [-50_000, 50_000] {
        let cloud = Cloud::start().await;
        cloud.state().keystones_clock = SignedDuration::from_hours(hours);
        let session = cloud.session();
        for _ in 0..3 {
            assert_eq!(get(&session, "/").await.unwrap().status(), StatusCode::OK);
        }
        assert_eq!(cloud.state().asked.len(), 1);
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_request_repeated() {
    let cloud = Cloud::start().await;
    let session = cloud.session();
    get(&session, "/").await.unwrap();
    cloud.state().refuse = 1;
    let request = Request::post("/v2.0/ports")
        .body(Bytes::from_static(b"{}"))
        .unwrap();
    let reply = session.clone().oneshot(request).await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    let state = cloud.state();
    assert_eq!((state.asked.len(), state.served.len()), (2, 3));
    let [.., first, second] = &state.served[..] else {
        panic!("two attempts")
    };
    assert_eq!(first.headers["x-auth-token"], "token-0");
    assert_eq!(second.headers["x-auth-token"], "token-1");
    assert_eq!((&first.method, &first.body), (&second.method, &second.body));
}

#[tokio::test]
async fn a_token_that_all_find_refused_is_renewed_once() {
    let cloud = Cloud::start().await;
    let session = cloud.session();
    get(&session, "/").await.unwrap();
    cloud.state().issued.clear();
    cloud
        .state()
        .issued
        .insert("revoked".to_owned(), std::time::Instant::now());
    for status in twenty_at_once(&session).await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
    assert_eq!(cloud.state().asked.len(), 2);
}

#[tokio::test]
async fn a_service_that_refuses_every_token_is_passed_on() {
    let cloud = Cloud::start().await;
    cloud.state().refuse = usize::MAX;
    let reply = get(&cloud.session(), "/v2.0/ports").await.unwrap();
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    let state = cloud.state();
    assert_eq!((state.asked.len(), state.served.len()), (2, 2));
}

#[tokio::test]
async fn a_wrong_password_is_explained() {
    let cloud = Cloud::start().await;
    let auth = cloud.password_auth("wrong");
    let session = Session::new(Settings {
        auth,
        ..cloud.settings()
    })
    .unwrap();
    let error = get(&session, "/v2.0/ports").await.unwrap_err();
    assert!(!error.may_have_arrived());
    assert_eq!(
        error.to_string(),
        format!(
            "Keystone at {}/identity refused user kuryr (domain Default): The request you have made \
             with \"***\" requires authentication; check username, password, project_name and their \
             domains in [neutron]",
            cloud.at
        )
    );
    assert!(cloud.state().served.is_empty());
}

#[tokio::test]
async fn a_refusal_of_keystone_holds_for_a_second_and_not_for_long() {
    let cloud = Cloud::start().await;
    cloud
        .state()
        .refusals
        .push_back((StatusCode::UNAUTHORIZED, "{}"));
    let session = cloud.session();
    for outcome in twenty_at_once(&session).await {
        assert!(matches!(outcome, Err(Error::Unauthorized { .. })));
    }
    assert!(get(&session, "/").await.is_err());
    assert_eq!(cloud.state().asked.len(), 1);
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(get(&session, "/").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_keystone_says_besides_is_passed_on() {
    let cloud = Cloud::start().await;
    let page = (
        StatusCode::SERVICE_UNAVAILABLE,
        "<html>No server is available</html>\n",
    );
    cloud.state().refusals.push_back(page);
    let error = get(&cloud.session(), "/").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "Keystone at {}/identity gave no token: 503 Service Unavailable, \
             <html>No server is available</html>",
            cloud.at
        )
    );
}

#[tokio::test]
async fn a_success_that_is_none_is_a_bad_reply() {
    let cloud = Cloud::start().await;
    cloud
        .state()
        .refusals
        .push_back((StatusCode::OK, "{\"versions\": []}"));
    let error = get(&cloud.session(), "/").await.unwrap_err();
    assert!(matches!(error, Error::BadReply { .. }), "{error}");
    assert!(!error.may_have_arrived());
}

#[tokio::test]
async fn a_cancelled_renewal_is_taken_over() {
    let cloud = Cloud::start().await;
    cloud.state().keystone_takes = Duration::from_millis(200);
    let session = cloud.session();
    let first = timeout(Duration::from_millis(50), get(&session, "/"));
    let second = async {
        sleep(Duration::from_millis(20)).await;
        get(&session, "/").await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err());
    assert_eq!(second.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn those_who_wait_for_a_silent_keystone_wait_once() {
    let cloud = Cloud::start().await;
    cloud.state().keystone_takes = Duration::from_secs(3600);
    let limit = Some(Duration::from_millis(300));
    let session = Session::new(Settings {
        timeout: limit,
        ..cloud.settings()
    })
    .unwrap();
    let outcomes = timeout(Duration::from_secs(3), twenty_at_once(&session))
        .await
        .unwrap();
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Unreachable {
                    may_have_arrived: false,
                    ..
                }
            ),
            "{error}"
        );
    }
    cloud.state().keystone_takes = Duration::ZERO;
    assert_eq!(get(&session, "/").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_token_that_is_still_good_outlives_a_keystone_that_is_away() {
    let cloud = Cloud::start().await;
    cloud.state().lifetimes.push_back(SHORT * 10);
    let session = cloud.session();
    get(&session, "/").await.unwrap();
    cloud
        .state()
        .refusals
        .push_back((StatusCode::BAD_GATEWAY, ""));
    sleep(SHORT * 8).await;
    assert_eq!(get(&session, "/").await.unwrap().status(), StatusCode::OK);
    let state = cloud.state();
    assert_eq!(state.asked.len(), 2);
    assert_eq!(state.served[1].headers["x-auth-token"], "token-0");
}
