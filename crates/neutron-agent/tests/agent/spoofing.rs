//! What a container may say it is.

use kuryr_testkit::netns::Container;
use serde_json::{Value, json};

use crate::cloud::{Cloud, all_egress};
use crate::machine::{Machine, pings};
use crate::packets;

/// A rogue (1), with `more` of its port, and a neighbour (2) on one network, where everything may come in.
async fn cloud(more: &Value) -> (Machine, Cloud) {
    let mut cloud = Cloud::default();
    cloud.network(1, &["10.0.1.0/24", "fd00:1::/64"]);
    let mut rules = all_egress().to_vec();
    rules.extend(["IPv4", "IPv6"].map(|version| json!({"ethertype": version})));
    cloud.group(1, &rules);
    cloud.port(1, 1, &["10.0.1.11", "fd00:1::11"], &[1], more);
    cloud.port(2, 1, &["10.0.1.12", "fd00:1::12"], &[1], &json!({}));
    let mut machine = Machine::new();
    machine.apply(&cloud).await;
    (machine, cloud)
}

async fn two(more: Value) -> (Machine, Container, Container) {
    let (machine, _) = cloud(&more).await;
    let (rogue, neighbour) = (machine.start(1).await, machine.start(2).await);
    (machine, rogue, neighbour)
}

fn pings_as(from: &Container, own: &str, address: &str) -> bool {
    let ping = from
        .command("ping")
        .args(["-c", "1", "-W", "1", "-I", own, address])
        .output();
    ping.unwrap().status.success()
}

/// Sends a frame from `eth0`, given in hexadecimal digits.
fn send(from: &Container, frame: &str) {
    let frame = frame.replace(' ', "");
    let mut command = from.command("python3");
    let program = format!(
        "import socket\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\ns.bind(('eth0', 0))\ns.send(bytes.fromhex('{frame}'))"
    );
    assert!(command.args(["-c", &program]).status().unwrap().success());
}

