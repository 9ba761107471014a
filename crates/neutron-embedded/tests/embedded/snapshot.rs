//! What an agent sees.

use std::sync::Arc;

use http::Method;
use neutron_api::PortId;
use neutron_embedded::{Embedded, EmbeddedSettings, HostPort, Snapshot};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{bound_port, exchange, made, text};

#[tokio::test]
async fn a_port_is_seen_on_the_host_that_it_is_bound_to_and_nowhere_else() {
    let embedded = Embedded::default();
    let port = bound_port(&embedded, "host1").await;
    bound_port(&embedded, "").await;
    let path = format!("ports/{}", text(&port["id"]));
    assert_eq!(ids(&embedded.snapshot(), "host1"), [id(&port)]);
    for host in ["host2", ""] {
        let body = json!({"port": {"binding:host_id": host}});
        exchange(&embedded, Method::PUT, &path, body).await;
        let snapshot = embedded.snapshot();
        assert_eq!(ids(&snapshot, "host1"), []);
        let expected = if host.is_empty() { 0 } else { 1 };
        assert_eq!(ids(&snapshot, "host2").len(), expected);
        assert_eq!(snapshot.ports.len(), expected);
    }
    let body = json!({"port": {"binding:host_id": "host1"}});
    exchange(&embedded, Method::PUT, &path, body).await;
    exchange(&embedded, Method::DELETE, &path, Value::Null).await;
    assert!(embedded.snapshot().ports.is_empty());
}

#[tokio::test]
async fn what_has_not_changed_is_the_same_in_the_next_snapshot() {
    let embedded = Embedded::default();
    let one = bound_port(&embedded, "host1").await;
    let other = bound_port(&embedded, "host1").await;
    let before = embedded.snapshot();
    let path = format!("ports/{}", text(&one["id"]));
    let body = json!({"port": {"admin_state_up": false}});
    exchange(&embedded, Method::PUT, &path, body).await;
    let after = embedded.snapshot();
    assert!(port(&before, id(&one)).admin_state_up);
    assert!(!port(&after, id(&one)).admin_state_up);
    let [then, now] = [&before, &after].map(|snapshot| port(snapshot, id(&other)));
    assert!(Arc::ptr_eq(then, now));
    let host = |snapshot: &Snapshot| snapshot.ports["host1"].clone();
    let network = text(&other["network_id"]).parse().unwrap();
    assert!(Arc::ptr_eq(
        &host(&before)[&network],
        &host(&after)[&network]
    ));
}

#[tokio::test]
async fn a_snapshot_tells_which_networks_have_changed_since_another() {
    let embedded = Embedded::default();
    let one = bound_port(&embedded, "host1").await;
    bound_port(&embedded, "host1").await;
    let before = embedded.snapshot();
    let path = format!("ports/{}", text(&one["id"]));
    let named = json!({"port": {"name": "a name"}});
    exchange(&embedded, Method::PUT, &path, named).await;
    let named = embedded.snapshot();
    assert_eq!(named.touched_since(&before), Some([].into()));
    let switched = |up: bool| json!({"port": {"admin_state_up": up}});
    exchange(&embedded, Method::PUT, &path, switched(false)).await;
    let network = text(&one["network_id"]).parse().unwrap();
    let after = embedded.snapshot();
    assert_eq!(after.touched_since(&before), Some([network].into()));
    assert_eq!(after.touched_since(&after), Some([].into()));
    for time in 1..=300 {
        exchange(&embedded, Method::PUT, &path, switched(time % 2 == 1)).await;
    }
    let long_after = embedded.snapshot();
    assert_eq!(long_after.touched_since(&before), None, "too long ago");
    assert_eq!(before.touched_since(&long_after), None, "later");
    assert_eq!(long_after.touched_since(&Snapshot::default()), None);
}

