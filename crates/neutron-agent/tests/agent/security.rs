//! Security groups, with packets.

use serde_json::{Value, json};

use crate::cloud::{Cloud, all_egress, group_id};
use crate::machine::{Machine, answers, pings, serve};
use crate::packets;

/// A group that lets everything out and `ingress` in.
fn group(ingress: &[Value]) -> Vec<Value> {
    let mut rules = all_egress().to_vec();
    rules.extend_from_slice(ingress);
    rules
}

/// A client (1) and a server (2) on one network; the server is held to group 2.
async fn two(rules: &[Value]) -> (Machine, Cloud) {
    let mut cloud = Cloud::default();
    cloud.network(1, &["10.0.1.0/24", "fd00:1::/64"]);
    cloud.group(1, &group(&[]));
    cloud.group(2, rules);
    cloud.port(1, 1, &["10.0.1.11", "fd00:1::11"], &[1], &json!({}));
    cloud.port(2, 1, &["10.0.1.12", "fd00:1::12"], &[2], &json!({}));
    let mut machine = Machine::new();
    machine.apply(&cloud).await;
    (machine, cloud)
}

packets! {
    async fn only_what_a_rule_lets_in_comes_in() {
        let (machine, _) = two(&group(&[
            json!({"protocol": "tcp", "port_range_min": 80, "port_range_max": 82}),
            json!({"protocol": "tcp", "port_range_min": 80, "port_range_max": 80, "ethertype": "IPv6"}),
            json!({"protocol": "udp", "port_range_min": 53, "port_range_max": 53}),
        ])).await;
        let (client, server) = (machine.start(1).await, machine.start(2).await);
        for port in [79, 80, 82, 83] {
            serve(&server, "tcp", port);
        }
        for port in [53, 54] {
            serve(&server, "udp", port);
        }
        let asked = |kind, address: &str| answers(&client, kind, address);
        assert!(asked("tcp", "10.0.1.12:80"));
        assert!(asked("tcp", "10.0.1.12:82"));
        assert!(!asked("tcp", "10.0.1.12:79"));
        assert!(!asked("tcp", "10.0.1.12:83"));
        assert!(asked("tcp", "[fd00:1::12]:80"));
        assert!(!asked("tcp", "[fd00:1::12]:82"));
        assert!(asked("udp", "10.0.1.12:53"));
        assert!(!asked("udp", "10.0.1.12:54"));
        assert!(!asked("udp", "[fd00:1::12]:53"));
        assert!(!pings(&client, "10.0.1.12"));
        assert!(!pings(&client, "fd00:1::12"));
        // Replies to what went out come in, whatever the rules say.
        assert!(pings(&server, "10.0.1.1"));
    }

    async fn pings_are_let_in_by_their_type() {
        let (machine, _) = two(&group(&[
            json!({"protocol": "icmp", "port_range_min": 8, "port_range_max": 0}),
            json!({"protocol": "icmp", "port_range_min": 128, "ethertype": "IPv6"}),
        ])).await;
        let (client, _server) = (machine.start(1).await, machine.start(2).await);
        assert!(pings(&client, "10.0.1.12"));
        assert!(pings(&client, "fd00:1::12"));
    }

    async fn only_what_a_rule_lets_out_goes_out() {
        let (machine, _) = two(&[
            json!({"direction": "egress", "protocol": "tcp", "port_range_min": 80, "port_range_max": 80}),
            json!({"direction": "egress", "protocol": "udp", "remote_ip_prefix": "192.0.2.0/24"}),
        ]).await;
        let server = machine.start(2).await;
        for (kind, port) in [("tcp", 80), ("tcp", 81), ("udp", 53)] {
            serve(&machine.outside, kind, port);
        }
        assert!(answers(&server, "tcp", "192.0.2.2:80"));
        assert!(!answers(&server, "tcp", "192.0.2.2:81"));
        assert!(answers(&server, "udp", "192.0.2.2:53"));
        assert!(!pings(&server, "192.0.2.2"));
        // The gateway is the host: what goes there goes out, too.
        assert!(!pings(&server, "10.0.1.1"));
        assert!(!pings(&server, "fd00:1::1"));
    }

    async fn a_remote_prefix_tells_who_may_come_in() {
        let (machine, _) = two(&group(&[
            json!({"remote_ip_prefix": "10.0.1.8/29"}),
            json!({"ethertype": "IPv6", "remote_ip_prefix": "fd00:1::10/124"}),
        ])).await;
        let (client, _server) = (machine.start(1).await, machine.start(2).await);
        assert!(pings(&client, "10.0.1.12"));
        assert!(pings(&client, "fd00:1::12"));
        machine.outside.run("ip", "route add 10.0.1.0/24 via 192.0.2.1");
        assert!(!pings(&machine.outside, "10.0.1.12"));
    }

    async fn a_remote_group_is_its_members_also_those_that_come_later() {
        let (mut machine, mut cloud) = two(&group(&[
            json!({"remote_group_id": group_id(1)}),
            json!({"remote_group_id": group_id(1), "ethertype": "IPv6"}),
        ])).await;
        cloud.port(3, 1, &["10.0.1.13"], &[2], &json!({}));
        machine.apply(&cloud).await;
        let (client, _server, other) = (machine.start(1).await, machine.start(2).await, machine.start(3).await);
        assert!(pings(&client, "10.0.1.12"));
        assert!(pings(&client, "fd00:1::12"));
        assert!(!pings(&other, "10.0.1.12"));
        cloud.port(3, 1, &["10.0.1.13"], &[1, 2], &json!({}));
        machine.apply(&cloud).await;
        assert!(pings(&other, "10.0.1.12"));
        cloud.without_port(1, 1);
        machine.apply(&cloud).await;
        assert!(!pings(&client, "10.0.1.12"));
    }

    async fn a_rule_that_changes_holds_for_running_ports() {
        let (mut machine, mut cloud) = two(&group(&[])).await;
        let (client, server) = (machine.start(1).await, machine.start(2).await);
        serve(&server, "tcp", 80);
        assert!(!answers(&client, "tcp", "10.0.1.12:80"));
        cloud.group(2, &group(&[json!({"protocol": "tcp"})]));
        machine.apply(&cloud).await;
        assert!(answers(&client, "tcp", "10.0.1.12:80"));
        cloud.group(2, &group(&[]));
        machine.apply(&cloud).await;
        assert!(!answers(&client, "tcp", "10.0.1.12:80"));
    }

    async fn a_thousand_rules_are_rules() {
        let one = |port: u16| json!({"protocol": "tcp", "port_range_min": port, "port_range_max": port});
        let (machine, _) = two(&group(&(1..=1000).map(one).collect::<Vec<_>>())).await;
        let (client, server) = (machine.start(1).await, machine.start(2).await);
        serve(&server, "tcp", 1000);
        serve(&server, "tcp", 1001);
        assert!(answers(&client, "tcp", "10.0.1.12:1000"));
        assert!(!answers(&client, "tcp", "10.0.1.12:1001"));
    }

    async fn a_port_without_port_security_is_held_to_nothing() {
        let (mut machine, mut cloud) = two(&group(&[])).await;
        cloud.port(2, 1, &["10.0.1.12", "fd00:1::12"], &[], &json!({"port_security_enabled": false}));
        machine.apply(&cloud).await;
        let (client, server) = (machine.start(1).await, machine.start(2).await);
        assert!(pings(&client, "10.0.1.12"));
        assert!(pings(&client, "fd00:1::12"));
        server.run("ip", "addr add 10.0.1.99/24 dev eth0");
        assert!(pings(&client, "10.0.1.99"));
    }

    async fn a_port_that_is_down_says_nothing_and_hears_nothing() {
        let (mut machine, mut cloud) = two(&group(&[json!({})])).await;
        let (client, _server) = (machine.start(1).await, machine.start(2).await);
        assert!(pings(&client, "10.0.1.12"));
        cloud.port(2, 1, &["10.0.1.12", "fd00:1::12"], &[2], &json!({"admin_state_up": false}));
        machine.apply(&cloud).await;
        assert!(!pings(&client, "10.0.1.12"));
    }
}
