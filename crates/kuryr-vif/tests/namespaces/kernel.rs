//! What a machine's kernel may lack: these run on Debian's own (`make test-kernel`).

use kuryr_testkit::netns::Container;
use kuryr_testkit::ovs::Ovs;
use kuryr_testkit::{netns_test, run};
use kuryr_vif::{Attachment, Datapath, Filter, Host, Plug, Sharing, Switch, Vif};

use super::forwarding::download;
use super::host::*;

const BRIDGE: &str = "br-sys";

/// The `number`th interface, in front of the kernel's datapath.
fn in_kernel(number: u8) -> Vif {
    let mut vif = vif(number);
    vif.attachment.switch = Switch::OpenVSwitch {
        bridge: BRIDGE.into(),
        datapath: Datapath::Kernel,
    };
    vif
}

/// The same, behind an agent's filter.
fn behind_filter(number: u8) -> Vif {
    let vif = vif(number);
    let Attachment {
        interface_id,
        owner,
        ..
    } = &vif.attachment;
    let switch = Switch::Hybrid {
        bridge: BRIDGE.into(),
        datapath: Datapath::Kernel,
        filter: Filter::of_port(interface_id).unwrap(),
    };
    let attachment = Attachment::of_port(interface_id, owner, switch).unwrap();
    Vif { attachment, ..vif }
}

async fn container(host: &Host, vif: &Vif, number: u8) -> Container {
    plug(host, vif).await;
    let container = Container::new(&format!("c{number}"));
    let address = format!("10.0.0.{number}/24");
    container.take(vif.attachment.container.as_str(), &address);
    assert!(host.wired(&vif.attachment, within(10)).await.unwrap());
    container
}

netns_test! {
    async fn containers_reach_each_other_through_the_kernels_datapath() {
        let ovs = Ovs::start();
        ovs.add_kernel_bridge(BRIDGE);
        let host = host();
        let one = container(&host, &in_kernel(1), 1).await;
        let other = container(&host, &in_kernel(2), 2).await;
        assert!(one.reaches("10.0.0.2"));
        // With its checksums left to the kernel.
        assert!(one.run("ethtool", "-k eth0").contains("tx-checksumming: on"));
        assert_eq!(download(&one, &other, "10.0.0.2"), 1_000_000);
        let flows = ovs.vsctl("get bridge br-sys datapath_type");
        assert_eq!(flows, "system");
        let found = host.all_attachments().await.unwrap();
        assert!(found.contains(&in_kernel(1).attachment), "{found:?}");
        for number in [1, 2] {
            unplug(&host, &in_kernel(number)).await;
        }
        assert!(veths().is_empty(), "{:?}", veths());
    }
}

netns_test! {
    async fn behind_a_filter_containers_reach_each_other_through_the_kernels_datapath() {
        let ovs = Ovs::start();
        ovs.add_kernel_bridge(BRIDGE);
        let host = host();
        let one = container(&host, &behind_filter(1), 1).await;
        let other = container(&host, &in_kernel(2), 2).await;
        assert!(one.reaches("10.0.0.2"));
        assert_eq!(download(&one, &other, "10.0.0.2"), 1_000_000);
        for vif in [behind_filter(1), in_kernel(2)] {
            unplug(&host, &vif).await;
        }
        assert!(veths().is_empty(), "{:?}", veths());
        assert_eq!(run("ip", "-brief link show type bridge"), "");
        assert_eq!(ovs.vsctl("list-ports br-sys"), "");
    }
}

