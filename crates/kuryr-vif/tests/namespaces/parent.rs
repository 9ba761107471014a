//! Inside a guest: interfaces that share the guest's own.

use kuryr_testkit::netns::Container;
use kuryr_testkit::{netns_test, run};
use kuryr_vif::{Attachment, Error, Host, Plug, Sharing, Switch, Vif};

use super::host::*;

const PARENT: &str = "ens3";

pub(super) fn on_parent(number: u8, sharing: Sharing) -> Vif {
    let vif = vif(number);
    let Attachment {
        interface_id,
        owner,
        ..
    } = &vif.attachment;
    let switch = Switch::Parent {
        parent: PARENT.parse().unwrap(),
        sharing,
    };
    let attachment = Attachment::of_port(interface_id, owner, switch).unwrap();
    Vif { attachment, ..vif }
}

/// This namespace is the guest; beyond its interface is a neighbour at 10.0.0.100.
pub(super) fn network(mtu: u32) -> Container {
    let neighbour = Container::new("neighbour");
    run(
        "ip",
        &format!("link add {PARENT} mtu {mtu} type veth peer name beyond mtu {mtu}"),
    );
    neighbour.take("beyond", "10.0.0.100/24");
    run("ip", &format!("link set {PARENT} up"));
    neighbour
}

fn interfaces() -> String {
    let said = run("ip", "-brief link");
    let ours = said.lines().filter(|line| line.starts_with("t_c"));
    ours.collect::<Vec<_>>().join("\n")
}

pub(super) async fn container(host: &Host, vif: &Vif, number: u8) -> Container {
    plug(host, vif).await;
    assert!(host.wired(&vif.attachment, within(5)).await.unwrap());
    let container = Container::new(&format!("c{number}"));
    container.take(
        vif.attachment.container.as_str(),
        &format!("10.0.0.{number}/24"),
    );
    container
}

netns_test! {
    async fn containers_with_addresses_of_their_own_reach_each_other_and_the_network() {
        let neighbour = network(1500);
        let host = host_without_ovs();
        let one = container(&host, &on_parent(1, Sharing::Macvlan), 1).await;
        let _other = container(&host, &on_parent(2, Sharing::Macvlan), 2).await;
        assert!(one.reaches("10.0.0.2"));
        assert!(one.reaches("10.0.0.100"));
        let seen = neighbour.run("ip", "neigh show 10.0.0.1");
        assert!(seen.contains("fa:16:3e:00:00:01"), "{seen}");
        assert!(one.run("ip", "link show eth0").contains("mtu 1442"));
    }
}

netns_test! {
    async fn an_interface_that_is_not_here_counts_as_a_containers() {
        let _neighbour = network(1500);
        let (host, vif) = (host_without_ovs(), on_parent(1, Sharing::Macvlan));
        plug(&host, &vif).await;
        assert!(!host.is_taken(&vif.attachment).await.unwrap());
        Container::new("c1").take(vif.attachment.container.as_str(), "10.0.0.1/24");
        assert!(host.is_taken(&vif.attachment).await.unwrap());
    }
}

netns_test! {
    async fn sharing_twice_is_sharing_once_and_the_end_leaves_nothing() {
        let _neighbour = network(1500);
        let (host, vif) = (host_without_ovs(), on_parent(1, Sharing::Macvlan));
        plug(&host, &vif).await;
        let before = interfaces();
        assert!(before.contains("t_c00000001-4e@ens3"), "{before}");
        plug(&host, &vif).await;
        assert_eq!(interfaces(), before);
        // Found again by another run, here or in its container.
        assert_eq!(host_without_ovs().attachments("endpoint-1").await.unwrap(), std::slice::from_ref(&vif.attachment));
        let container = Container::new("c1");
        container.take("t_c00000001-4e", "10.0.0.1/24");
        plug(&host_without_ovs(), &vif).await;
        assert_eq!(interfaces(), "", "one in its container is left there");
        assert!(container.reaches("10.0.0.100"));
        assert_eq!(host_without_ovs().all_attachments().await.unwrap(), std::slice::from_ref(&vif.attachment));
        run("ip", "netns delete c1");
        unplug(&host, &vif).await;
        unplug(&host, &vif).await;
        assert_eq!(host.all_attachments().await.unwrap(), []);
        let gone = host.wired(&vif.attachment, within(1)).await;
        assert!(matches!(gone, Err(Error::NotPlugged { .. })), "{gone:?}");
        // Brought back by Docker, and then unplugged.
        plug(&host, &vif).await;
        unplug(&host, &vif).await;
        assert_eq!(interfaces(), "");
        assert_eq!(run("ls", "/run/kuryr/plugged"), "");
    }
}

netns_test! {
    async fn a_leftover_of_another_address_or_kind_is_replaced() {
        let _neighbour = network(1500);
        let (host, mut vif) = (host_without_ovs(), on_parent(1, Sharing::Macvlan));
        plug(&host, &vif).await;
        vif.mac = [2, 0, 0, 0, 0, 9].into();
        plug(&host, &vif).await;
        assert!(interfaces().contains("02:00:00:00:00:09"), "{}", interfaces());
        unplug(&host, &vif).await;
        run("ip", "link add t_c00000001-4e type veth peer name other");
        let error = host.plug(&vif, within(5)).await.unwrap_err();
        assert!(matches!(error, Error::NameTaken { .. }), "{}", chain(&error));
        assert_eq!(host.all_attachments().await.unwrap(), []);
    }
}

netns_test! {
    async fn the_mtu_is_at_most_the_parents() {
        let _neighbour = network(1400);
        plug(&host_without_ovs(), &on_parent(1, Sharing::Macvlan)).await;
        assert!(run("ip", "link show t_c00000001-4e").contains("mtu 1400"));
    }
}

netns_test! {
    async fn a_parent_that_is_not_there_is_named_and_nothing_remains() {
        let host = host_without_ovs();
        let error = host.plug(&on_parent(1, Sharing::Macvlan), within(5)).await.unwrap_err();
        let said = chain(&error);
        assert!(said.contains("ens3") && said.contains("link_iface"), "{said}");
        assert_eq!(interfaces(), "");
        assert_eq!(host.all_attachments().await.unwrap(), []);
    }
}

netns_test! {
    async fn neighbours_learn_that_an_address_is_a_containers_now() {
        let neighbour = network(1500);
        let (host, vif) = (host_without_ovs(), on_parent(1, Sharing::Macvlan));
        neighbour.run("ip", "neigh replace 10.0.0.1 lladdr 02:00:00:00:00:99 nud stale dev eth0");
        plug(&host, &vif).await;
        host.announce(&vif.attachment, vif.mac, &["10.0.0.1".parse().unwrap()], within(5)).await.unwrap();
        let last = within(5);
        while !neighbour.run("ip", "neigh").contains(&vif.mac.to_string()) {
            assert!(kuryr_vif::Instant::now() < last, "{}", neighbour.run("ip", "neigh"));
        }
    }
}
