//! Connections, and what is said when they fail.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use keystone::{EndpointChoice, Error, Session, Settings};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::cloud::{Cloud, get, line};

/// A session of `cloud` whose service is at `url`.
fn session_to(cloud: &Cloud, url: &str, timeout: Duration) -> Session {
    let endpoint = EndpointChoice {
        override_url: Some(url.parse().unwrap()),
        ..EndpointChoice::default()
    };
    Session::new(Settings {
        endpoint,
        timeout: Some(timeout),
        ..cloud.settings()
    })
    .unwrap()
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    (listener, at)
}

fn may_have_arrived(error: &Error) -> bool {
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    error.may_have_arrived()
}

#[tokio::test]
async fn a_request_arrives_whole_and_so_does_the_reply() {
    let cloud = Cloud::start().await;
    let request = Request::put("/v2.0/ports/p?x=a%20b")
        .header("if-match", "revision_number=7")
        .header("user-agent", "not this")
        .body(Bytes::from_static(b"{\"port\":{}}"))
        .unwrap();
    let reply = cloud.session().oneshot(request).await.unwrap();
    assert_eq!(reply.headers()["x-openstack-request-id"], "req-42");
    let body: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
    assert_eq!(body["body"], "{\"port\":{}}");
    let state = cloud.state();
    assert_eq!(state.served[0].method, "PUT");
    assert_eq!(state.served[0].uri, "/one/public/v2.0/ports/p?x=a%20b");
    assert_eq!(state.served[0].headers["if-match"], "revision_number=7");
    assert_eq!(state.served[0].headers["user-agent"], "kuryr-test/1");
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let cloud = Cloud::start().await;
    let session = cloud.session();
    for _ in 0..10 {
        get(&session, "/").await.unwrap();
    }
    assert_eq!(cloud.state().accepted, 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let cloud = Cloud::start().await;
    let session = cloud.session();
    get(&session, "/").await.unwrap();
    cloud.hang_up().await;
    assert_eq!(get(&session, "/").await.unwrap().status(), StatusCode::OK);
    assert_eq!(cloud.state().accepted, 2);
}

#[tokio::test]
async fn pinging_asks_the_service_itself() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.session().ping().await.unwrap(), StatusCode::OK);
    assert_eq!(cloud.state().served[0].uri, "/one/public/");
}

#[tokio::test]
async fn an_unreachable_keystone_is_named_with_its_cause() {
    let cloud = Cloud::start().await;
    let session = cloud.session();
    let at = cloud.at.clone();
    drop(cloud);
    tokio::task::yield_now().await;
    let error = get(&session, "/v2.0/ports").await.unwrap_err();
    assert!(!may_have_arrived(&error));
    let line = line(&error);
    let start = format!("could not get a token from {at}/identity/v3/auth/tokens: ");
    assert!(line.starts_with(&start), "{line}");
    assert!(line.contains("Connection refused"), "{line}");
}

#[tokio::test]
async fn a_service_that_refuses_connections_got_nothing() {
    let cloud = Cloud::start().await;
    let (listener, at) = listen().await;
    drop(listener);
    let session = session_to(&cloud, &format!("http://{at}/n"), Duration::from_secs(5));
    let error = get(&session, "/v2.0/ports?name=secret").await.unwrap_err();
    assert!(!may_have_arrived(&error));
    let line = line(&error);
    assert!(
        line.starts_with(&format!("could not GET http://{at}/n/v2.0/ports: ")),
        "{line}"
    );
}

#[tokio::test]
async fn a_request_that_gets_no_reply_in_time_may_have_arrived() {
    let cloud = Cloud::start().await;
    let limit = Some(Duration::from_millis(300));
    let session = Session::new(Settings {
        timeout: limit,
        ..cloud.settings()
    })
    .unwrap();
    get(&session, "/").await.unwrap();
    cloud.state().service_takes = Duration::from_secs(3600);
    let error = get(&session, "/").await.unwrap_err();
    assert!(may_have_arrived(&error));
    assert!(
        line(&error).ends_with("no reply within 300ms"),
        "{}",
        line(&error)
    );
}

#[tokio::test]
async fn a_request_that_ends_in_a_closed_connection_may_have_arrived() {
    let cloud = Cloud::start().await;
    let (listener, at) = listen().await;
    let session = session_to(&cloud, &format!("http://{at}"), Duration::from_secs(5));
    let hang_up = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 1000]).await.unwrap(), 0);
    };
    let (outcome, ()) = tokio::join!(get(&session, "/"), hang_up);
    assert!(may_have_arrived(&outcome.unwrap_err()));
}

#[tokio::test]
async fn a_reply_that_breaks_off_may_have_arrived() {
    use tokio::io::AsyncWriteExt;
    let cloud = Cloud::start().await;
    let (listener, at) = listen().await;
    let session = session_to(&cloud, &format!("http://{at}"), Duration::from_secs(5));
    let break_off = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 1000]).await.unwrap(), 0);
        stream
            .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{")
            .await
            .unwrap();
    };
    let (outcome, ()) = tokio::join!(get(&session, "/"), break_off);
    assert!(may_have_arrived(&outcome.unwrap_err()));
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_in_time_carried_nothing() {
    let cloud = Cloud::start().await;
    // Accepts, and then never shakes hands.
    let (_listener, at) = listen().await;
    let session = session_to(&cloud, &format!("https://{at}"), Duration::from_millis(400));
    let error = get(&session, "/").await.unwrap_err();
    assert!(!may_have_arrived(&error));
    assert!(
        line(&error).ends_with("no connection within 200ms"),
        "{}",
        line(&error)
    );
}

#[tokio::test]
async fn a_reply_without_end_is_not_read_to_its_end() {
    let cloud = Cloud::start().await;
    let session = cloud.session();
    cloud.state().reply_length = Some((64 << 20) + 1);
    let error = get(&session, "/").await.unwrap_err();
    assert!(matches!(error, Error::BadReply { .. }), "{error}");
    assert!(error.may_have_arrived());
}

#[tokio::test]
async fn a_user_agent_that_cannot_be_sent_is_refused_at_once() {
    let cloud = Cloud::start().await;
    let user_agent = "a\nb".to_owned();
    assert!(
        Session::new(Settings {
            user_agent,
            ..cloud.settings()
        })
        .is_err()
    );
}
