//! Promises about the rules of security groups, and about how open ports are.

use http::Method;
use neutron_api::{Network, Port, SecurityGroup, SecurityGroupRule};
use neutron_client::Filter;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ground::{Ground, body};

/// So whoever lost a reply finds the rule that it has made.
pub async fn a_rule_is_there_once(ground: Ground) {
    let group = group(&ground).await;
    let rule = rule(
        &group,
        &json!({
            "protocol": "tcp", "port_range_min": 80, "port_range_max": 90,
            "remote_ip_prefix": "10.0.0.0/8",
        }),
    );
    let made: SecurityGroupRule = ground.made("security-group-rules", rule.clone()).await;
    let same = [
        json!({}),
        json!({"protocol": "6"}),
        json!({"description": "another"}),
    ];
    for other in same {
        let refusals = [(other, 409, "SecurityGroupRuleExists")];
        ground
            .refused::<SecurityGroupRule>("security-group-rules", &rule, &refusals)
            .await;
    }
    let reply = ground
        .ask(
            Method::POST,
            "security-group-rules",
            body::<SecurityGroupRule>(rule),
        )
        .await;
    let said = reply.body["NeutronError"]["message"]
        .as_str()
        .expect("a message");
    assert!(said.contains(&made.id.to_string()), "{said}");
    assert_eq!(ground.again(&group).await.rules.len(), 3);
}

/// So nothing is open because of a slip.
pub async fn what_a_rule_cannot_be_is_refused(ground: Ground) {
    let group = group(&ground).await;
    let ports = |protocol: Value, min: Value, max: Value| json!({"protocol": protocol, "port_range_min": min, "port_range_max": max});
    let protocol = |name: &str| json!({"protocol": name});
    let range = |prefix: &str| json!({"remote_ip_prefix": prefix});
    let tcp = json!("tcp");
    let gone = Uuid::new_v4();
    let refusals = [
        (json!({"direction": "sideways"}), 400, "HTTPBadRequest"),
        (
            json!({"ethertype": "IPv5"}),
            400,
            "SecurityGroupRuleInvalidEtherType",
        ),
        (
            protocol("nonsense"),
            400,
            "SecurityGroupRuleInvalidProtocol",
        ),
        (protocol("256"), 400, "SecurityGroupRuleInvalidProtocol"),
        (
            protocol("icmpv6"),
            400,
            "SecurityGroupEthertypeConflictWithProtocol",
        ),
        (
            ports(tcp.clone(), json!(90), json!(80)),
            400,
            "SecurityGroupInvalidPortRange",
        ),
        (
            ports(tcp.clone(), json!(80), Value::Null),
            400,
            "SecurityGroupInvalidPortRange",
        ),
        (
            ports(tcp.clone(), json!(0), json!(80)),
            400,
            "SecurityGroupInvalidPortValue",
        ),
        (
            ports(tcp, json!(70000), json!(80000)),
            400,
            "SecurityGroupInvalidPortValue",
        ),
        (
            ports(Value::Null, json!(80), json!(80)),
            400,
            "SecurityGroupProtocolRequiredWithPorts",
        ),
        (
            ports(json!("vrrp"), json!(80), json!(80)),
            400,
            "SecurityGroupInvalidProtocolForPort",
        ),
        (
            ports(json!("icmp"), json!(256), Value::Null),
            400,
            "SecurityGroupInvalidIcmpValue",
        ),
        (
            ports(json!("icmp"), Value::Null, json!(0)),
            400,
            "SecurityGroupMissingIcmpType",
        ),
        (range("nonsense"), 400, "InvalidCIDR"),
        (
            range("fd00::/64"),
            400,
            "SecurityGroupRuleParameterConflict",
        ),
        (
            json!({"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": group.id}),
            400,
            "SecurityGroupMultipleRemoteEntites",
        ),
        (
            json!({"remote_group_id": gone}),
            404,
            "SecurityGroupNotFound",
        ),
        (
            json!({"security_group_id": gone}),
            404,
            "SecurityGroupNotFound",
        ),
    ];
    let like = rule(&group, &json!({}));
    ground
        .refused::<SecurityGroupRule>("security-group-rules", &like, &refusals)
        .await;
    assert_eq!(ground.again(&group).await.rules.len(), 2);
}

/// So a request fails or succeeds for one group.
pub async fn rules_of_one_request_are_of_one_group(ground: Ground) {
    let (one, other) = (group(&ground).await, group(&ground).await);
    let udp = json!({"protocol": "udp"});
    let rules = json!({"security_group_rules": [rule(&one, &udp), rule(&other, &udp)]});
    let reply = ground
        .ask(Method::POST, "security-group-rules", rules)
        .await;
    let outcome = (reply.status.as_u16(), reply.fault());
    assert_eq!(outcome, (400, "SecurityGroupNotSingleGroupRules"));
    assert_eq!(ground.again(&one).await.rules.len(), 2);
}