packets! {
    async fn another_address_is_not_heard() {
        let (_machine, rogue, neighbour) = two(json!({})).await;
        assert!(pings(&rogue, "10.0.1.12"));
        assert!(pings(&rogue, "fd00:1::12"));
        rogue.run("ip", "addr add 10.0.1.99/24 dev eth0");
        rogue.run("ip", "addr add fd00:1::99/64 dev eth0 nodad");
        assert!(!pings_as(&rogue, "10.0.1.99", "10.0.1.12"));
        assert!(!pings_as(&rogue, "fd00:1::99", "fd00:1::12"));
        assert!(!pings(&neighbour, "10.0.1.99"));
        assert!(!pings(&neighbour, "fd00:1::99"));
    }

    async fn another_mac_address_is_not_heard() {
        let (_machine, rogue, neighbour) = two(json!({})).await;
        rogue.run("ip", "link set eth0 address fa:16:3e:00:00:77");
        neighbour.run("ip", "neigh flush all");
        assert!(!pings(&rogue, "10.0.1.12"));
        assert!(!pings(&rogue, "fd00:1::12"));
    }

    async fn an_allowed_address_pair_is_heard() {
        let (_machine, rogue, neighbour) = two(json!({"allowed_address_pairs": [
            {"ip_address": "10.0.1.99"}, {"ip_address": "10.0.1.128/25"},
            {"ip_address": "fd00:1::99"}, {"ip_address": "fd00:1:0:0:1::/80"},
        ]})).await;
        for address in ["10.0.1.99", "10.0.1.200"] {
            rogue.run("ip", &format!("addr add {address}/24 dev eth0"));
            assert!(pings(&neighbour, address), "{address}");
            assert!(pings_as(&rogue, address, "10.0.1.12"), "{address}");
        }
        for address in ["fd00:1::99", "fd00:1::1:0:0:9"] {
            rogue.run("ip", &format!("addr add {address}/64 dev eth0 nodad"));
            assert!(pings(&neighbour, address), "{address}");
        }
        rogue.run("ip", "addr add 10.0.1.98/24 dev eth0");
        assert!(!pings(&neighbour, "10.0.1.98"));
    }

    async fn an_arp_reply_for_the_gateway_changes_no_neighbour() {
        let (_machine, rogue, neighbour) = two(json!({})).await;
        // Believe whoever speaks last, not who spoke first within a second.
        neighbour.run("sysctl", "-q -w net.ipv4.neigh.eth0.locktime=0");
        assert!(pings(&neighbour, "10.0.1.1"));
        let before = neighbour.run("ip", "neigh show 10.0.1.1");
        assert!(before.contains("02:00:00:00:01"), "{before}");
        // 10.0.1.1 is at the rogue's address, says an ARP reply to the neighbour.
        let reply = |sender_ip: &str| format!(
            "fa163e000002 fa163e000001 0806 0001 0800 06 04 0002 fa163e000001 {sender_ip} fa163e000002 0a00010c"
        );
        send(&rogue, &reply("0a000101"));
        let after = neighbour.run("ip", "neigh show 10.0.1.1");
        assert!(!after.contains("fa:16:3e:00:00:01"), "{after}");
        // The frame is one that would be believed: with the rogue's own address it is.
        neighbour.run("ip", "neigh replace 10.0.1.11 lladdr fa:16:3e:00:00:55 dev eth0 nud stale");
        send(&rogue, &reply("0a00010b"));
        let own = neighbour.run("ip", "neigh show 10.0.1.11");
        assert!(own.contains("fa:16:3e:00:00:01"), "{own}");
    }

    async fn a_neighbour_advertisement_for_another_address_changes_no_neighbour() {
        let (_machine, rogue, neighbour) = two(json!({})).await;
        // Of the rogue's own address, with the checksum that each target gives.
        let about = |target: &str| {
            let program = format!(
                "import socket, struct\n\
                 mac = bytes.fromhex('fa163e000001')\n\
                 src = socket.inet_pton(socket.AF_INET6, 'fd00:1::11'); dst = socket.inet_pton(socket.AF_INET6, 'fd00:1::12')\n\
                 body = bytes.fromhex('8800000060000000') + socket.inet_pton(socket.AF_INET6, '{target}') + bytes([2, 1]) + mac\n\
                 whole = src + dst + struct.pack('!II', len(body), 58) + body\n\
                 total = sum(struct.unpack('!%dH' % (len(whole) // 2), whole))\n\
                 total = (total & 0xffff) + (total >> 16); total = (total & 0xffff) + (total >> 16)\n\
                 body = body[:2] + struct.pack('!H', ~total & 0xffff) + body[4:]\n\
                 ip = bytes.fromhex('60000000') + struct.pack('!HBB', len(body), 58, 255) + src + dst\n\
                 s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0))\n\
                 s.send(bytes.fromhex('fa163e000002') + mac + bytes.fromhex('86dd') + ip + body)"
            );
            assert!(rogue.command("python3").args(["-c", &program]).status().unwrap().success());
        };
        let knows = |address: &str| neighbour.run("ip", &format!("-6 neigh show {address}"));
        for address in ["fd00:1::1", "fd00:1::11"] {
            neighbour.run("ip", &format!("-6 neigh replace {address} lladdr fa:16:3e:00:00:55 dev eth0 nud stale"));
            about(address);
        }
        assert!(knows("fd00:1::1").contains("fa:16:3e:00:00:55"), "{}", knows("fd00:1::1"));
        assert!(knows("fd00:1::11").contains("fa:16:3e:00:00:01"), "{}", knows("fd00:1::11"));
    }

    async fn a_router_advertisement_is_not_heard() {
        let program = "import socket, struct\n\
            s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)\n\
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)\n\
            prefix = bytes([3, 4, 64, 0xc0]) + struct.pack('!III', 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, 'fd00:bad::')\n\
            s.sendto(bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8) + prefix, ('ff02::1%eth0', 0))";
        let (mut machine, mut cloud) = cloud(&json!({})).await;
        let (rogue, neighbour) = (machine.start(1).await, machine.start(2).await);
        assert!(!advertise(&rogue, &neighbour, program).await);
        cloud.port(1, 1, &["10.0.1.11", "fd00:1::11"], &[], &json!({"port_security_enabled": false}));
        machine.apply(&cloud).await;
        assert!(advertise(&rogue, &neighbour, program).await, "the advertisement is one that is believed");
    }

    async fn a_dhcp_server_is_not_heard() {
        let (_machine, rogue, neighbour) = two(json!({})).await;
        let mut listener = neighbour.command("timeout");
        let listener = listener.args(["2", "socat", "-u", "UDP4-RECV:68", "-"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        for port in [67, 6700] {
            let said = rogue.command("sh").args(["-c", &format!("echo from {port} | socat -u - UDP4:10.0.1.12:68,sourceport={port}")]).status();
            assert!(said.unwrap().success());
        }
        let heard = listener.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&heard.stdout), "from 6700\n");
    }
}

/// Whether the neighbour believes the advertisement.
async fn advertise(rogue: &Container, neighbour: &Container, program: &str) -> bool {
    neighbour.run("sysctl", "-q -w net.ipv6.conf.eth0.accept_ra=2");
    assert!(
        rogue
            .command("python3")
            .args(["-c", program])
            .status()
            .unwrap()
            .success()
    );
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    neighbour
        .run("ip", "-6 addr show dev eth0")
        .contains("fd00:bad")
}