netns_test! {
    async fn containers_with_the_guests_address_reach_each_other_and_the_network() {
        let neighbour = super::parent::network(1500);
        let host = host_without_ovs();
        let vif = |number| super::parent::on_parent(number, Sharing::Ipvlan);
        let one = super::parent::container(&host, &vif(1), 1).await;
        let _other = super::parent::container(&host, &vif(2), 2).await;
        assert!(one.reaches("10.0.0.2"));
        assert!(one.reaches("10.0.0.100"));
        let shown = run("ip", "-o link show ens3");
        let mac = shown.split("link/ether ").nth(1).unwrap();
        let mac = mac.split(' ').next().unwrap();
        let seen = neighbour.run("ip", "neigh show 10.0.0.1");
        assert!(seen.contains(mac), "{seen}");
        plug(&host, &vif(1)).await;
        assert_eq!(host.all_attachments().await.unwrap().len(), 2);
        // Its next owner speaks with the guest's hardware address, too.
        neighbour.run("ip", "neigh replace 10.0.0.3 lladdr 02:00:00:00:00:99 nud stale dev eth0");
        plug(&host, &vif(3)).await;
        let address = "10.0.0.3".parse().unwrap();
        host.announce(&vif(3).attachment, vif(3).mac, &[address], within(5)).await.unwrap();
        let last = within(10);
        while !neighbour.run("ip", "neigh show 10.0.0.3").contains(mac) {
            assert!(kuryr_vif::Instant::now() < last, "{}", neighbour.run("ip", "neigh"));
        }
        unplug(&host, &vif(3)).await;
        assert!(!run("ip", "-brief link").contains("t_c"));
    }
}

/// Beyond the guest's interface a switch takes the VLAN ids off: a neighbour for each.
fn trunk() -> [Container; 2] {
    let neighbours = ["a", "b"].map(Container::new);
    run(
        "ip",
        "link add ens3 mtu 1500 type veth peer name beyond mtu 1500",
    );
    run("ip", "link set ens3 up");
    run("ip", "link set beyond up");
    for (neighbour, id) in neighbours.iter().zip([100, 200]) {
        run(
            "ip",
            &format!("link add link beyond name tag{id} type vlan id {id}"),
        );
        neighbour.take(&format!("tag{id}"), "10.0.0.100/24");
    }
    neighbours
}

netns_test! {
    async fn a_container_reaches_the_network_of_its_vlan_id_alone() {
        let [a, b] = trunk();
        let host = host_without_ovs();
        let vif = |number, id| super::parent::on_parent(number, Sharing::Vlan(id));
        let one = super::parent::container(&host, &vif(1, 100), 1).await;
        // Its neighbour here is on another network, which may have the same addresses.
        let other = super::parent::container(&host, &vif(2, 200), 2).await;
        assert!(one.reaches("10.0.0.100") && other.reaches("10.0.0.100"));
        assert!(!one.reaches("10.0.0.2"));
        let seen = a.run("ip", "neigh show 10.0.0.1");
        assert!(seen.contains("fa:16:3e:00:00:01"), "{seen}");
        assert_eq!(b.run("ip", "neigh show 10.0.0.1"), "");
        assert!(one.run("ip", "link show eth0").contains("mtu 1442"));
        assert_eq!(download(&one, &a, "10.0.0.100"), 1_000_000);
        for vif in [vif(1, 100), vif(2, 200)] {
            unplug(&host, &vif).await;
            unplug(&host, &vif).await;
        }
        assert_eq!(host.all_attachments().await.unwrap(), []);
    }
}

netns_test! {
    async fn a_vlan_id_is_plugged_once_and_found_again() {
        let [_a, _b] = trunk();
        let (host, vif) = (host_without_ovs(), super::parent::on_parent(1, Sharing::Vlan(100)));
        plug(&host, &vif).await;
        let before = run("ip", "-d link show type vlan");
        assert!(before.contains("t_c00000001-4e@ens3") && before.contains("id 100"), "{before}");
        plug(&host, &vif).await;
        assert_eq!(run("ip", "-d link show type vlan"), before, "twice is once");
        assert_eq!(host_without_ovs().attachments("endpoint-1").await.unwrap(), std::slice::from_ref(&vif.attachment));
        // The trunk has it under another id by now.
        let moved = super::parent::on_parent(1, Sharing::Vlan(101));
        plug(&host, &moved).await;
        assert!(run("ip", "-d link show type vlan").contains("id 101"));
        // Somebody else's interface, wherever it is, has the id.
        super::parent::container(&host, &moved, 1).await;
        let other = super::parent::on_parent(2, Sharing::Vlan(101));
        let error = host.plug(&other, within(5)).await.unwrap_err();
        assert!(chain(&error).contains("VLAN id 101"), "{}", chain(&error));
        assert_eq!(host.all_attachments().await.unwrap(), std::slice::from_ref(&moved.attachment));
        run("ip", "netns delete c1");
        unplug(&host, &moved).await;
        // The kernel takes a namespace down in its own time.
        let last = within(10);
        while host.plug(&other, within(5)).await.is_err() {
            assert!(kuryr_vif::Instant::now() < last);
        }
        unplug(&host, &other).await;
        assert_eq!(run("ip", "-brief link show type vlan"), "");
        assert_eq!(run("ls", "/run/kuryr/plugged"), "");
    }
}

