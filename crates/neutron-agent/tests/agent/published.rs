//! Published ports, with packets.

use serde_json::{Value, json};

use crate::cloud::{Cloud, all_egress};
use crate::machine::{Machine, answers, ask, serve};
use crate::packets;

/// Port 1 (a client), 2 (a server that publishes `ports`) on network 1, and 3 on network 2. Nothing
/// may come in but what is published.
fn cloud(ports: &Value) -> Cloud {
    let mut cloud = Cloud::default();
    cloud.network(1, &["10.0.1.0/24", "fd00:1::/64"]);
    cloud.network(2, &["10.0.2.0/24", "fd00:2::/64"]);
    cloud.group(1, &all_egress());
    cloud.port(1, 1, &["10.0.1.11", "fd00:1::11"], &[1], &json!({}));
    cloud.port(
        2,
        1,
        &["10.0.1.12", "fd00:1::12"],
        &[1],
        &json!({"binding:profile": {"published_ports": ports}}),
    );
    cloud.port(3, 2, &["10.0.2.13", "fd00:2::13"], &[1], &json!({}));
    cloud
}

packets! {
    async fn a_published_port_is_reached_from_everywhere() {
        let mut machine = Machine::new();
        machine.apply(&cloud(&json!([
            {"protocol": 6, "host_port": 8080, "container_port": 80},
            {"protocol": 17, "host_port": 5353, "container_port": 53},
        ]))).await;
        let (one, two, three) = (machine.start(1).await, machine.start(2).await, machine.start(3).await);
        serve(&two, "tcp", 80);
        serve(&two, "tcp", 8080);
        serve(&two, "udp", 53);
        for from in [&machine.outside, &one, &three] {
            assert!(answers(from, "tcp", "192.0.2.1:8080"));
            assert!(answers(from, "tcp", "[2001:db8::1]:8080"));
            assert!(answers(from, "udp", "192.0.2.1:5353"));
            assert!(answers(from, "udp", "[2001:db8::1]:5353"));
        }
        for address in ["127.0.0.1", "127.0.0.2", "192.0.2.1", "10.0.1.1", "[2001:db8::1]"] {
            assert!(ask(None, "tcp", &format!("{address}:8080")).is_some(), "{address}");
            assert!(ask(None, "udp", &format!("{address}:5353")).is_some(), "{address}");
        }
        // Not by its own address, where a security group says what may come in.
        assert!(!answers(&one, "tcp", "10.0.1.12:80"));
        assert!(!answers(&one, "tcp", "10.0.1.12:8080"));
    }

    async fn the_container_sees_who_asks() {
        let mut machine = Machine::new();
        machine.apply(&cloud(&json!([{"protocol": 6, "host_port": 8080, "container_port": 80}]))).await;
        let two = machine.start(2).await;
        serve(&two, "tcp", 80);
        let seen = ask(Some(&machine.outside), "tcp", "192.0.2.1:8080").unwrap();
        assert!(seen.contains("c000:0202"), "{seen}");
    }

    async fn a_port_of_one_address_is_not_reached_at_another() {
        let mut machine = Machine::new();
        machine.apply(&cloud(&json!([
            {"protocol": 6, "host_port": 8080, "container_port": 80, "host_ip": "127.0.0.1"},
            {"protocol": 6, "host_port": 8081, "container_port": 80, "host_ip": "192.0.2.1"},
            {"protocol": 6, "host_port": 8082, "container_port": 80, "host_ip": "0.0.0.0"},
        ]))).await;
        let two = machine.start(2).await;
        serve(&two, "tcp", 80);
        assert!(ask(None, "tcp", "127.0.0.1:8080").is_some());
        assert!(!answers(&machine.outside, "tcp", "192.0.2.1:8080"));
        assert!(answers(&machine.outside, "tcp", "192.0.2.1:8081"));
        assert!(ask(None, "tcp", "127.0.0.1:8081").is_none());
        assert!(answers(&machine.outside, "tcp", "192.0.2.1:8082"));
        assert!(!answers(&machine.outside, "tcp", "[2001:db8::1]:8082"));
    }

    async fn a_port_of_the_outside_is_left_alone() {
        let mut machine = Machine::new();
        machine.apply(&cloud(&json!([{"protocol": 6, "host_port": 8080, "container_port": 80}]))).await;
        let (one, two) = (machine.start(1).await, machine.start(2).await);
        serve(&two, "tcp", 80);
        serve(&machine.outside, "tcp", 8080);
        let seen = ask(Some(&one), "tcp", "192.0.2.2:8080").unwrap();
        assert!(seen.contains("c000:0201"), "the outside was asked: {seen}");
    }
}
