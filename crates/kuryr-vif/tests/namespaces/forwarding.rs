//! Packets between two containers, through a switch in userspace.

use std::io::Read;
use std::process::Stdio;

use kuryr_testkit::netns::Container;
use kuryr_testkit::ovs::Ovs;
use kuryr_testkit::{netns_test, run};
use kuryr_vif::{Host, Plug, Vif};

use super::host::*;

netns_test! {
    async fn containers_reach_each_other_by_ping_and_tcp() {
        let _ovs = Ovs::start();
        let host = host();
        let one = container(&host, &vif(1)).await;
        let other = container(&host, &vif(2)).await;
        assert!(one.reaches("10.0.0.2"));
        assert_eq!(download(&one, &other, "10.0.0.2"), 1_000_000);
    }
}

netns_test! {
    async fn an_interface_that_vanished_and_is_plugged_again_forwards() {
        let _ovs = Ovs::start();
        let host = host();
        let other = container(&host, &vif(2)).await;
        let one = container(&host, &vif(1)).await;
        assert!(one.reaches("10.0.0.2"));
        // The row stays, and Open vSwitch sees no error in it.
        run("ip", &format!("link delete {}", vif(1).attachment.host));
        run("ip", "netns delete c1");
        let one = container(&host, &vif(1)).await;
        assert!(one.reaches("10.0.0.2"));
        assert!(other.reaches("10.0.0.1"));
    }
}

netns_test! {
    async fn an_interface_that_is_plugged_right_after_it_was_unplugged_forwards() {
        let ovs = Ovs::start();
        let host = host();
        let _other = container(&host, &vif(2)).await;
        let _one = container(&host, &vif(1)).await;
        // The worst case: the switch acts on nothing until the row is there again.
        ovs.freeze_switch();
        unplug(&host, &vif(1)).await;
        run("ip", "netns delete c1");
        host.plug(&vif(1), within(1)).await.unwrap_err();
        ovs.thaw_switch();
        let one = container(&host, &vif(1)).await;
        assert!(one.reaches("10.0.0.2"));
    }
}

netns_test! {
    async fn neighbours_learn_who_has_an_address_now() {
        let _ovs = Ovs::start();
        let host = host();
        let other = container(&host, &vif(2)).await;
        let old = "02:00:00:00:00:99";
        for address in ["10.0.0.1", "fd00::1"] {
            other.run("ip", &format!("neigh replace {address} lladdr {old} nud stale dev eth0"));
        }
        other.run("ip", "addr add fd00::2/64 dev eth0 nodad");
        let one = vif(1);
        plug(&host, &one).await;
        assert!(host.wired(&one.attachment, within(5)).await.unwrap());
        let addresses = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        host.announce(&one.attachment, one.mac, &addresses, within(5)).await.unwrap();
        let before = std::time::Instant::now();
        while other.run("ip", "neigh").matches(&one.mac.to_string()).count() < 2 {
            assert!(before.elapsed().as_secs() < 5, "{}", other.run("ip", "neigh"));
        }
        // It waits for Docker as it was: down, and willing to answer.
        let link = run("ip", &format!("link show {}", one.attachment.container));
        assert!(!link.contains("UP") && !link.contains("NOARP"), "{link}");
    }
}

netns_test! {
    async fn an_interface_that_is_in_its_container_announces_nothing() {
        let _ovs = Ovs::start();
        let host = host();
        let _one = container(&host, &vif(1)).await;
        let (one, addresses) = (vif(1), ["10.0.0.1".parse().unwrap()]);
        host.announce(&one.attachment, one.mac, &addresses, within(5)).await.unwrap();
    }
}

/// A container with the last number of the MAC in its name and address.
async fn container(host: &Host, vif: &Vif) -> Container {
    plug(host, vif).await;
    let number = vif.mac.octets()[5];
    let container = Container::new(&format!("c{number}"));
    container.take(
        vif.attachment.container.as_str(),
        &format!("10.0.0.{number}/24"),
    );
    assert!(host.wired(&vif.attachment, within(5)).await.unwrap());
    container
}

/// How many bytes `client` gets of a million that `server` sends over TCP, within ten seconds.
pub(super) fn download(client: &Container, server: &Container, address: &str) -> usize {
    let serving = server
        .command("busybox")
        .args([
            "sh",
            "-c",
            "head -c 1000000 /dev/zero | busybox nc -l -p 7000",
        ])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    while !server.run("ss", "-Hltn").contains(":7000") {}
    let mut fetching = client
        .command("timeout")
        .args(["10", "busybox", "nc", address, "7000"])
        // Held open: nc ends with its input.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut got = Vec::new();
    fetching
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut got)
        .unwrap();
    for mut child in [fetching, serving] {
        let _ = child.kill();
        let _ = child.wait();
    }
    got.len()
}