netns_test! {
    async fn the_mtu_of_a_vlan_id_is_at_most_the_parents() {
        let _neighbours = trunk();
        run("ip", "link set ens3 mtu 1400");
        plug(&host_without_ovs(), &super::parent::on_parent(1, Sharing::Vlan(100))).await;
        assert!(run("ip", "link show t_c00000001-4e").contains("mtu 1400"));
    }
}

netns_test! {
    async fn neighbours_of_a_vlan_id_learn_that_an_address_is_a_containers_now() {
        let [a, _b] = trunk();
        let (host, vif) = (host_without_ovs(), super::parent::on_parent(1, Sharing::Vlan(100)));
        a.run("ip", "neigh replace 10.0.0.1 lladdr 02:00:00:00:00:99 nud stale dev eth0");
        plug(&host, &vif).await;
        host.announce(&vif.attachment, vif.mac, &["10.0.0.1".parse().unwrap()], within(5)).await.unwrap();
        let last = within(10);
        while !a.run("ip", "neigh").contains(&vif.mac.to_string()) {
            assert!(kuryr_vif::Instant::now() < last, "{}", a.run("ip", "neigh"));
        }
    }
}

netns_test! {
    async fn a_guest_routes_for_its_containers() {
        let neighbour = super::parent::network(1500);
        run("ip", "addr add 10.0.0.50/24 dev ens3");
        // As a router of Neutron's has it.
        neighbour.run("ip", "route add 10.1.0.0/24 via 10.0.0.50");
        let host = host_without_ovs();
        let vif = |number| super::parent::on_parent(number, Sharing::IpvlanL3);
        let containers = [1, 2].map(|number| (Container::new(&format!("c{number}")), vif(number), number));
        for (container, vif, number) in &containers {
            plug(&host, vif).await;
            let address = ["10.1.0.9".parse().unwrap()];
            host.announce(&vif.attachment, vif.mac, &address, within(5)).await.unwrap();
            container.take(vif.attachment.container.as_str(), &format!("10.1.0.{number}/24"));
            container.run("ip", "route add default via 10.1.0.254");
        }
        let [(one, vif, _), (other, _, _)] = &containers;
        assert!(one.reaches("10.1.0.2") && one.reaches("10.0.0.100"));
        assert!(neighbour.reaches("10.1.0.1"));
        assert_eq!(download(one, &neighbour, "10.0.0.100"), 1_000_000);
        assert_eq!(download(one, other, "10.1.0.2"), 1_000_000);
        let seen = neighbour.run("ip", "neigh");
        assert!(!seen.contains("10.1.0."), "only the guest is a neighbour: {seen}");
        assert!(one.run("ip", "-d link show eth0").contains("mode l3"));
        plug(&host, vif).await;
        assert_eq!(host_without_ovs().attachments("endpoint-1").await.unwrap(), std::slice::from_ref(&vif.attachment));
        for name in ["c1", "c2"] {
            run("ip", &format!("netns delete {name}"));
        }
        for number in [1, 2] {
            unplug(&host, &super::parent::on_parent(number, Sharing::IpvlanL3)).await;
        }
        assert_eq!(host.all_attachments().await.unwrap(), []);
    }
}