/// `openstack security group rule list`.
pub async fn rules_are_found_by_what_they_say(ground: Ground) {
    let (one, other) = (group(&ground).await, group(&ground).await);
    let web = json!({"protocol": "tcp", "port_range_min": 80, "port_range_max": 80});
    let web: SecurityGroupRule = ground.made("security-group-rules", rule(&one, &web)).await;
    let members = json!({"remote_group_id": other.id});
    let members: SecurityGroupRule = ground
        .made("security-group-rules", rule(&one, &members))
        .await;
    let filters = [
        (Filter::new().with("protocol", "tcp"), vec![web.id]),
        (
            Filter::new().with("direction", "ingress"),
            vec![web.id, members.id],
        ),
        (
            Filter::new().with("remote_group_id", other.id),
            vec![members.id],
        ),
    ];
    for (filter, expected) in filters {
        let filter = filter.with("security_group_id", one.id);
        let list = ground.neutron.list::<SecurityGroupRule>(&filter).await;
        let mut found: Vec<_> = list.expect("a list").iter().map(|rule| rule.id).collect();
        let mut expected = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
    // What lets members of a group in goes with that group.
    ground
        .neutron
        .delete::<SecurityGroup>(other.id)
        .await
        .expect("gone");
    let found = ground.neutron.find::<SecurityGroupRule>(members.id).await;
    assert_eq!(found.expect("an answer"), None);
    assert!(
        ground
            .neutron
            .delete::<SecurityGroupRule>(web.id)
            .await
            .expect("gone")
    );
    assert!(
        !ground
            .neutron
            .delete::<SecurityGroupRule>(web.id)
            .await
            .expect("gone")
    );
}

/// Every project has one, and only one.
pub async fn there_is_no_second_default_group(ground: Ground) {
    let refusals = [(
        json!({"name": "default"}),
        409,
        "SecurityGroupDefaultAlreadyExists",
    )];
    ground
        .refused::<SecurityGroup>("security-groups", &json!({}), &refusals)
        .await;
    let group = group(&ground).await;
    let path = format!("security-groups/{}", group.id);
    let change = body::<SecurityGroup>(json!({"name": "default"}));
    let reply = ground.ask(Method::PUT, &path, change).await;
    let outcome = (reply.status.as_u16(), reply.fault());
    assert_eq!(outcome, (409, "SecurityGroupDefaultAlreadyExists"));
}

/// So no port is open wider than it says.
pub async fn wrong_address_pairs_are_refused(ground: Ground) {
    let (network, _) = ground.network_with("10.99.0.0/24").await;
    let pair = |pair: Value| json!({"allowed_address_pairs": [pair]});
    let address = json!({"ip_address": "10.99.0.50"});
    let refusals = [
        (
            pair(json!({"ip_address": "nonsense"})),
            400,
            "HTTPBadRequest",
        ),
        (
            pair(json!({"mac_address": "fa:16:3e:00:00:77"})),
            400,
            "AllowedAddressPairsMissingIP",
        ),
        (
            pair(json!({"ip_address": "10.99.0.50", "colour": "blue"})),
            400,
            "HTTPBadRequest",
        ),
        (
            pair(json!({"ip_address": "10.99.0.50", "mac_address": "x"})),
            400,
            "HTTPBadRequest",
        ),
        (
            json!({"allowed_address_pairs": [address, address]}),
            400,
            "DuplicateAddressPairInRequest",
        ),
        (
            json!({"allowed_address_pairs": "10.99.0.50"}),
            400,
            "HTTPBadRequest",
        ),
    ];
    let like = json!({"name": ground.name, "network_id": network.id});
    ground.refused::<Port>("ports", &like, &refusals).await;
}

/// `openstack network create --disable-port-security`.
pub async fn ports_are_as_open_as_their_network_says(ground: Ground) {
    let network = json!({"name": ground.name, "port_security_enabled": false});
    let network: Network = ground.made("networks", network).await;
    ground.subnet(&network, "10.99.0.0/24").await;
    let port = ground.port(&network).await;
    assert_eq!(
        (port.port_security_enabled, port.security_groups),
        (Some(false), vec![])
    );
    let group = group(&ground).await;
    let like = json!({"name": ground.name, "network_id": network.id});
    let fault = "PortSecurityAndIPRequiredForSecurityGroups";
    let refusals = [(json!({"security_groups": [group.id]}), 400, fault)];
    ground.refused::<Port>("ports", &like, &refusals).await;
    let closed = json!({
        "name": ground.name, "network_id": network.id, "port_security_enabled": true,
        "security_groups": [group.id],
    });
    let closed: Port = ground.made("ports", closed).await;
    assert_eq!(
        (closed.port_security_enabled, closed.security_groups),
        (Some(true), vec![group.id])
    );
}

async fn group(ground: &Ground) -> SecurityGroup {
    ground
        .made("security-groups", json!({"name": ground.name}))
        .await
}

fn rule(group: &SecurityGroup, says: &Value) -> Value {
    let mut rule = json!({"security_group_id": group.id, "direction": "ingress"});
    for (key, value) in says.as_object().expect("attributes") {
        rule[key] = value.clone();
    }
    rule
}
