//! Which of the catalogue's endpoints a request goes to.

use http::StatusCode;
use keystone::{EndpointChoice, Error, Interface, Session, Settings};
use serde_json::json;

use crate::cloud::{Cloud, get};

fn session(cloud: &Cloud, region: Option<&str>, interface: Interface) -> Session {
    let endpoint = EndpointChoice {
        region: region.map(Into::into),
        interface,
        ..EndpointChoice::default()
    };
    Session::new(Settings {
        endpoint,
        ..cloud.settings()
    })
    .unwrap()
}

#[tokio::test]
async fn region_and_interface_decide_where_a_request_goes() {
    let cloud = Cloud::start().await;
    for (region, interface, path) in [
        (None, Interface::Public, "/one/public/v2.0/ports?fields=id"),
        (None, Interface::Admin, "/one/admin/v2.0/ports?fields=id"),
        (
            Some("RegionOne"),
            Interface::Public,
            "/one/public/v2.0/ports?fields=id",
        ),
        (
            Some("RegionTwo"),
            Interface::Public,
            "/two/public/v2.0/ports?fields=id",
        ),
    ] {
        let session = session(&cloud, region, interface);
        let reply = get(&session, "/v2.0/ports?fields=id").await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(cloud.state().served.last().unwrap().uri, path);
    }
}

#[tokio::test]
async fn what_the_catalogue_lacks_is_answered_with_what_it_has() {
    let cloud = Cloud::start().await;
    let session = session(&cloud, Some("RegionTwo"), Interface::Internal);
    let error = get(&session, "/v2.0/ports").await.unwrap_err();
    assert!(!error.may_have_arrived());
    assert_eq!(
        error.to_string(),
        format!(
            "the catalogue of Keystone at {}/identity has no internal network endpoint in region \
             RegionTwo; it has identity (RegionOne: public), network (RegionOne: admin, public; \
             RegionTwo: public); check region_name and endpoint_type in [neutron]",
            cloud.at
        )
    );
}

#[tokio::test]
async fn a_missing_endpoint_does_not_make_callers_hammer_keystone() {
    let cloud = Cloud::start().await;
    let session = session(&cloud, Some("RegionSix"), Interface::Public);
    for _ in 0..10 {
        assert!(matches!(
            get(&session, "/").await,
            Err(Error::NoEndpoint { .. })
        ));
    }
    assert_eq!(cloud.state().asked.len(), 1);
}

#[tokio::test]
async fn a_token_without_catalogue_says_so() {
    let cloud = Cloud::start().await;
    cloud.state().catalog = json!([]);
    let error = cloud
        .session()
        .authenticate()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no service at all, as for a token without a project"),
        "{error}"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_quoted() {
    let cloud = Cloud::start().await;
    cloud.state().catalog = json!([{ "type": "network", "endpoints": [
        { "interface": "public", "url": "neutron:9696" },
    ] }]);
    let error = cloud.session().authenticate().await.unwrap_err();
    assert!(
        matches!(&error, Error::BadEndpoint { url, .. } if url == "neutron:9696"),
        "{error}"
    );
}

#[tokio::test]
async fn an_override_needs_no_catalogue() {
    let cloud = Cloud::start().await;
    cloud.state().catalog = json!([]);
    let endpoint = EndpointChoice {
        override_url: Some(format!("{}/elsewhere/v2.0", cloud.at).parse().unwrap()),
        ..EndpointChoice::default()
    };
    let session = Session::new(Settings {
        endpoint,
        ..cloud.settings()
    })
    .unwrap();
    assert_eq!(
        get(&session, "/v2.0/ports").await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(cloud.state().served[0].uri, "/elsewhere/v2.0/ports");
}

#[tokio::test]
async fn a_request_with_a_host_of_its_own_is_refused() {
    let cloud = Cloud::start().await;
    let elsewhere = format!("{}/v2.0/ports", cloud.at);
    let error = get(&cloud.session(), &elsewhere).await.unwrap_err();
    assert!(matches!(error, Error::NotAPath(_)), "{error}");
    assert!(cloud.state().served.is_empty());
}
