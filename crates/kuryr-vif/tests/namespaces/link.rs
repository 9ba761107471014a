//! The veth pair.

use kuryr_testkit::netns::Container;
use kuryr_testkit::ovs::Ovs;
use kuryr_testkit::{attempt, netns_test, run};
use kuryr_vif::{Datapath, Error, Plug, Switch};

use super::host::*;

netns_test! {
    async fn plugging_twice_is_plugging_once() {
        let ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        plug(&host, &vif).await;
        let before = (run("ip", "link"), ovs.vsctl("--columns=_uuid,name,external_ids list interface"));
        plug(&host, &vif).await;
        let after = (run("ip", "link"), ovs.vsctl("--columns=_uuid,name,external_ids list interface"));
        assert_eq!(before, after);
        assert_eq!(veths(), pair(&vif));
    }
}

netns_test! {
    async fn an_interface_is_taken_from_when_a_container_has_it_until_the_container_ends() {
        let _ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        let taken = async || host.is_taken(&vif.attachment).await.unwrap();
        assert!(!taken().await, "there is none");
        plug(&host, &vif).await;
        assert!(!taken().await, "it waits");
        Container::new("c1").take(vif.attachment.container.as_str(), "10.0.0.1/24");
        assert!(taken().await);
        run("ip", "netns del c1");
        let last = within(5);
        while taken().await {
            assert!(kuryr_vif::Instant::now() < last, "the kernel ends namespaces soon");
        }
    }
}

netns_test! {
    async fn both_ends_have_the_mtu_and_the_container_end_the_mac() {
        let _ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        plug(&host, &vif).await;
        let near = run("ip", &format!("link show {}", vif.attachment.host));
        let far = run("ip", &format!("link show {}", vif.attachment.container));
        assert!(near.contains("mtu 1442") && near.contains(",UP"), "{near}");
        assert!(far.contains("mtu 1442") && far.contains(&vif.mac.to_string()), "{far}");
        assert!(!far.contains(",UP"), "{far}");
    }
}

netns_test! {
    async fn the_host_gets_no_address_and_no_route() {
        let _ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        let before = run("ip", "-4 route show table all");
        plug(&host, &vif).await;
        let container = Container::new("c1");
        container.take(vif.attachment.container.as_str(), "10.0.0.1/24");
        // The container end is a normal interface, and its link-local address shows that time enough
        // has passed for the host end to have got one.
        let last = within(5);
        while !container.run("ip", "-6 addr show dev eth0 scope link -tentative").contains("fe80") {
            assert!(kuryr_vif::Instant::now() < last, "the container end has no link-local address");
        }
        let addresses = run("ip", &format!("-o addr show dev {}", vif.attachment.host));
        assert_eq!(addresses, "");
        assert_eq!(run("ip", "-4 route show table all"), before);
        assert!(!run("ip", "-6 route show table main").contains("tap"));
    }
}

netns_test! {
    async fn no_ipv6_from_the_container_reaches_the_hosts_own_stack() {
        let _ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        plug(&host, &vif).await;
        let container = Container::new("c1");
        container.take(vif.attachment.container.as_str(), "10.0.0.1/24");
        container.run("ip", "-6 addr add fd00::1/64 dev eth0 nodad");
        // To all nodes, as router advertisements go; the container itself is one and answers.
        assert!(container.reaches("ff02::1%eth0"));
        let counters = run("cat", &format!("/proc/net/dev_snmp6/{}", vif.attachment.host));
        let count = |name| counters.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(!count("Ip6InReceives").ends_with("\t0"), "the ping was sent: {counters}");
        assert!(count("Ip6InDelivers").ends_with("\t0"), "{counters}");
    }
}

netns_test! {
    async fn checksums_are_off_in_front_of_a_userspace_switch_only() {
        let _ovs = Ovs::start();
        let (host, userspace, mut kernel) = (host(), vif(1), vif(2));
        kernel.attachment.switch = Switch::OpenVSwitch {
            bridge: "br-int".into(),
            datapath: Datapath::Kernel,
        };
        plug(&host, &userspace).await;
        plug(&host, &kernel).await;
        let offload = |interface: &str| run("ethtool", &format!("-k {interface}"));
        let on = "tx-checksumming: on";
        assert!(!offload(userspace.attachment.container.as_str()).contains(on));
        assert!(offload(userspace.attachment.host.as_str()).contains(on));
        assert!(offload(kernel.attachment.container.as_str()).contains(on));
        // It stays off when the interface moves.
        let container = Container::new("c1");
        container.take(userspace.attachment.container.as_str(), "10.0.0.1/24");
        assert!(!container.run("ethtool", "-k eth0").contains(on));
    }
}

netns_test! {
    async fn unplugging_what_is_absent_succeeds() {
        let _ovs = Ovs::start();
        unplug(&host(), &vif(1)).await;
    }
}

netns_test! {
    async fn unplugging_removes_both_ends_wherever_the_other_is() {
        let ovs = Ovs::start();
        let host = host();
        plug(&host, &vif(1)).await;
        plug(&host, &vif(2)).await;
        let container = Container::new("c1");
        container.take(vif(2).attachment.container.as_str(), "10.0.0.1/24");
        unplug(&host, &vif(1)).await;
        unplug(&host, &vif(2)).await;
        assert!(veths().is_empty(), "{:?}", veths());
        assert!(!container.run("ip", "link").contains("eth0"));
        assert_eq!(ovs.vsctl("list-ports br-int"), "");
    }
}

netns_test! {
    async fn a_leftover_with_another_mac_or_mtu_is_replaced() {
        let _ovs = Ovs::start();
        let (host, mut vif) = (host(), vif(1));
        plug(&host, &vif).await;
        vif.mac = [2, 0, 0, 0, 0, 9].into();
        plug(&host, &vif).await;
        let far = || run("ip", &format!("link show {}", vif.attachment.container));
        assert!(far().contains("02:00:00:00:00:09"), "{}", far());
        vif.mtu = 1300;
        plug(&host, &vif).await;
        let far = run("ip", &format!("link show {}", vif.attachment.container));
        assert!(far.contains("mtu 1300"), "{far}");
        assert_eq!(veths(), pair(&vif));
    }
}

netns_test! {
    async fn a_leftover_half_of_another_pair_is_replaced() {
        let _ovs = Ovs::start();
        let vif = vif(1);
        run("ip", &format!("link add stray type veth peer name {}", vif.attachment.container));
        plug(&host(), &vif).await;
        assert_eq!(veths(), pair(&vif));
    }
}

netns_test! {
    async fn a_container_end_that_has_moved_is_left_alone() {
        let _ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        plug(&host, &vif).await;
        let container = Container::new("c1");
        container.take(vif.attachment.container.as_str(), "10.0.0.1/24");
        let before = container.run("ip", "-4 addr show dev eth0");
        plug(&host, &vif).await;
        assert_eq!(container.run("ip", "-4 addr show dev eth0"), before);
        assert_eq!(veths(), [vif.attachment.host.to_string()]);
    }
}

netns_test! {
    async fn what_is_not_ours_is_not_deleted() {
        let _ovs = Ovs::start();
        let vif = vif(1);
        run("ip", &format!("tuntap add {} mode tap", vif.attachment.host));
        let error = host().plug(&vif, within(10)).await.unwrap_err();
        assert!(matches!(error, Error::NameTaken { .. }), "{}", chain(&error));
        assert!(attempt("ip", &format!("link show {}", vif.attachment.host)).0);
    }
}
