//! Linux bridges, and interfaces that are plugged into them.

use std::thread::sleep;
use std::time::Duration;

use kuryr_testkit::netns::Container;
use kuryr_testkit::{attempt, netns_test, run};
use kuryr_vif::{Attachment, Bridge, Error, Host, Plug, Switch, Vif};

use super::host::{chain, host_without_ovs as host, pair, plug, unplug, veths, within};

const NAME: &str = "brq00000000-00";

fn bridge(addresses: &[&str]) -> Bridge {
    Bridge {
        name: NAME.parse().unwrap(),
        alias: "kuryr network 1".to_owned(),
        mac: [0xfa, 0x16, 0x3e, 0, 1, 0].into(),
        mtu: 1450,
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
    }
}

fn vif(number: u8) -> Vif {
    let port = format!("{number:08x}-4e5f-6071-8293-a4b5c6d7e8f9");
    let switch = Switch::LinuxBridge {
        bridge: NAME.parse().unwrap(),
    };
    Vif {
        attachment: Attachment::of_port(&port, &format!("endpoint-{number}"), switch).unwrap(),
        mac: [0xfa, 0x16, 0x3e, 0, 0, number].into(),
        mtu: 1450,
    }
}

async fn make(host: &Host, bridge: &Bridge) {
    if let Err(error) = host.ensure_bridge(bridge, within(10)).await {
        panic!("bridge: {}", chain(&error));
    }
}

fn shown() -> String {
    // Without what changes by itself: how long an address has been there.
    run("ip", &format!("-d -o addr show dev {NAME} scope global"))
}

