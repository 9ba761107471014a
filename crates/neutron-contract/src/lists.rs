//! Promises about lists.

use http::Method;
use neutron_api::{Network, Port};
use neutron_client::Filter;
use serde_json::{Value, json};

use crate::ground::{Ground, body, sorted};

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

/// `--mac-address` of a port that there is.
pub async fn ports_are_found_by_their_mac_address(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let port = ground.port(&network).await;
    ground.port(&network).await;
    let filter = Filter::new()
        .with("network_id", network.id)
        .with("mac_address", port.mac_address);
    assert_eq!(ground.ids::<Port>(filter).await, [port.id.to_string()]);
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

/// `?tags-any=a,b` and the two that say no.
pub async fn tags_can_be_asked_for_in_four_ways(ground: Ground) {
    let [both, one, neither] = three_networks(&ground).await;
    ground.tag(&both, &["a", "b"]).await;
    ground.tag(&one, &["b", "c"]).await;
    ground.tag(&neither, &["d"]).await;
    let lists = [
        ("tags", "a,b", vec![&both]),
        ("tags-any", "a,c", vec![&both, &one]),
        ("not-tags", "a,b", vec![&one, &neither]),
        ("not-tags-any", "a,c", vec![&neither]),
    ];
    for (filter, tags, expected) in lists {
        let found = ground
            .ids::<Network>(Filter::new().with(filter, tags))
            .await;
        let expected = sorted(expected.iter().map(|network| network.id.to_string()));
        assert_eq!(found, expected, "{filter}={tags}");
    }
}

/// So that a misspelt condition does not find everything.
pub async fn an_unknown_condition_is_refused(ground: Ground) {
    let path = "networks?colour=blue&taste=sweet";
    let reply = ground.ask(Method::GET, path, Value::Null).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    let message = &reply.body["NeutronError"]["message"];
    assert_eq!(
        message,
        "['colour', 'taste'] is invalid attribute for filtering"
    );
    for filter in ["shared=perhaps", "mtu=large"] {
        let path = format!("networks?{filter}");
        let reply = ground.ask(Method::GET, &path, Value::Null).await;
        let outcome = (reply.status.as_u16(), reply.fault());
        assert_eq!(outcome, (400, "InvalidInput"), "{filter}");
    }
}

/// However a truth value is spelt.
pub async fn a_condition_on_a_truth_value_takes_every_spelling(ground: Ground) {
    let network = ground.network().await;
    for (spelling, found) in [("true", true), ("True", true), ("1", true), ("no", false)] {
        let filter = Filter::new().with("admin_state_up", spelling);
        let ids = ground.ids::<Network>(filter).await;
        assert_eq!(ids == [network.id.to_string()], found, "{spelling}");
    }
}

/// `openstack network list --sort-column`.
pub async fn a_list_comes_in_the_order_asked_for(ground: Ground) {
    let network = ground.network().await;
    for mtu in [1300, 900, 1400] {
        let new = body::<Network>(json!({"name": ground.name, "mtu": mtu}));
        let reply = ground.ask(Method::POST, "networks", new).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    let own = network.mtu.expect("an MTU");
    let list = |direction| {
        let name = &ground.name;
        format!("networks?name={name}&fields=mtu&sort_key=mtu&sort_dir={direction}")
    };
    let expected = [900, 1300, 1400, own];
    assert_eq!(values(&ground, &list("asc"), "mtu").await, expected);
    let expected = [own, 1400, 1300, 900];
    assert_eq!(values(&ground, &list("desc"), "mtu").await, expected);
}

/// An order by what has none.
pub async fn an_unknown_order_is_refused(ground: Ground) {
    let queries = [
        (
            "sort_key=colour&sort_dir=asc",
            "['colour'] is invalid attribute for sort_keys",
        ),
        (
            "sort_key=subnets&sort_dir=asc",
            "['subnets'] is invalid attribute for sort_keys",
        ),
        (
            "sort_key=name",
            "The number of sort_keys and sort_dirs must be same",
        ),
    ];
    for (query, message) in queries {
        let reply = ground
            .ask(Method::GET, &format!("networks?{query}"), Value::Null)
            .await;
        assert_eq!(reply.status, 400, "{query}");
        assert_eq!(reply.body["NeutronError"]["message"], message, "{query}");
    }
}

/// Whoever pages back comes to where it has been.
pub async fn pages_are_read_forwards_and_backwards(ground: Ground) {
    let networks = three_networks(&ground).await;
    let all = sorted(networks.iter().map(|network| network.id.to_string()));
    let start = format!(
        "networks?name={}&sort_key=id&sort_dir=asc&limit=2",
        ground.name
    );
    let (first, links) = page(&ground, &start).await;
    assert_eq!(first, all[..2]);
    let (second, links) = page(&ground, &links[0]).await;
    assert_eq!(second, all[2..]);
    assert_eq!(links.len(), 1, "{links:?}");
    assert!(links[0].contains("page_reverse=True"), "{links:?}");
    let (again, links) = page(&ground, &links[0]).await;
    assert_eq!(again, all[..2]);
    assert_eq!(links.len(), 2, "{links:?}");
    let gone = uuid::Uuid::new_v4();
    let reply = ground
        .ask(Method::GET, &format!("{start}&marker={gone}"), Value::Null)
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.fault()),
        (404, "NetworkNotFound")
    );
}

/// The identifiers on a page, and where its links lead.
async fn page(ground: &Ground, path: &str) -> (Vec<String>, Vec<String>) {
    let reply = ground.ask(Method::GET, path, Value::Null).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let of = |key: &str| reply.body[key].as_array().cloned().unwrap_or_default();
    let ids = of("networks")
        .iter()
        .map(|network| text(&network["id"]))
        .collect();
    let query = |link: &Value| {
        let href = text(&link["href"]);
        let (_, query) = href.split_once('?').expect("a query");
        format!("networks?{query}")
    };
    (ids, of("networks_links").iter().map(query).collect())
}

async fn values(ground: &Ground, path: &str, key: &str) -> Vec<u32> {
    let reply = ground.ask(Method::GET, path, Value::Null).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let list = reply.body["networks"].as_array().expect("a list").iter();
    let number = |object: &Value| object[key].as_u64().expect("a number");
    list.map(|object| u32::try_from(number(object)).expect("a small number"))
        .collect()
}

async fn three_networks(ground: &Ground) -> [Network; 3] {
    [
        ground.network().await,
        ground.network().await,
        ground.network().await,
    ]
}
