//! Promises about tags.

use http::Method;
use neutron_api::{Port, Resource};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ground::{Ground, body, named, refusal};

/// A port's POST may carry tags, but they count for nothing (or are replaced).
pub async fn tags_set_after_the_post_are_what_counts(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let new = body::<Port>(json!({
        "name": ground.name,
        "network_id": network.id,
        "tags": ["early"],
    }));
    let reply = ground.ask(Method::POST, "ports", new).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let port: Port = serde_json::from_value(reply.body["port"].clone()).expect("a port");
    ground
        .tag(&port, &["late", "kuryr.net.uuid.lh:0123456789abcdef"])
        .await;
    let port = ground.again(&port).await;
    assert_eq!(
        tags(&port.tags),
        ["kuryr.net.uuid.lh:0123456789abcdef", "late"]
    );
}

/// All that Kuryr marks.
pub async fn every_kind_of_object_has_tags(ground: Ground) {
    let (network, subnet) = ground.network_with("10.99.0.0/24").await;
    let port = ground.port(&network).await;
    let pool = ground.pool("10.98.0.0/16").await;
    ground.tag(&network, &["a"]).await;
    ground.tag(&subnet, &["a"]).await;
    ground.tag(&port, &["a"]).await;
    ground.tag(&pool, &["a"]).await;
    assert_eq!(ground.again(&network).await.tags, ["a"]);
    assert_eq!(ground.again(&subnet).await.tags, ["a"]);
    assert_eq!(ground.again(&port).await.tags, ["a"]);
    assert_eq!(ground.again(&pool).await.tags, ["a"]);
    ground.tag(&pool, &[]).await;
    assert_eq!(ground.again(&pool).await.tags, [""; 0]);
}

/// So a scheme of tags per host can't work.
pub async fn a_resource_takes_fifty_tags_and_no_more(ground: Ground) {
    let network = ground.network().await;
    let many: Vec<String> = (0..51).map(|number| format!("tag-{number}")).collect();
    let neutron = &ground.neutron;
    let outcome = neutron
        .replace_tags::<neutron_api::Network>(network.id, &many)
        .await;
    assert_eq!(refusal(outcome), named(400, "BadRequest"));
    let outcome = neutron
        .replace_tags::<neutron_api::Network>(network.id, &many[..50])
        .await;
    outcome.expect("fifty tags");
    assert_eq!(ground.again(&network).await.tags.len(), 50);
}

/// Old clouds take 60 only; Kuryr's tags are shorter.
pub async fn a_tag_of_255_characters_fits_and_no_longer_one(ground: Ground) {
    let network = ground.network().await;
    ground.tag(&network, &[&"x".repeat(255)]).await;
    let outcome = ground
        .neutron
        .replace_tags::<neutron_api::Network>(network.id, &["x".repeat(256)])
        .await;
    assert_eq!(refusal(outcome), named(400, "InvalidInput"));
    assert_eq!(ground.again(&network).await.tags[0].len(), 255);
}

/// `tag-creation`: others' tags stay without being read first.
pub async fn posted_tags_are_added(ground: Ground) {
    let network = ground.network().await;
    if !ground
        .neutron
        .has_extension("tag-creation")
        .await
        .expect("a list")
    {
        return;
    }
    ground.tag(&network, &["a"]).await;
    let path = format!("networks/{}/tags", network.id());
    let reply = ground
        .ask(Method::POST, &path, json!({"tags": ["a", "b"]}))
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(tags(&ground.again(&network).await.tags), ["a", "b"]);
}

/// One at a time, however often.
pub async fn single_tags_come_and_go(ground: Ground) {
    let network = ground.network().await;
    let path = format!("networks/{}/tags/kuryr.net.existing:0123", network.id());
    for _ in 0..2 {
        let reply = ground.ask(Method::PUT, &path, Value::Null).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    let seen = ground.again(&network).await.tags;
    assert_eq!(seen, ["kuryr.net.existing:0123"]);
    let reply = ground.ask(Method::DELETE, &path, Value::Null).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    let reply = ground.ask(Method::DELETE, &path, Value::Null).await;
    assert_eq!((reply.status.as_u16(), reply.fault()), (404, "TagNotFound"));
}

/// Real ones answer 500 or 404: whoever tags must know that the object is there.
pub async fn what_is_gone_takes_no_tags(ground: Ground) {
    let path = format!("networks/{}/tags", Uuid::new_v4());
    let reply = ground.ask(Method::PUT, &path, json!({"tags": ["a"]})).await;
    assert!([404, 500].contains(&reply.status.as_u16()), "{reply:?}");
}

/// Neutron keeps no order.
fn tags(tags: &[String]) -> Vec<String> {
    crate::ground::sorted(tags.iter().cloned())
}
