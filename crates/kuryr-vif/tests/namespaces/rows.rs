//! Open vSwitch's rows.

use kuryr_testkit::netns::Container;
use kuryr_testkit::netns_test;
use kuryr_testkit::ovs::Ovs;
use kuryr_vif::Plug;

use super::host::*;

netns_test! {
    async fn a_plugged_interface_bears_what_controllers_look_for() {
        let ovs = Ovs::start();
        let vif = vif(1);
        plug(&host(), &vif).await;
        let ids = ovs.vsctl(&format!("get interface {} external_ids", vif.attachment.host));
        assert_eq!(
            ids,
            "{attached-mac=\"fa:16:3e:00:00:01\", iface-id=\"00000001-4e5f-6071-8293-a4b5c6d7e8f9\", \
             iface-status=active, owner=kuryr, vm-uuid=endpoint-1}"
        );
        assert_eq!(ovs.vsctl(&format!("port-to-br {}", vif.attachment.host)), "br-int");
    }
}

netns_test! {
    async fn a_stale_row_with_the_same_id_or_name_is_replaced() {
        let ovs = Ovs::start();
        let vif = vif(1);
        ovs.add_bridge("br-old");
        ovs.vsctl(&format!(
            "add-port br-old stale -- set interface stale type=internal external_ids:iface-id={}",
            vif.attachment.interface_id
        ));
        let name = &vif.attachment.host;
        ovs.vsctl(&format!("--no-wait add-port br-old {name}"));
        plug(&host(), &vif).await;
        assert_eq!(ovs.vsctl("list-ports br-old"), "");
        assert_eq!(ovs.vsctl("list-ports br-int"), name.as_str());
    }
}

netns_test! {
    async fn an_interface_changes_its_owner_and_nothing_else() {
        let ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        plug(&host, &vif).await;
        let name = &vif.attachment.host;
        ovs.vsctl(&format!("set interface {name} external_ids:ovn-installed=true"));
        let row = || ovs.vsctl(&format!("get interface {name} _uuid ofport external_ids:ovn-installed"));
        let before = row();
        let mut theirs = vif.clone();
        theirs.attachment.owner = "endpoint-2".into();
        plug(&host, &theirs).await;
        assert_eq!(row(), before);
        assert_eq!(host.attachments("endpoint-1").await.unwrap(), []);
        assert_eq!(host.attachments("endpoint-2").await.unwrap(), [theirs.attachment]);
    }
}

netns_test! {
    async fn an_interface_is_taken_back_if_nobody_can_tell_that_it_was_used() {
        let ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        plug(&host, &vif).await;
        let row = || ovs.vsctl(&format!("get interface {} _uuid", vif.attachment.host));
        let before = row();
        let inside = Container::new("c1");
        let end = vif.attachment.container.as_str();
        let come_back = |change: &str| {
            inside.take(end, "10.0.0.1/24");
            inside.run("ip", change);
            inside.run("ip", "link set eth0 down");
            inside.run("ip", &format!("link set eth0 name {end}"));
            inside.run("ip", &format!("link set {end} netns 1"));
        };
        let mut theirs = vif.clone();
        theirs.attachment.owner = "endpoint-2".into();
        come_back("addr show");
        assert!(host.take_back(&theirs, within(10)).await.unwrap());
        assert_eq!(row(), before);
        assert_eq!(host.attachments("endpoint-2").await.unwrap().len(), 1);
        assert!(!kuryr_testkit::run("ip", &format!("addr show {end}")).contains("10.0.0.1"));
        for change in [
            "link set eth0 address 02:00:00:00:00:01",
            "link set eth0 mtu 1000",
            "link property add dev eth0 altname other",
            "link set eth0 promisc on",
            "link set eth0 alias mine",
        ] {
            unplug(&host, &vif).await;
            plug(&host, &vif).await;
            come_back(change);
            assert!(!host.take_back(&theirs, within(10)).await.unwrap(), "{change}");
        }
        inside.take(end, "10.0.0.1/24");
        assert!(!host.take_back(&theirs, within(10)).await.unwrap(), "in a container");
    }
}

netns_test! {
    async fn only_our_own_rows_are_unplugged() {
        let ovs = Ovs::start();
        let vif = vif(1);
        ovs.vsctl(&format!(
            "add-port br-int machine -- set interface machine type=internal external_ids:iface-id={}",
            vif.attachment.interface_id
        ));
        unplug(&host(), &vif).await;
        assert_eq!(ovs.vsctl("list-ports br-int"), "machine");
    }
}

netns_test! {
    async fn what_is_plugged_is_found_by_its_owner_after_a_restart() {
        let _ovs = Ovs::start();
        let before = host();
        plug(&before, &vif(1)).await;
        plug(&before, &vif(2)).await;
        drop(before);
        let after = host();
        assert_eq!(after.attachments("endpoint-2").await.unwrap(), [vif(2).attachment]);
        assert_eq!(after.attachments("nobody").await.unwrap(), []);
        let mut all = after.all_attachments().await.unwrap();
        all.sort_by(|a, b| a.owner.cmp(&b.owner));
        assert_eq!(all, [vif(1).attachment, vif(2).attachment]);
    }
}

netns_test! {
    async fn a_restarted_database_is_connected_to_again() {
        let mut ovs = Ovs::start();
        let host = host();
        plug(&host, &vif(1)).await;
        ovs.restart_server();
        plug(&host, &vif(2)).await;
        unplug(&host, &vif(1)).await;
        assert_eq!(ovs.vsctl("list-ports br-int"), vif(2).attachment.host.as_str());
    }
}

netns_test! {
    async fn twenty_plugs_at_once_are_twenty_plugs() {
        let ovs = Ovs::start();
        let host = std::sync::Arc::new(host());
        let mut plugs = tokio::task::JoinSet::new();
        for number in 1..=20 {
            let host = host.clone();
            plugs.spawn(async move { plug(&host, &vif(number)).await });
        }
        while let Some(outcome) = plugs.join_next().await {
            outcome.unwrap();
        }
        assert_eq!(ovs.vsctl("list-ports br-int").lines().count(), 20);
        assert_eq!(veths().len(), 40);
    }
}

netns_test! {
    async fn the_same_plug_many_times_at_once_is_one_plug() {
        let ovs = Ovs::start();
        let host = std::sync::Arc::new(host());
        let mut plugs = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let host = host.clone();
            plugs.spawn(async move { plug(&host, &vif(1)).await });
        }
        while let Some(outcome) = plugs.join_next().await {
            outcome.unwrap();
        }
        assert_eq!(ovs.vsctl("list-ports br-int"), vif(1).attachment.host.as_str());
        assert_eq!(veths(), pair(&vif(1)));
    }
}
