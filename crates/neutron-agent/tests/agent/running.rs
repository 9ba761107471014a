//! The agent at work.

use http::Method;
use kuryr_testkit::{attempt, run};
use kuryr_vif::{Plug, Publish, PublishedPort};
use serde_json::{Value, json};

use crate::machine::{has_nft_table, pings, soon};
use crate::packets;
use crate::world::{World, address, eventually, tcp, text, vif};

const BOTH: [&str; 2] = ["10.0.1.0/24", "fd00:1::/64"];

fn bridges() -> String {
    run("ip", "-o link show type bridge")
}

fn rules() -> String {
    run("nft", "list ruleset")
}

packets! {
    async fn a_port_is_plugged_protected_and_told_to_be_active() {
        let world = World::new().await;
        assert!(!has_nft_table("inet kuryr"));
        let network = world.network(&BOTH).await;
        let (one, two) = (world.port(&network).await, world.port(&network).await);
        let (a, b) = (world.start("a", &one).await, world.start("b", &two).await);
        assert_eq!(world.status(&one).await, "ACTIVE");
        // The default security group lets its members in.
        assert!(pings(&a, &address(&two)) && pings(&b, &address(&one)));
        assert!(pings(&a, "192.0.2.2"), "the host forwards and translates");
        assert!(pings(&a, "2001:db8::2"));
        world.machine.outside.run("ip", "route add 10.0.1.0/24 via 192.0.2.1");
        assert!(!pings(&world.machine.outside, &address(&one)));
        world.agent().unplug(&vif(&one).attachment, soon()).await.unwrap();
        assert_eq!(world.status(&one).await, "DOWN");
    }

    async fn what_is_no_port_of_this_host_is_not_plugged() {
        let world = World::new().await;
        let network = world.network(&BOTH).await;
        let port = world.make("port", json!({"network_id": network, "binding:host_id": "elsewhere"})).await;
        let mut vif = vif(&world.port(&network).await);
        vif.attachment.interface_id = text(&port["id"]);
        let error = world.agent().plug(&vif, soon()).await.unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("no port") && why.contains("host here"), "{why}");
    }

    async fn a_rule_that_is_made_holds_for_a_running_port() {
        let world = World::new().await;
        let network = world.network(&BOTH).await;
        let port = world.port(&network).await;
        let _a = world.start("a", &port).await;
        world.machine.outside.run("ip", "route add 10.0.1.0/24 via 192.0.2.1");
        assert!(!pings(&world.machine.outside, &address(&port)));
        let group = &port["security_groups"][0];
        let rule = json!({"security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": "icmp"});
        let rule = world.make("security-group-rule", rule).await;
        eventually("pings are let in", || pings(&world.machine.outside, &address(&port))).await;
        let path = format!("security-group-rules/{}", text(&rule["id"]));
        world.ask(Method::DELETE, &path, Value::Null).await;
        eventually("they are let in no more", || !pings(&world.machine.outside, &address(&port))).await;
    }

    async fn nothing_remains_when_the_last_network_goes() {
        let world = World::new().await;
        let before = (bridges(), rules());
        let network = world.network(&BOTH).await;
        let port = world.port(&network).await;
        world.plug(&port).await;
        assert!(bridges().contains("brq") && has_nft_table("inet kuryr") && has_nft_table("bridge kuryr"));
        world.agent().unplug(&vif(&port).attachment, soon()).await.unwrap();
        world.ask(Method::DELETE, &format!("ports/{}", text(&port["id"])), Value::Null).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert!(bridges().contains("brq"), "the bridge stays as long as the network");
        world.ask(Method::DELETE, &format!("networks/{network}"), Value::Null).await;
        eventually("all is as it was", || (bridges(), rules()) == before).await;
    }

    async fn everything_is_removed_on_demand() {
        let world = World::new().await;
        let before = (bridges(), rules());
        let network = world.network(&BOTH).await;
        world.plug(&world.port(&network).await).await;
        world.agent().remove_all().await.unwrap();
        assert_eq!((bridges(), rules()), before);
    }

    async fn rules_that_somebody_flushes_come_back() {
        let world = World::new().await;
        let network = world.network(&BOTH).await;
        let (one, two) = (world.port(&network).await, world.port(&network).await);
        let (a, _b) = (world.start("a", &one).await, world.start("b", &two).await);
        let pair = json!({"port": {"allowed_address_pairs": [{"ip_address": "10.0.1.100", "mac_address": "00:00:5e:00:01:01"}]}});
        world.ask(Method::PUT, &format!("ports/{}", text(&two["id"])), pair).await;
        let published = [tcp(8080, 80), PublishedPort { host_ip: Some("192.0.2.1".parse().unwrap()), ..tcp(8081, 80) }];
        world.agent().publish(&vif(&two).attachment, &published, soon()).await.unwrap();
        // What came as elements alone is what nft makes of the same.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let before = rules();
        assert!(before.contains(". 8081 : 10.0.1.") && before.contains("10.0.1.100"), "{before}");
        let same = |shown: &str| {
            // The number of the batch is another one.
            let lines = shown.lines().filter(|line| !line.contains("elements = { 0x"));
            lines.collect::<Vec<_>>().join("\n")
        };
        for harm in ["flush ruleset", "delete table bridge kuryr", "flush chain inet kuryr egress", "flush map inet kuryr to_port4", "insert rule inet kuryr ingress accept"] {
            run("nft", harm);
            eventually(harm, || same(&rules()) == same(&before)).await;
        }
        assert!(pings(&a, &address(&two)));
    }

    async fn a_bridge_that_somebody_deletes_comes_back_with_its_ports() {
        let world = World::new().await;
        let network = world.network(&BOTH).await;
        let (one, two) = (world.port(&network).await, world.port(&network).await);
        let (a, _b) = (world.start("a", &one).await, world.start("b", &two).await);
        assert!(pings(&a, &address(&two)));
        run("ip", &format!("link del {}", text(&one["binding:vif_details"]["bridge_name"])));
        assert!(!pings(&a, &address(&two)));
        eventually("the containers reach each other", || pings(&a, &address(&two))).await;
        assert!(pings(&a, "192.0.2.2"));
    }

    async fn networks_that_go_keep_no_port_waiting_and_their_ranges_are_free_at_once() {
        const MANY: usize = 200;
        let world = World::new().await;
        let mut networks = Vec::new();
        for number in 0..MANY {
            let network = world.network(&[&format!("10.2.{number}.0/24")]).await;
            let port = json!({"port": {"network_id": network, "binding:host_id": "here"}});
            let made = world.ask(Method::POST, "ports", port).await;
            networks.push((network, text(&made["port"]["id"]).to_owned()));
        }
        let bridges = || run("ip", "-br link show type bridge").lines().filter(|line| line.starts_with("brq")).count();
        eventually("all bridges", || bridges() == MANY).await;
        for (network, port) in &networks {
            world.ask(Method::DELETE, &format!("ports/{port}"), Value::Null).await;
            world.ask(Method::DELETE, &format!("networks/{network}"), Value::Null).await;
        }
        // The last range that was removed, and another one.
        let again = world.network(&[&format!("10.2.{}.0/24", MANY - 1)]).await;
        let other = world.network(&["10.3.0.0/24"]).await;
        let (one, two) = (world.port(&again).await, world.port(&other).await);
        let (a, b) = (world.start("a", &one).await, world.start("b", &two).await);
        assert!(bridges() > 2, "it has waited until all were gone");
        assert!(pings(&a, "192.0.2.2") && pings(&b, "192.0.2.2"));
        for _ in 0..10 {
            if bridges() > 50 {
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            }
        }
        eventually("the bridges go", || bridges() == 2).await;
        assert!(!rules().contains("10.2.1.0/24"), "{}", rules());
    }

    async fn an_agent_finds_what_the_one_before_has_made() {
        let mut world = World::new().await;
        let (network, other) = (world.network(&BOTH).await, world.network(&["10.0.2.0/24"]).await);
        let (one, two, three) = (world.port(&network).await, world.port(&network).await, world.port(&other).await);
        let (a, _b) = (world.start("a", &one).await, world.start("b", &two).await);
        world.plug(&three).await;
        let lost = world.port(&network).await;
        world.plug(&lost).await;
        world.stop().await;
        run("ip", &format!("link del {}", vif(&lost).attachment.host));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(pings(&a, &address(&two)), "without an agent, too");
        // Meanwhile one network goes.
        world.machine.host.unplug(&vif(&three).attachment, soon()).await.unwrap();
        world.ask(Method::DELETE, &format!("ports/{}", text(&three["id"])), Value::Null).await;
        world.ask(Method::DELETE, &format!("networks/{other}"), Value::Null).await;
        let gone = text(&three["binding:vif_details"]["bridge_name"]);
        assert!(attempt("ip", &format!("link show {gone}")).0);
        world.restart().await;
        eventually("the bridge of no network goes", || !attempt("ip", &format!("link show {gone}")).0).await;
        assert!(pings(&a, &address(&two)));
        assert!(pings(&a, "192.0.2.2"));
        // What nothing is plugged for any more is said to be down.
        while world.status(&lost).await != "DOWN" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(world.status(&one).await, "ACTIVE");
    }

    async fn no_packet_is_lost_while_the_agent_is_restarted() {
        let mut world = World::new().await;
        let network = world.network(&BOTH).await;
        let (one, two) = (world.port(&network).await, world.port(&network).await);
        let (a, _b) = (world.start("a", &one).await, world.start("b", &two).await);
        let pinging = [address(&two), "192.0.2.2".to_owned()].map(|to| {
            assert!(pings(&a, &to));
            let mut ping = a.command("ping");
            ping.args(["-q", "-i", "0.002", "-c", "1000", "-W", "1", &to]);
            ping.stdout(std::process::Stdio::piped()).spawn().unwrap()
        });
        for _ in 0..3 {
            world.stop().await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            world.restart().await;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
        for ping in pinging {
            let said = ping.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.contains(" 1000 received"), "{said}");
        }
    }

    async fn a_bridge_that_cannot_be_made_keeps_no_other_back() {
        let world = World::new().await;
        let (network, other) = (world.network(&BOTH).await, world.network(&["10.0.2.0/24"]).await);
        let taken = format!("brq{}", &network[..11]);
        run("ip", &format!("link add {taken} type veth peer name other"));
        let (bad, good) = (world.port(&network).await, world.port(&other).await);
        world.plug(&good).await;
        let by = kuryr_vif::Instant::now() + std::time::Duration::from_millis(500);
        let error = world.agent().plug(&vif(&bad), by).await.unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains(&taken) && why.contains("remove or rename"), "{why}");
        run("ip", "link del other");
        world.plug(&bad).await;
    }

    async fn dockers_firewall_lets_our_networks_pass() {
        let docker = |command: &str| {
            for rule in ["-P FORWARD DROP", "-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-I FORWARD -j DOCKER-USER"] {
                run(command, &format!("-w {rule}"));
            }
        };
        docker("iptables");
        let shown = || run("iptables", "-w -S");
        let before = shown();
        let world = World::new().await;
        let network = world.network(&BOTH).await;
        let (one, two) = (world.port(&network).await, world.port(&network).await);
        let (a, _b) = (world.start("a", &one).await, world.start("b", &two).await);
        eventually("packets pass", || pings(&a, "192.0.2.2") && pings(&a, &address(&two))).await;
        // Docker comes later, or again.
        docker("ip6tables");
        eventually("IPv6 passes", || pings(&a, "2001:db8::2")).await;
        run("iptables", "-w -F DOCKER-USER");
        run("iptables", "-w -A DOCKER-USER -j RETURN");
        eventually("packets pass again", || pings(&a, "192.0.2.2")).await;
        world.agent().remove_all().await.unwrap();
        assert_eq!(shown(), before);
    }

    async fn another_port_of_known_groups_takes_no_nft() {
        let world = World::new().await;
        let network = world.network(&BOTH).await;
        let (one, two) = (world.port(&network).await, world.port(&network).await);
        let a = world.start("a", &one).await;
        run("mount", "--bind /dev/null /usr/sbin/nft");
        let _b = world.start("b", &two).await;
        assert!(pings(&a, &address(&two)));
        for port in [&one, &two] {
            world.ask(Method::DELETE, &format!("ports/{}", text(&port["id"])), Value::Null).await;
        }
        let three = world.port(&network).await;
        let c = world.start("c", &three).await;
        assert!(pings(&c, "192.0.2.2"));
        run("umount", "/usr/sbin/nft");
    }

    async fn without_nft_the_agent_says_what_to_install() {
        run("mount", "--bind /dev/null /usr/sbin/nft");
        let world = World::new().await;
        let network = world.network(&BOTH).await;
        let port = world.port(&network).await;
        let by = kuryr_vif::Instant::now() + std::time::Duration::from_millis(500);
        let error = world.agent().plug(&vif(&port), by).await.unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("install"), "{why}");
        run("umount", "/usr/sbin/nft");
        world.plug(&port).await;
    }
}