#[tokio::test]
async fn a_security_group_has_the_rules_that_it_has_now() {
    let embedded = Embedded::default();
    let group = json!({"security_group": {"name": "web"}});
    let (_, reply) = exchange(&embedded, Method::POST, "security-groups", group).await;
    let group = text(&reply["security_group"]["id"]).parse().unwrap();
    let rules = || embedded.snapshot().security_groups[&group].rules.len();
    assert_eq!(rules(), 2);
    let rule = json!({"security_group_rule": {
        "security_group_id": group, "direction": "ingress", "protocol": "tcp",
        "port_range_min": 80, "port_range_max": 80,
    }});
    let (_, reply) = exchange(&embedded, Method::POST, "security-group-rules", rule).await;
    assert_eq!(rules(), 3);
    let path = format!(
        "security-group-rules/{}",
        text(&reply["security_group_rule"]["id"])
    );
    exchange(&embedded, Method::DELETE, &path, Value::Null).await;
    assert_eq!(rules(), 2);
    let path = format!("security-groups/{group}");
    exchange(&embedded, Method::DELETE, &path, Value::Null).await;
    assert!(!embedded.snapshot().security_groups.contains_key(&group));
}

#[tokio::test]
async fn what_an_agent_notes_on_a_port_is_kept_beside_the_rest() {
    let here = TempDir::new().unwrap();
    let path = here.path().join("neutron.db");
    let open = || Embedded::open(EmbeddedSettings::default(), &path).unwrap();
    let embedded = open();
    let made = bound_port(&embedded, "host1").await;
    for (key, value) in [("a", json!([80])), ("b", json!(1)), ("b", Value::Null)] {
        assert!(embedded.set_profile(id(&made), key, value).await.unwrap());
    }
    drop(embedded);
    let embedded = open();
    let profile = port(&embedded.snapshot(), id(&made))
        .binding_profile
        .clone();
    assert_eq!(Value::from(profile), json!({"a": [80]}));
    let nobody = PortId::from(uuid::Uuid::new_v4());
    let outcome = embedded.set_profile(nobody, "a", json!(1)).await;
    assert!(!outcome.unwrap());
}

#[tokio::test]
async fn after_any_changes_it_is_what_a_new_start_would_see() {
    let here = TempDir::new().unwrap();
    let path = here.path().join("neutron.db");
    let open = || Embedded::open(EmbeddedSettings::default(), &path).unwrap();
    let embedded = open();
    let [one, other, third] = [
        bound_port(&embedded, "host1").await,
        bound_port(&embedded, "host1").await,
        bound_port(&embedded, "host2").await,
    ];
    let subnet = json!({"subnet": {
        "network_id": one["network_id"], "ip_version": 4, "cidr": "10.0.0.0/24",
    }});
    made(&embedded, "subnets", subnet).await;
    let body = json!({"port": {"binding:host_id": "host2", "fixed_ips": []}});
    let path_of = |port: &Value| format!("ports/{}", text(&port["id"]));
    exchange(&embedded, Method::PUT, &path_of(&one), body).await;
    exchange(&embedded, Method::DELETE, &path_of(&other), Value::Null).await;
    let tags = json!({"tags": ["a"]});
    let path_of_tags = format!("{}/tags", path_of(&third));
    exchange(&embedded, Method::PUT, &path_of_tags, tags).await;
    let path_of_network = format!("networks/{}", text(&other["network_id"]));
    exchange(&embedded, Method::DELETE, &path_of_network, Value::Null).await;
    let before = embedded.snapshot();
    drop(embedded);
    assert_eq!(open().snapshot(), before);
}

fn port(snapshot: &Snapshot, id: PortId) -> &Arc<HostPort> {
    let hosts = snapshot.ports.values();
    let mut found = hosts.flat_map(|host| host.values().filter_map(|ports| ports.get(&id)));
    found.next().unwrap()
}

fn ids(snapshot: &Snapshot, host: &str) -> Vec<PortId> {
    snapshot.ports_on(host).map(|port| port.id).collect()
}

fn id(port: &Value) -> PortId {
    text(&port["id"]).parse().unwrap()
}
