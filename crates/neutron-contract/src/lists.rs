//! Promises about lists.

use http::Method;
use neutron_api::{Network, Port};
use neutron_client::Filter;
use serde_json::Value;

use crate::ground::{Ground, sorted};

/// `?tags=a,b` finds only what carries both.
pub async fn a_tag_filter_is_a_conjunction(ground: Ground) {
    let [both, one, neither] = three_networks(&ground).await;
    ground.tag(&both, &["a", "b", "c"]).await;
    ground.tag(&one, &["a"]).await;
    ground.tag(&neither, &["ab"]).await;
    let filter = Filter::new().tagged(&["a".into(), "b".into()]);
    assert_eq!(ground.ids::<Network>(filter).await, [both.id.to_string()]);
    let filter = Filter::new().tagged(&["a".into()]);
    let expected = sorted([both.id.to_string(), one.id.to_string()]);
    assert_eq!(ground.ids::<Network>(filter).await, expected);
}

/// `?name=a&id=1`.
pub async fn conditions_on_different_fields_must_all_hold(ground: Ground) {
    let [one, _, _] = three_networks(&ground).await;
    let other = Filter::new()
        .with("id", one.id)
        .with("description", "something else");
    assert!(ground.ids::<Network>(other).await.is_empty());
    let one_only = Filter::new().with("id", one.id);
    assert_eq!(ground.ids::<Network>(one_only).await, [one.id.to_string()]);
}

/// `?id=1&id=2`: many are asked for at once.
pub async fn of_a_repeated_condition_any_may_hold(ground: Ground) {
    let [one, other, _] = three_networks(&ground).await;
    let filter = Filter::new().with("id", one.id).with("id", other.id);
    let expected = sorted([one.id.to_string(), other.id.to_string()]);
    assert_eq!(ground.ids::<Network>(filter).await, expected);
}

/// Docker releases an address, not a port.
pub async fn ports_are_found_by_their_address(ground: Ground) {
    let (network, subnet) = ground.network_with("10.99.0.0/24").await;
    let six = ground.subnet(&network, "fd00:99::/64").await;
    let port = ground.port(&network).await;
    let other = ground.port(&network).await;
    for ip in &port.fixed_ips {
        let of_subnet = format!("subnet_id={}", ip.subnet_id);
        let filters = [
            Filter::new()
                .at(ip.ip_address)
                .with("network_id", network.id),
            Filter::new().at(ip.ip_address).with("fixed_ips", of_subnet),
        ];
        for filter in filters {
            assert_eq!(ground.ids::<Port>(filter).await, [port.id.to_string()]);
        }
    }
    let both = sorted([port.id.to_string(), other.id.to_string()]);
    for subnet in [subnet, six] {
        let filter = Filter::new().with("fixed_ips", format!("subnet_id={}", subnet.id));
        assert_eq!(ground.ids::<Port>(filter).await, both);
    }
}

/// Objects are wide, lists are long.
pub async fn a_list_has_only_the_fields_asked_for(ground: Ground) {
    let network = ground.network().await;
    let path = format!("networks?name={}&fields=id&fields=tags", ground.name);
    let reply = ground.ask(Method::GET, &path, Value::Null).await;
    let expected = serde_json::json!([{"id": network.id, "tags": []}]);
    assert_eq!(reply.body["networks"], expected);
}

/// Whoever asked for it: a cloud may have a limit of its own.
pub async fn a_long_list_comes_in_pages(ground: Ground) {
    let networks = three_networks(&ground).await;
    let all = sorted(networks.iter().map(|network| network.id.to_string()));
    let by_two = Filter::new().with("limit", 2);
    assert_eq!(ground.ids::<Network>(by_two).await, all);
    let path = format!("networks?name={}&fields=id&limit=2", ground.name);
    let reply = ground.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(reply.body["networks"].as_array().map(Vec::len), Some(2));
    assert_eq!(reply.body["networks_links"][0]["rel"], "next");
}

async fn three_networks(ground: &Ground) -> [Network; 3] {
    [
        ground.network().await,
        ground.network().await,
        ground.network().await,
    ]
}
