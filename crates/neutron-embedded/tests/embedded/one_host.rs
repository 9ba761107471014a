//! What is different where one host routes between all networks.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};
use neutron_embedded::{Embedded, EmbeddedSettings, RangeInUse, RangesInUse, SharedPool};
use serde_json::{Value, json};

use crate::{exchange, made, text};

#[tokio::test]
async fn a_range_that_another_network_has_is_refused_by_its_name() {
    let embedded = Embedded::new(EmbeddedSettings::standalone("host1", 1500));
    let (first, _) = subnet(&embedded, "first", json!({"cidr": "10.70.0.0/16"})).await;
    let (_, refusal) = subnet(&embedded, "second", json!({"cidr": "10.70.7.0/24"})).await;
    let said = format!(
        "Bad subnets request: 10.70.7.0/24 overlaps with 10.70.0.0/16 of network first ({}), and \
         one host has one routing table: choose another range.",
        text(&first)
    );
    assert_eq!(refusal.unwrap_err(), (StatusCode::BAD_REQUEST, said));
    let (_, free) = subnet(&embedded, "third", json!({"cidr": "10.71.7.0/24"})).await;
    assert!(free.is_ok());
    let cloud = Embedded::default();
    for name in ["first", "second"] {
        let (_, same) = subnet(&cloud, name, json!({"cidr": "10.70.0.0/16"})).await;
        assert!(same.is_ok());
    }
}

#[tokio::test]
async fn a_port_at_the_address_of_one_before_has_its_mac_address_too() {
    let embedded = Embedded::new(EmbeddedSettings::standalone("host1", 1500));
    let (network, made_subnet) = subnet(&embedded, "one", json!({"cidr": "10.70.0.0/16"})).await;
    made_subnet.unwrap();
    let port = || async {
        let body = json!({"port": {"network_id": network}});
        exchange(&embedded, Method::POST, "ports", body).await.1["port"].clone()
    };
    let (one, two) = (port().await, port().await);
    assert_ne!(one["mac_address"], two["mac_address"]);
    let path = format!("ports/{}", text(&one["id"]));
    exchange(&embedded, Method::DELETE, &path, Value::Null).await;
    let again = port().await;
    assert_eq!(again["fixed_ips"], one["fixed_ips"]);
    assert_eq!(again["mac_address"], one["mac_address"]);
}

#[tokio::test]
async fn a_range_that_something_else_uses_is_refused_by_its_name() {
    let embedded = beside(&[
        ("10.80.0.0/14", "Docker's network bridge"),
        ("fd00:80::/48", "x"),
    ]);
    let (_, refusal) = subnet(&embedded, "one", json!({"cidr": "10.80.5.0/24"})).await;
    let said = "Bad subnets request: 10.80.5.0/24 overlaps with 10.80.0.0/14, which is in use by \
                Docker's network bridge: choose another range.";
    assert_eq!(
        refusal.unwrap_err(),
        (StatusCode::BAD_REQUEST, said.to_owned())
    );
    let (_, free) = subnet(&embedded, "two", json!({"cidr": "10.84.0.0/24"})).await;
    assert!(free.is_ok());
    let six = json!({"cidr": "fd00:80:0:1::/64", "ip_version": 6});
    let (_, refusal) = subnet(&embedded, "three", six).await;
    assert_eq!(refusal.unwrap_err().0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_range_that_no_host_can_have_is_refused() {
    let embedded = Embedded::new(EmbeddedSettings::standalone("host1", 1500));
    for range in ["127.0.0.0/24", "224.0.0.0/24", "0.0.0.0/8"] {
        let body = json!({"cidr": range, "enable_dhcp": false});
        let (_, refusal) = subnet(&embedded, "one", body).await;
        let (_, said) = refusal.unwrap_err();
        assert!(said.contains("is not for hosts"), "{said}");
    }
}

#[tokio::test]
async fn a_pool_gives_no_range_that_is_in_use() {
    let embedded = beside(&[
        ("10.10.0.0/24", "the route via eth0"),
        ("10.10.2.0/23", "docker0"),
    ]);
    let (_, explicit) = subnet(&embedded, "explicit", json!({"cidr": "10.10.1.0/24"})).await;
    assert_eq!(explicit.unwrap(), "10.10.1.0/24");
    for expected in ["10.10.4.0/24", "10.10.5.0/24"] {
        let from_pool = json!({"use_default_subnetpool": true});
        let (_, found) = subnet(&embedded, "any", from_pool).await;
        assert_eq!(found.unwrap(), expected);
    }
    let from_pool = json!({"use_default_subnetpool": true, "cidr": "10.10.3.0/25"});
    let (_, refusal) = subnet(&embedded, "taken", from_pool).await;
    assert!(refusal.unwrap_err().1.contains("in use by docker0"));
}

#[tokio::test]
async fn a_pool_that_others_use_up_is_exhausted() {
    let embedded = beside(&[("10.0.0.0/8", "a VPN")]);
    let from_pool = json!({"use_default_subnetpool": true});
    let (_, refusal) = subnet(&embedded, "any", from_pool).await;
    let (_, said) = refusal.unwrap_err();
    assert!(said.contains("Insufficient prefix space"), "{said}");
}

/// A subnet on a network of its own: the network, and the range or the refusal.
async fn subnet(
    embedded: &Embedded,
    network: &str,
    what: Value,
) -> (Value, Result<String, (StatusCode, String)>) {
    let network = made(embedded, "networks", json!({"network": {"name": network}})).await;
    let mut subnet = json!({"network_id": network["id"], "ip_version": 4});
    for (key, value) in what.as_object().unwrap() {
        subnet[key] = value.clone();
    }
    let body = json!({"subnet": subnet});
    let (status, reply) = exchange(embedded, Method::POST, "subnets", body).await;
    let outcome = match status {
        StatusCode::CREATED => Ok(text(&reply["subnet"]["cidr"]).to_owned()),
        status => Err((status, text(&reply["NeutronError"]["message"]).to_owned())),
    };
    (network["id"].clone(), outcome)
}

/// One that has a pool of 10.10.0.0/21, on a host where these ranges are in use.
fn beside(used: &[(&str, &str)]) -> Embedded {
    let used = used.iter().map(|(range, by)| RangeInUse {
        range: range.parse().unwrap(),
        by: (*by).to_owned(),
    });
    Embedded::new(EmbeddedSettings {
        ranges_in_use: Some(Arc::new(Host(used.collect()))),
        pools: vec![SharedPool {
            name: "kuryr".into(),
            prefix: "10.10.0.0/21".parse().unwrap(),
            default_prefixlen: 24,
        }],
        ..EmbeddedSettings::standalone("host1", 1500)
    })
}

#[derive(Debug)]
struct Host(Vec<RangeInUse>);

#[async_trait]
impl RangesInUse for Host {
    async fn list(&self) -> Vec<RangeInUse> {
        self.0.clone()
    }
}
