//! What goes wrong is named, and leaves nothing behind.

use std::time::Duration;

use kuryr_testkit::ovs::Ovs;
use kuryr_testkit::{netns_test, run};
use kuryr_vif::{Datapath, Error, Instant, Plug, Switch};

use super::host::*;

netns_test! {
    async fn a_missing_bridge_is_named() {
        let _ovs = Ovs::start();
        let mut vif = vif(1);
        vif.attachment.switch = Switch::OpenVSwitch {
            bridge: "br-none".into(),
            datapath: Datapath::Userspace,
        };
        let error = host().plug(&vif, within(10)).await.unwrap_err();
        let said = chain(&error);
        assert!(said.contains("br-none") && said.contains("/run/openvswitch/db.sock"), "{said}");
        assert!(veths().is_empty());
    }
}

netns_test! {
    async fn what_the_kernel_refuses_leaves_nothing() {
        let ovs = Ovs::start();
        let mut vif = vif(1);
        vif.mtu = 70_000;
        let error = host().plug(&vif, within(10)).await.unwrap_err();
        let said = chain(&error);
        assert!(said.contains("could not create tap00000001-4e"), "{said}");
        assert!(said.contains("Invalid argument"), "{said}");
        assert!(veths().is_empty());
        assert_eq!(ovs.vsctl("list-ports br-int"), "");
    }
}

netns_test! {
    async fn an_absent_database_is_named_and_leaves_nothing() {
        let error = host().plug(&vif(1), within(1)).await.unwrap_err();
        let said = chain(&error);
        assert!(said.contains("/run/openvswitch/db.sock") && said.contains("ovsdb-server"), "{said}");
        assert!(veths().is_empty());
    }
}

netns_test! {
    async fn a_switch_that_hangs_is_an_error_by_the_deadline_and_leaves_nothing() {
        let ovs = Ovs::start();
        ovs.freeze_switch();
        let begun = Instant::now();
        let error = host().plug(&vif(1), begun + Duration::from_secs(1)).await.unwrap_err();
        let took = begun.elapsed();
        assert!(matches!(error, Error::NotRealised { .. }), "{}", chain(&error));
        assert!(took < Duration::from_millis(1500), "{took:?}");
        assert!(veths().is_empty());
        assert_eq!(ovs.vsctl("--no-wait list-ports br-int"), "");
        ovs.thaw_switch();
        plug(&host(), &vif(1)).await;
    }
}

netns_test! {
    async fn a_database_that_goes_away_does_not_keep_the_interface() {
        let mut ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        plug(&host, &vif).await;
        ovs.stop_server();
        let error = host.unplug(&vif.attachment, within(1)).await.unwrap_err();
        assert!(matches!(error, Error::Database { .. }), "{}", chain(&error));
        assert!(veths().is_empty());
        ovs.start_server();
        unplug(&host, &vif).await;
        assert_eq!(ovs.vsctl("list-ports br-int"), "");
    }
}

netns_test! {
    async fn a_plug_that_fails_leaves_what_was_there_before_it() {
        let ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        run("ip", &format!(
            "link add {} mtu {} type veth peer name {} mtu {} address {}",
            vif.attachment.host, vif.mtu, vif.attachment.container, vif.mtu, vif.mac
        ));
        ovs.freeze_switch();
        host.plug(&vif, within(1)).await.unwrap_err();
        assert_eq!(veths(), pair(&vif));
        ovs.thaw_switch();
        plug(&host, &vif).await;
    }
}
