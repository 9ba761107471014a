//! The client against services that misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use neutron_api::{Network, NewNetwork};
use neutron_client::{Error, Failure, Filter, Neutron};
use tokio::time::Instant;
use tower::service_fn;

type Reply = Result<Response<Bytes>, Failure>;

#[tokio::test(start_paused = true)]
async fn a_create_whose_reply_was_lost_is_found_and_not_repeated() {
    let made = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&made);
    let neutron = neutron(move |request| {
        if request.method() == Method::POST {
            *counter.lock().unwrap() += 1;
            return lost();
        }
        reply(200, &format!(r#"{{"networks": [{NETWORK}]}}"#))
    });
    let network = neutron
        .create(&new(), &Filter::new().with("name", "a"))
        .await
        .unwrap();
    assert_eq!((network.name.as_str(), *made.lock().unwrap()), ("a", 1));
}

#[tokio::test(start_paused = true)]
async fn a_create_that_did_not_arrive_is_repeated() {
    let posts = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&posts);
    let neutron = neutron(move |request| {
        if request.method() != Method::POST {
            return reply(200, r#"{"networks": []}"#);
        }
        let mut posts = counter.lock().unwrap();
        *posts += 1;
        if *posts == 1 {
            lost()
        } else {
            reply(201, &format!(r#"{{"network": {NETWORK}}}"#))
        }
    });
    neutron
        .create(&new(), &Filter::new().with("name", "a"))
        .await
        .unwrap();
    assert_eq!(*posts.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_repeated_and_is_told_with_its_request_id() {
    let calls = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&calls);
    let neutron = neutron(move |_| {
        *counter.lock().unwrap() += 1;
        Ok(Response::builder()
            .status(409)
            .header("x-openstack-request-id", "req-7")
            .body(Bytes::from_static(
                br#"{"NeutronError": {"type": "OverQuota", "message": "Too many."}}"#,
            ))
            .unwrap())
    });
    let error = neutron.create(&new(), &Filter::new()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Neutron refused to create network a: OverQuota: Too many. (HTTP 409, request req-7)"
    );
    assert_eq!(*calls.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_subnet_pool_is_not_asked_again() {
    let neutron = neutron(|_| {
        reply(
            500,
            r#"{"NeutronError": {"type": "SubnetAllocationError", "message": "Full."}}"#,
        )
    });
    let start = Instant::now();
    let error = neutron.create(&new(), &Filter::new()).await.unwrap_err();
    assert_eq!(error.fault(), Some("SubnetAllocationError"));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_neutron_that_never_answers_costs_no_more_than_the_deadline() {
    let neutron = Neutron::new(service_fn(|_: Request<Bytes>| {
        std::future::pending::<Result<Response<Bytes>, Infallible>>()
    }));
    let start = Instant::now();
    let outcome = neutron
        .by(start + Duration::from_secs(3))
        .list::<Network>(&Filter::new())
        .await;
    assert!(
        matches!(outcome, Err(Error::Deadline { .. })),
        "{outcome:?}"
    );
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_neutron_that_is_down_is_tried_for_a_while() {
    let neutron = neutron(|_| lost());
    let start = Instant::now();
    let outcome = neutron.list::<Network>(&Filter::new()).await;
    assert!(
        matches!(outcome, Err(Error::NoAnswer { .. })),
        "{outcome:?}"
    );
    assert!(
        (4..=8).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_lasting_failure_is_told_at_once() {
    let neutron = neutron(|_| Err(Failure::Lasting("wrong password".into())));
    let start = Instant::now();
    let outcome = neutron.list::<Network>(&Filter::new()).await;
    assert!(
        matches!(outcome, Err(Error::NoAnswer { .. })),
        "{outcome:?}"
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_deleted() {
    let neutron = neutron(|_| reply(404, r#"{"NeutronError": {"type": "NetworkNotFound"}}"#));
    let id = uuid::Uuid::nil().into();
    assert!(!neutron.delete::<Network>(id).await.unwrap());
    assert!(neutron.find::<Network>(id).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_starting_neutron_does_not_find_is_not_taken_for_gone() {
    let neutron = neutron(|request| {
        if request.uri().path() == "/v2.0/networks" {
            return reply(200, &format!(r#"{{"networks": [{NETWORK}]}}"#));
        }
        reply(
            404,
            r#"{"NeutronError": {"type": "HTTPNotFound", "message": "Not found."}}"#,
        )
    });
    let id = uuid::Uuid::from_u128(1).into();
    assert!(neutron.delete::<Network>(id).await.is_err());
    assert!(neutron.find::<Network>(id).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_neutron_cuts_is_read_to_its_end() {
    let neutron = neutron(|request| {
        if request.uri().query().unwrap().contains("marker=") {
            return reply(200, r#"{"networks": []}"#);
        }
        reply(
            200,
            &format!(
                r#"{{"networks": [{NETWORK}], "networks_links": [{{"rel": "next", "href": "http://elsewhere/"}}]}}"#
            ),
        )
    });
    assert_eq!(
        neutron.list::<Network>(&Filter::new()).await.unwrap().len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_that_begins_again_where_it_was_cut_is_not_read_for_ever() {
    let neutron = neutron(|_| {
        reply(
            200,
            &format!(r#"{{"networks": [{NETWORK}], "networks_links": [{{"rel": "next"}}]}}"#),
        )
    });
    let outcome = neutron.list::<Network>(&Filter::new()).await;
    assert!(
        matches!(outcome, Err(Error::Unreadable { .. })),
        "{outcome:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_web_page_is_no_answer() {
    let neutron = neutron(|_| reply(200, "<html>Welcome</html>"));
    let outcome = neutron.list::<Network>(&Filter::new()).await;
    assert!(
        matches!(outcome, Err(Error::Unreadable { .. })),
        "{outcome:?}"
    );
}

const NETWORK: &str = r#"{"id": "00000000-0000-0000-0000-000000000001", "name": "a"}"#;

fn new() -> NewNetwork {
    NewNetwork {
        name: "a".into(),
        ..NewNetwork::default()
    }
}

fn neutron(answer: impl Fn(Request<Bytes>) -> Reply + Clone + Send + Sync + 'static) -> Neutron {
    Neutron::new(service_fn(move |request| -> Ready<Reply> {
        ready(answer(request))
    }))
}

fn lost() -> Reply {
    Err(Failure::Passing("connection reset".into()))
}

#[allow(clippy::unnecessary_wraps, reason = "what the services here return")]
fn reply(status: u16, body: &str) -> Reply {
    let mut reply = Response::new(Bytes::from(body.to_owned()));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(reply)
}
