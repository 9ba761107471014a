//! Networks apart from each other, and the way out.

use kuryr_testkit::{attempt, run};
use serde_json::json;

use crate::cloud::{Cloud, all_egress};
use crate::machine::{Machine, answers, has_nft_table, pings, rules_of_others, serve};
use crate::packets;

/// Ports 1 and 2 on network 1, port 3 on network 2; everything may come in and go out.
fn cloud() -> Cloud {
    let mut cloud = Cloud::default();
    cloud.network(1, &["10.0.1.0/24", "fd00:1::/64"]);
    cloud.network(2, &["10.0.2.0/24", "fd00:2::/64"]);
    let mut rules = all_egress().to_vec();
    rules.extend(["IPv4", "IPv6"].map(|version| json!({"ethertype": version})));
    cloud.group(1, &rules);
    cloud.port(1, 1, &["10.0.1.11", "fd00:1::11"], &[1], &json!({}));
    cloud.port(2, 1, &["10.0.1.12", "fd00:1::12"], &[1], &json!({}));
    cloud.port(3, 2, &["10.0.2.13", "fd00:2::13"], &[1], &json!({}));
    cloud
}

packets! {
    async fn two_networks_do_not_reach_each_other() {
        let mut machine = Machine::new();
        machine.apply(&cloud()).await;
        let (one, _two, three) = (machine.start(1).await, machine.start(2).await, machine.start(3).await);
        assert!(pings(&one, "10.0.1.12") && pings(&one, "fd00:1::12"));
        assert!(!pings(&one, "10.0.2.13") && !pings(&one, "fd00:2::13"));
        assert!(!pings(&three, "10.0.1.11") && !pings(&three, "fd00:1::11"));
    }

    async fn the_outside_sees_the_hosts_address() {
        let mut machine = Machine::new();
        machine.apply(&cloud()).await;
        let one = machine.start(1).await;
        serve(&machine.outside, "tcp", 80);
        let seen = |address| crate::machine::ask(Some(&one), "tcp", address).unwrap();
        assert!(seen("192.0.2.2:80").contains("c000:0201"), "{}", seen("192.0.2.2:80"));
        assert!(seen("[2001:db8::2]:80").contains("2001:0db8:0000:0000:0000:0000:0000:0001"));
        assert!(pings(&one, "192.0.2.2") && pings(&one, "2001:db8::2"));
    }

    async fn nothing_leads_out_of_a_network_without_gateway() {
        let mut cloud = cloud();
        cloud.without_gateway(1);
        let mut machine = Machine::new();
        machine.apply(&cloud).await;
        let (one, _two) = (machine.start(1).await, machine.start(2).await);
        assert!(pings(&one, "10.0.1.12"));
        // Even for a container that knows the host's MAC address.
        one.run("ip", "route add default via 10.0.1.1 dev eth0 onlink");
        one.run("ip", "neigh replace 10.0.1.1 lladdr 02:00:00:00:01:00 dev eth0");
        machine.outside.run("ip", "route add 10.0.1.0/24 via 192.0.2.1");
        run("ip", "route add 10.0.1.0/24 dev brq00000001-00");
        assert!(!pings(&one, "192.0.2.2"));
    }

    async fn containers_do_not_reach_what_the_host_serves_on_its_loopback() {
        let mut machine = Machine::new();
        machine.apply(&cloud()).await;
        let one = machine.start(1).await;
        let listen = ["TCP4-LISTEN:70,fork,reuseaddr,bind=127.0.0.1", "SYSTEM:read question; echo served"];
        let _server = std::process::Command::new("socat").args(listen).spawn().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(crate::machine::ask(None, "tcp", "127.0.0.1:70").is_some());
        one.run("ip", "addr del 127.0.0.1/8 dev lo");
        one.run("ip", "route add 127.0.0.0/8 via 10.0.1.1 src 10.0.1.11");
        one.run("sysctl", "-q -w net.ipv4.conf.all.route_localnet=1");
        assert!(!answers(&one, "tcp", "127.0.0.1:70"));
    }

    async fn the_tables_of_others_stay_as_they_are() {
        run("iptables", "-w -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE");
        run("iptables", "-w -A FORWARD -i docker0 -j ACCEPT");
        crate::machine::nft("table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10; ct state established accept; }\n}\n");
        let before = rules_of_others();
        assert!(before.contains("172.17.0.0/16") && before.contains("filter_FORWARD"), "{before}");
        let mut cloud = cloud();
        let mut machine = Machine::new();
        machine.apply(&cloud).await;
        cloud.without_port(3, 2);
        machine.apply(&cloud).await;
        let without_counters = |rules: &str| rules.lines().map(|line| {
            let mut words = line.split(" counter packets ");
            words.next().unwrap_or_default().to_owned()
        }).collect::<Vec<_>>();
        assert_eq!(without_counters(&rules_of_others()), without_counters(&before));
        crate::machine::nft(&neutron_agent::removal("kuryr"));
        assert!(!has_nft_table("inet kuryr") && !has_nft_table("bridge kuryr"));
        assert_eq!(without_counters(&rules_of_others()), without_counters(&before));
        assert!(attempt("nft", "list table inet firewalld").0);
    }
}
