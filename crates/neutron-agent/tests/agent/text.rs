//! The script for nft, as text.

use neutron_agent::{Batch, Model, script};
use serde_json::json;

use crate::cloud::{Cloud, all_egress, group_id};

const BATCH: Batch<'_> = Batch {
    table: "kuryr",
    number: 7,
};

/// Two containers on one network, with all that can be said of a port.
fn cloud() -> Cloud {
    let mut cloud = Cloud::default();
    cloud.network(1, &["10.0.1.0/24", "fd00:1::/64"]);
    let remote = json!(group_id(1));
    let [egress4, egress6] = all_egress();
    cloud.group(
        1,
        &[
            egress4,
            egress6,
            json!({"remote_group_id": remote}),
            json!({"protocol": "tcp", "port_range_min": 80, "port_range_max": 90, "remote_ip_prefix": "192.0.2.0/24"}),
            json!({"protocol": "udp", "port_range_min": 53, "port_range_max": 53, "remote_ip_prefix": "0.0.0.0/0"}),
            json!({"protocol": "icmp", "port_range_min": 8, "port_range_max": 0}),
            json!({"protocol": "icmp", "ethertype": "IPv6", "port_range_min": 128}),
            json!({"protocol": "47"}),
        ],
    );
    cloud.port(1, 1, &["10.0.1.11", "fd00:1::11"], &[1], &json!({}));
    cloud.port(
        2,
        1,
        &["10.0.1.12"],
        &[1],
        &json!({
            "allowed_address_pairs": [
                {"ip_address": "10.0.1.100"},
                {"ip_address": "10.9.0.0/16"},
                {"ip_address": "10.9.1.0/24"},
                {"ip_address": "fd00:9::/64", "mac_address": "00:00:5e:00:01:01"},
            ],
            "binding:profile": {"published_ports": [
                {"protocol": 6, "host_port": 8080, "container_port": 80},
                {"protocol": 17, "host_ip": "192.0.2.1", "host_port": 53, "container_port": 53},
            ]},
        }),
    );
    cloud
}

/// Only what is not the same for every host.
fn variable(script: &str) -> String {
    let lines = script.lines();
    let begins = |line: &&str| {
        ["add ", "delete ", "flush "]
            .iter()
            .any(|verb| line.starts_with(verb))
    };
    lines.filter(begins).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_first_script_makes_everything() {
    let wanted = cloud().model(&Model::default());
    insta::assert_snapshot!(variable(&script(None, &wanted, BATCH).unwrap()));
}

#[test]
fn a_new_port_costs_elements_only() {
    let mut cloud = cloud();
    let before = cloud.model(&Model::default());
    cloud.port(3, 1, &["10.0.1.13"], &[1], &json!({}));
    let after = cloud.model(&before);
    insta::assert_snapshot!(script(Some(&before), &after, BATCH).unwrap());
}

#[test]
fn chains_stay_without_ports_until_their_group_goes() {
    let mut cloud = cloud();
    let before = cloud.model(&Model::default());
    cloud.without_port(1, 1);
    cloud.without_port(2, 1);
    let between = cloud.model(&before);
    let without_ports = script(Some(&before), &between, BATCH).unwrap();
    assert!(!without_ports.contains("chain"), "{without_ports}");
    cloud.snapshot.security_groups.remove_mut(&group_id(1));
    let after = cloud.model(&between);
    insta::assert_snapshot!(script(Some(&between), &after, BATCH).unwrap());
}

#[test]
fn a_rule_that_changes_costs_its_chain_only() {
    let mut cloud = cloud();
    cloud.group(2, &[json!({"protocol": "tcp"})]);
    cloud.port(3, 1, &["10.0.1.13"], &[1, 2], &json!({}));
    let before = cloud.model(&Model::default());
    cloud.group(2, &[json!({"protocol": "udp"})]);
    let after = cloud.model(&before);
    insta::assert_snapshot!(script(Some(&before), &after, BATCH).unwrap());
}

#[test]
fn nothing_new_is_no_script() {
    let mut cloud = cloud();
    let before = cloud.model(&Model::default());
    // The port is read again, with another name.
    cloud.port(
        1,
        1,
        &["10.0.1.11", "fd00:1::11"],
        &[1],
        &json!({"name": "web"}),
    );
    let after = cloud.model(&before);
    assert_eq!(script(Some(&before), &after, BATCH), None);
}

#[test]
fn an_address_on_two_ports_is_there_until_the_second_one_goes() {
    let mut cloud = cloud();
    let pair = json!({"allowed_address_pairs": [{"ip_address": "10.0.1.100"}]});
    cloud.port(3, 1, &["10.0.1.13"], &[1], &pair);
    let before = cloud.model(&Model::default());
    cloud.without_port(3, 1);
    let between = cloud.model(&before);
    let goes = |script: Option<String>| {
        let script = script.unwrap();
        let deleted = script
            .lines()
            .filter(|line| line.starts_with("delete element inet kuryr to_port4"));
        deleted.collect::<String>().contains("10.0.1.100")
    };
    assert!(!goes(script(Some(&before), &between, BATCH)));
    cloud.without_port(2, 1);
    let after = cloud.model(&between);
    assert!(goes(script(Some(&between), &after, BATCH)));
}
