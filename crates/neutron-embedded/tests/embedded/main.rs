//! What is said of the embedded Neutron alone; the rest is in `neutron-contract`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod cli;
mod crowd;
mod file;
mod one_host;
mod snapshot;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use neutron_api::PortStatus;
use neutron_embedded::{Embedded, EmbeddedSettings, Hosts};
use serde_json::{Value, json};
use tower::ServiceExt;

#[tokio::test]
async fn a_port_is_down_until_its_agent_reports_it() {
    let embedded = Embedded::default();
    let port = bound_port(&embedded, "host1").await;
    assert_eq!(
        (&port["status"], &port["binding:vif_type"]),
        (&json!("DOWN"), &json!("ovs"))
    );
    let id = text(&port["id"]).parse().unwrap();
    assert!(embedded.report(id, PortStatus::Active).await);
    let path = format!("ports/{id}");
    let (_, reply) = exchange(&embedded, Method::GET, &path, Value::Null).await;
    assert_eq!(reply["port"]["status"], "ACTIVE");
}

#[tokio::test]
async fn a_port_that_is_active_when_bound_needs_no_agent() {
    let embedded = Embedded::new(EmbeddedSettings {
        active_when_bound: true,
        ..EmbeddedSettings::default()
    });
    let port = bound_port(&embedded, "host1").await;
    assert_eq!(port["status"], "ACTIVE");
}

#[tokio::test]
async fn a_network_is_on_a_physical_one_only_where_the_settings_have_it() {
    let embedded = Embedded::new(EmbeddedSettings {
        cards: vec!["physnet2".into()],
        ..EmbeddedSettings::default()
    });
    let make = async |kind: &str, on: &str, id: Value| {
        let network = json!({"network": {
            "provider:network_type": kind,
            "provider:physical_network": on,
            "provider:segmentation_id": id,
        }});
        exchange(&embedded, Method::POST, "networks", network).await
    };
    for (kind, on, id, outcome) in [
        ("vlan", "physnet2", json!(230), ""),
        ("vlan", "physnet2", json!(230), "VlanIdInUse"),
        ("vlan", "physnet2", Value::Null, ""),
        ("flat", "physnet2", Value::Null, ""),
        ("flat", "physnet2", Value::Null, "FlatNetworkInUse"),
        ("vlan", "physnet9", Value::Null, "InvalidInput"),
        ("geneve", "physnet2", Value::Null, "InvalidInput"),
    ] {
        let (_, reply) = make(kind, on, id).await;
        let fault = reply["NeutronError"]["type"].as_str().unwrap_or("");
        assert_eq!(fault, outcome, "{kind} on {on}: {reply}");
    }
}

#[tokio::test]
async fn binding_to_a_host_that_is_not_there_fails() {
    let embedded = Embedded::new(EmbeddedSettings {
        hosts: Hosts::These(vec!["host1".into()]),
        ..EmbeddedSettings::default()
    });
    let port = bound_port(&embedded, "elsewhere").await;
    assert_eq!(port["binding:vif_type"], "binding_failed");
    assert_eq!(port["binding:vif_details"], json!({}));
}

#[tokio::test]
async fn the_quota_of_ports_holds() {
    let embedded = Embedded::new(EmbeddedSettings {
        quotas: [("port".to_owned(), 1)].into(),
        ..EmbeddedSettings::default()
    });
    let network = &bound_port(&embedded, "host1").await["network_id"];
    let body = json!({"port": {"network_id": network}});
    let (status, reply) = exchange(&embedded, Method::POST, "ports", body).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(reply["NeutronError"]["type"], "OverQuota");
}

#[tokio::test]
async fn what_an_old_cloud_lacks_is_neither_shown_nor_taken() {
    let embedded = Embedded::new(EmbeddedSettings {
        extensions: vec!["standard-attr-tag".into()],
        ..EmbeddedSettings::default()
    });
    let body = json!({"network": {"name": "a", "mtu": 1400}});
    let (status, reply) = exchange(&embedded, Method::POST, "networks", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        reply["NeutronError"]["message"],
        "Unrecognized attribute(s) 'mtu'"
    );
    let network = made(&embedded, "networks", json!({"network": {"name": "a"}})).await;
    assert_eq!(network.get("mtu"), None);
    let path = format!("networks/{}/tags", text(&network["id"]));
    let tags = json!({"tags": ["a"]});
    let (status, _) = exchange(&embedded, Method::POST, &path, tags.clone()).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, _) = exchange(&embedded, Method::PUT, &path, tags).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = exchange(&embedded, Method::GET, "subnetpools", Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn of_many_all_are_made_or_none() {
    let embedded = Embedded::default();
    let network = &bound_port(&embedded, "").await["network_id"];
    let mac = "fa:16:3e:00:00:01";
    let port = json!({"network_id": network, "mac_address": mac});
    let body = json!({"ports": [port, port]});
    let (status, _) = exchange(&embedded, Method::POST, "ports", body).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let path = format!("ports?mac_address={mac}");
    let (_, reply) = exchange(&embedded, Method::GET, &path, Value::Null).await;
    assert_eq!(reply, json!({"ports": []}));
    let body = json!({"ports": [port, {"network_id": network}]});
    let (status, reply) = exchange(&embedded, Method::POST, "ports", body).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(reply["ports"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn self_assigned_addresses_come_by_themselves() {
    let embedded = Embedded::default();
    let network = made(&embedded, "networks", json!({"network": {}})).await;
    let subnet = json!({"subnet": {
        "network_id": network["id"], "ip_version": 6, "cidr": "fd00::/64",
        "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac",
    }});
    made(&embedded, "subnets", subnet).await;
    let mac = "34:56:78:9a:bc:de";
    let port = json!({"port": {"network_id": network["id"], "mac_address": mac}});
    let port = made(&embedded, "ports", port).await;
    assert_eq!(
        port["fixed_ips"][0]["ip_address"],
        "fd00::3656:78ff:fe9a:bcde"
    );
}

#[tokio::test]
async fn it_can_be_served_on_a_socket() {
    let router = Embedded::default().router();
    let request = Request::get("/v2.0/subnetpools?name=kuryr")
        .body(axum::body::Body::empty())
        .unwrap();
    let reply = router.oneshot(request).await.unwrap();
    assert!(reply.headers().contains_key("x-openstack-request-id"));
    let body = axum::body::to_bytes(reply.into_body(), 10_000)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["subnetpools"][0]["prefixes"], json!(["10.10.0.0/16"]));
}

pub(crate) async fn bound_port(embedded: &Embedded, host: &str) -> Value {
    let network = made(embedded, "networks", json!({"network": {"name": "n"}})).await;
    let port = json!({"port": {"network_id": network["id"], "binding:host_id": host}});
    made(embedded, "ports", port).await
}

pub(crate) async fn made(embedded: &Embedded, path: &str, body: Value) -> Value {
    let (status, reply) = exchange(embedded, Method::POST, path, body).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    reply[path.trim_end_matches('s')].clone()
}

pub(crate) async fn exchange(
    embedded: &Embedded,
    method: Method,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(format!("/v2.0/{path}"))
        .body(Bytes::from(body.to_string()))
        .unwrap();
    let reply = embedded.service().oneshot(request).await.unwrap();
    let body = serde_json::from_slice(reply.body()).unwrap_or_default();
    (reply.status(), body)
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
