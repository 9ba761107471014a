//! Ports that are published by the agent.

use http::Method;
use kuryr_vif::{Publish, PublishError, PublishedPort, Transport};
use serde_json::{Value, json};

use crate::machine::{answers, ask, serve, soon};
use crate::packets;
use crate::world::{World, address, eventually, tcp, text, vif};

fn listen(port: u16) -> std::io::Result<std::net::TcpListener> {
    std::net::TcpListener::bind(("0.0.0.0", port))
}

packets! {
    async fn a_published_port_leads_to_its_container_until_it_is_published_no_more() {
        let world = World::new().await;
        let network = world.network(&["10.0.1.0/24", "fd00:1::/64"]).await;
        let port = world.port(&network).await;
        let a = world.start("a", &port).await;
        serve(&a, "tcp", 80);
        let attachment = vif(&port).attachment;
        world.agent().publish(&attachment, &[tcp(8080, 80)], soon()).await.unwrap();
        assert!(answers(&world.machine.outside, "tcp", "192.0.2.1:8080"));
        for address in ["127.0.0.1:8080", "192.0.2.1:8080", "[2001:db8::1]:8080"] {
            assert!(ask(None, "tcp", address).is_some(), "{address}");
        }
        // The agent carries on what the kernel can't translate.
        let seen = tokio::task::spawn_blocking(|| ask(None, "tcp", "[::1]:8080")).await.unwrap();
        assert!(seen.is_some());
        // The container itself, by the host.
        assert!(answers(&a, "tcp", "192.0.2.1:8080"));
        assert!(answers(&a, "tcp", "[2001:db8::1]:8080"));
        assert!(listen(8080).is_err(), "the port is taken");
        world.agent().publish(&attachment, &[], soon()).await.unwrap();
        assert!(!answers(&world.machine.outside, "tcp", "192.0.2.1:8080"));
        eventually("the port is free", || listen(8080).is_ok()).await;
    }

    async fn ipv6_of_the_host_leads_to_a_container_that_has_none() {
        let world = World::new().await;
        let network = world.network(&["10.0.1.0/24"]).await;
        let port = world.port(&network).await;
        let a = world.start("a", &port).await;
        serve(&a, "tcp", 80);
        world.agent().publish(&vif(&port).attachment, &[tcp(8080, 80)], soon()).await.unwrap();
        let mut client = world.machine.outside.command("timeout");
        client.args(["3", "sh", "-c", "echo ? | socat -T 2 - TCP:[2001:db8::1]:8080"]);
        let output = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("served"));
    }

    async fn a_port_in_use_is_refused_and_its_user_is_named() {
        let world = World::new().await;
        let network = world.network(&["10.0.1.0/24"]).await;
        let (one, two) = (world.port(&network).await, world.port(&network).await);
        world.plug(&one).await;
        world.plug(&two).await;
        let _server = std::process::Command::new("socat").args(["TCP4-LISTEN:8080", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        eventually("socat listens", || listen(8080).is_err()).await;
        let error = world.agent().publish(&vif(&one).attachment, &[tcp(8081, 80), tcp(8080, 80)], soon()).await.unwrap_err();
        let PublishError::InUse { port, user } = &error else { panic!("{error}") };
        assert_eq!(port.host_port, 8080);
        assert!(user.starts_with("socat (process "), "{user}");
        assert!(listen(8081).is_ok(), "nothing is taken");
        world.agent().publish(&vif(&one).attachment, &[tcp(8082, 80)], soon()).await.unwrap();
        let error = world.agent().publish(&vif(&two).attachment, &[tcp(8082, 80)], soon()).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains("endpoint-of") && said.contains(&text(&one["id"])), "{said}");
        let absent = PublishedPort { host_ip: Some("203.0.113.1".parse().unwrap()), ..tcp(8083, 80) };
        let error = world.agent().publish(&vif(&two).attachment, &[absent], soon()).await.unwrap_err();
        assert!(matches!(error, PublishError::NoSuchAddress { .. }), "{error}");
    }

    async fn a_free_port_of_a_range_is_taken() {
        let world = World::new().await;
        let network = world.network(&["10.0.1.0/24"]).await;
        let port = world.port(&network).await;
        let a = world.start("a", &port).await;
        serve(&a, "tcp", 80);
        let _taken = listen(8080).unwrap();
        let range = PublishedPort { host_port_end: 8085, ..tcp(8080, 80) };
        world.agent().publish(&vif(&port).attachment, &[range], soon()).await.unwrap();
        assert!(answers(&world.machine.outside, "tcp", "192.0.2.1:8081"));
        assert!(!answers(&world.machine.outside, "tcp", "192.0.2.1:8082"));
    }

    async fn udp_and_sctp_are_published() {
        let world = World::new().await;
        let network = world.network(&["10.0.1.0/24"]).await;
        let port = world.port(&network).await;
        let a = world.start("a", &port).await;
        serve(&a, "udp", 53);
        let ports = [Transport::Udp, Transport::Sctp].map(|transport| PublishedPort { transport, ..tcp(5353, 53) });
        world.agent().publish(&vif(&port).attachment, &ports, soon()).await.unwrap();
        assert!(answers(&world.machine.outside, "udp", "192.0.2.1:5353"));
        assert!(ask(None, "udp", "127.0.0.1:5353").is_some());
        assert!(std::net::UdpSocket::bind("0.0.0.0:5353").is_err());
        // Not every kernel has SCTP for a server; its packets are led on all the same.
        let map = kuryr_testkit::run("nft", "list map inet kuryr published4");
        assert!(map.contains(&format!("sctp . 5353 : {} . 53", address(&port))), "{map}");
    }

    async fn published_ports_are_held_again_after_a_restart_and_go_with_the_port() {
        let mut world = World::new().await;
        let network = world.network(&["10.0.1.0/24"]).await;
        let port = world.port(&network).await;
        let a = world.start("a", &port).await;
        serve(&a, "tcp", 80);
        world.agent().publish(&vif(&port).attachment, &[tcp(8080, 80)], soon()).await.unwrap();
        world.restart().await;
        assert!(answers(&world.machine.outside, "tcp", "192.0.2.1:8080"));
        assert!(listen(8080).is_err());
        world.ask(Method::PUT, &format!("ports/{}", text(&port["id"])), json!({"port": {"name": "other"}})).await;
        assert!(answers(&world.machine.outside, "tcp", "192.0.2.1:8080"));
        world.ask(Method::DELETE, &format!("ports/{}", text(&port["id"])), Value::Null).await;
        eventually("the port is free", || listen(8080).is_ok()).await;
        assert!(!answers(&world.machine.outside, "tcp", "192.0.2.1:8080"));
    }
}