/// The kernel hears late, on a busy machine, that a container has brought its end up.
fn wait_until_forwarding(port: &str) {
    for _ in 0..1000 {
        if run("ip", &format!("-d link show dev {port}")).contains("state forwarding") {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!(
        "{port} does not forward: {}",
        run("ip", &format!("-d link show dev {port}"))
    );
}

netns_test! {
    async fn a_bridge_is_as_it_is_described() {
        let host = host();
        let mut wanted = bridge(&["10.1.0.1/24", "fd00:1::1/64"]);
        make(&host, &wanted).await;
        let link = run("ip", &format!("-d link show {NAME}"));
        for part in [",UP", "mtu 1450", "fa:16:3e:00:01:00", "nf_call_iptables 1", "nf_call_ip6tables 1", "alias kuryr network 1"] {
            assert!(link.contains(part), "{part}: {link}");
        }
        assert!(shown().contains("inet 10.1.0.1/24 brd 10.1.0.255"), "{}", shown());
        assert!(shown().contains("inet6 fd00:1::1/64"), "{}", shown());
        assert!(!run("ip", &format!("addr show dev {NAME}")).contains("tentative"));
        let before = shown();
        make(&host, &wanted).await;
        assert_eq!(shown(), before, "made twice is made once");
        wanted.addresses.remove(0);
        wanted.addresses.push("10.1.0.254/24".parse().unwrap());
        wanted.mtu = 1400;
        make(&host, &wanted).await;
        assert!(!shown().contains("10.1.0.1/24") && shown().contains("10.1.0.254/24"), "{}", shown());
        assert!(run("ip", &format!("link show {NAME}")).contains("mtu 1400"));
        host.remove_bridge(&wanted.name, within(10)).await.unwrap();
        host.remove_bridge(&wanted.name, within(10)).await.unwrap();
        assert!(!attempt("ip", &format!("link show {NAME}")).0);
    }
}

netns_test! {
    async fn a_bridge_without_ipv6_addresses_has_no_ipv6() {
        make(&host(), &bridge(&["10.1.0.1/24"])).await;
        assert_eq!(run("ip", &format!("-6 addr show dev {NAME}")), "");
    }
}

netns_test! {
    async fn bridges_are_found_again_by_their_aliases() {
        let host = host();
        make(&host, &bridge(&[])).await;
        run("ip", "link add br-other type bridge");
        let found = host.bridges("kuryr network ").await.unwrap();
        assert_eq!(found, [(NAME.parse().unwrap(), "1".to_owned())]);
    }
}

netns_test! {
    async fn the_ranges_that_the_host_reaches_are_known() {
        make(&host(), &bridge(&["10.1.0.1/24", "fd00:1::1/64"])).await;
        run("ip", "route add 10.2.0.0/16 via 10.1.0.9");
        run("ip", "route add default via 10.1.0.9");
        run("ip", "route add 10.3.0.0/16 nexthop via 10.1.0.8 nexthop via 10.1.0.9");
        assert_eq!(Host::default_interface().unwrap().as_deref(), Some(NAME));
        let routes = Host::routes().unwrap();
        let mut found: Vec<_> = routes
            .iter()
            .map(|route| (route.range.to_string(), route.interface.as_deref()))
            .collect();
        found.sort_unstable();
        let bridge = Some(NAME);
        let wanted = [("10.1.0.0/24", bridge), ("10.2.0.0/16", bridge), ("10.3.0.0/16", None), ("fd00:1::/64", bridge)];
        assert_eq!(found, wanted.map(|(range, by)| (range.to_owned(), by)));
    }
}

netns_test! {
    async fn what_others_have_made_is_left_alone() {
        let (host, wanted) = (host(), bridge(&["10.1.0.1/24"]));
        run("ip", &format!("link add {NAME} type veth peer name other"));
        for attempt in [host.ensure_bridge(&wanted, within(10)).await, host.remove_bridge(&wanted.name, within(10)).await] {
            let error = attempt.unwrap_err();
            assert!(matches!(error, Error::NameTaken { .. }), "{}", chain(&error));
        }
        run("ip", "link del other");
        run("ip", &format!("link add {NAME} type bridge"));
        run("ip", &format!("link set {NAME} alias theirs"));
        let error = host.ensure_bridge(&wanted, within(10)).await.unwrap_err();
        assert!(error.to_string().contains("theirs"), "{error}");
        assert!(!shown().contains("10.1.0.1"), "{}", shown());
    }
}

netns_test! {
    async fn containers_on_one_bridge_reach_each_other_and_the_gateway() {
        let host = host();
        make(&host, &bridge(&["10.1.0.1/24", "fd00:1::1/64"])).await;
        let containers = [1, 2].map(|number| Container::new(&format!("c{number}")));
        for (number, container) in [1, 2].into_iter().zip(&containers) {
            let vif = vif(number);
            plug(&host, &vif).await;
            assert!(host.wired(&vif.attachment, within(10)).await.unwrap());
            container.take(vif.attachment.container.as_str(), &format!("10.1.0.1{number}/24"));
            container.run("ip", &format!("addr add fd00:1::1{number}/64 dev eth0 nodad"));
            // Nobody but the gateway has an address on this side.
            let near = run("ip", &format!("-o addr show dev {}", vif.attachment.host));
            assert_eq!(near, "");
        }
        for address in ["10.1.0.12", "10.1.0.1", "fd00:1::12", "fd00:1::1"] {
            assert!(containers[0].reaches(address), "{address}");
        }
    }
}

netns_test! {
    async fn an_address_with_a_new_owner_is_answered_from_the_first_packet_on() {
        let host = host();
        make(&host, &bridge(&["10.1.0.1/24"])).await;
        // Beside it another container runs: a bridge that nobody is on forgets its neighbours.
        let (beside, beside_vif) = (Container::new("beside"), vif(99));
        plug(&host, &beside_vif).await;
        beside.take(beside_vif.attachment.container.as_str(), "10.1.0.99/24");
        // Each has another hardware address than the one before, which the gateway remembers.
        for number in 1..=10 {
            let vif = vif(number);
            plug(&host, &vif).await;
            let address = "10.1.0.77".parse().unwrap();
            host.announce(&vif.attachment, vif.mac, &[address], within(10)).await.unwrap();
            let container = Container::new(&format!("c{number}"));
            container.take(vif.attachment.container.as_str(), "10.1.0.77/24");
            wait_until_forwarding(vif.attachment.host.as_str());
            let (answered, said) = attempt("ping", "-c 1 -W 1 10.1.0.77");
            assert!(answered, "container {number}: {said}\n{}", run("ip", "neigh"));
            unplug(&host, &vif).await;
        }
    }
}

netns_test! {
    async fn plugging_twice_is_plugging_once_and_unplugging_leaves_nothing() {
        let (host, vif) = (host(), vif(1));
        make(&host, &bridge(&["10.1.0.1/24"])).await;
        plug(&host, &vif).await;
        let once = run("ip", "link");
        plug(&host, &vif).await;
        assert_eq!(run("ip", "link"), once);
        assert_eq!(veths(), pair(&vif));
        unplug(&host, &vif).await;
        unplug(&host, &vif).await;
        assert!(veths().is_empty(), "{:?}", veths());
    }
}

netns_test! {
    async fn attachments_are_found_again_from_the_kernel_alone() {
        let vifs = [vif(1), vif(2)];
        make(&host(), &bridge(&[])).await;
        for vif in &vifs {
            plug(&host(), vif).await;
        }
        // One end has gone to its container, and the other has another owner.
        let container = Container::new("c1");
        container.take(vifs[0].attachment.container.as_str(), "10.1.0.11/24");
        let mut all = host().all_attachments().await.unwrap();
        all.sort_by(|a, b| a.owner.cmp(&b.owner));
        assert_eq!(all, vifs.clone().map(|vif| vif.attachment));
        let found = host().attachments("endpoint-2").await.unwrap();
        assert_eq!(found, [vifs[1].attachment.clone()]);
        // Without its bridge it is ours all the same, and can be unplugged.
        host().remove_bridge(&NAME.parse().unwrap(), within(10)).await.unwrap();
        assert!(!host().wired(&found[0], within(10)).await.unwrap());
        let stray = host().attachments("endpoint-1").await.unwrap();
        unplug(&host(), &Vif { attachment: stray[0].clone(), ..vifs[0] .clone()}).await;
        unplug(&host(), &vifs[1]).await;
        assert_eq!(host().all_attachments().await.unwrap(), []);
    }
}

netns_test! {
    async fn without_its_bridge_nothing_is_plugged_and_nothing_remains() {
        let error = host().plug(&vif(1), within(10)).await.unwrap_err();
        assert!(error.to_string().contains(&format!("no bridge {NAME}")), "{error}");
        assert!(veths().is_empty(), "{:?}", veths());
    }
}

netns_test! {
    async fn checksums_are_left_to_the_kernel() {
        make(&host(), &bridge(&[])).await;
        plug(&host(), &vif(1)).await;
        let offload = run("ethtool", &format!("-k {}", vif(1).attachment.container));
        assert!(offload.contains("tx-checksumming: on"), "{offload}");
    }
}
