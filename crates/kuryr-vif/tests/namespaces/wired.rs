//! Waiting for the bridge's controller.

use kuryr_testkit::netns_test;
use kuryr_testkit::ovs::Ovs;
use kuryr_vif::{Error, Plug};

use super::host::*;

netns_test! {
    async fn ovn_says_when_an_interface_is_wired() {
        let ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        ovs.vsctl("set open . external_ids:ovn-remote=tcp:127.0.0.1:6642");
        plug(&host, &vif).await;
        assert!(!host.wired(&vif.attachment, soon()).await.unwrap());
        let sign = format!("set interface {} external_ids:ovn-installed=true", vif.attachment.host);
        let (wired, _) = tokio::join!(host.wired(&vif.attachment, within(5)), async {
            tokio::task::yield_now().await;
            tokio::task::spawn_blocking(move || ovs.vsctl(&sign)).await.unwrap()
        });
        assert!(wired.unwrap());
    }
}

netns_test! {
    async fn the_agent_says_when_an_interface_is_wired() {
        let ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        ovs.vsctl("set-fail-mode br-int secure");
        plug(&host, &vif).await;
        assert!(!host.wired(&vif.attachment, soon()).await.unwrap());
        ovs.vsctl(&format!("set port {} tag=4095", vif.attachment.host));
        assert!(!host.wired(&vif.attachment, soon()).await.unwrap());
        let sign = format!("set port {} tag=3", vif.attachment.host);
        let (wired, _) = tokio::join!(
            host.wired(&vif.attachment, within(5)),
            tokio::task::spawn_blocking(move || ovs.vsctl(&sign)),
        );
        assert!(wired.unwrap());
    }
}

netns_test! {
    async fn a_bridge_without_a_controller_forwards_at_once() {
        let _ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        plug(&host, &vif).await;
        assert!(host.wired(&vif.attachment, within(1)).await.unwrap());
    }
}

netns_test! {
    async fn waiting_survives_a_restart_of_the_database() {
        let mut ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        ovs.vsctl("set-fail-mode br-int secure");
        plug(&host, &vif).await;
        let sign = format!("set port {} tag=3", vif.attachment.host);
        let (wired, _) = tokio::join!(
            host.wired(&vif.attachment, within(10)),
            tokio::task::spawn_blocking(move || {
                ovs.restart_server();
                ovs.vsctl(&sign)
            }),
        );
        assert!(wired.unwrap());
    }
}

netns_test! {
    async fn an_interface_that_is_taken_away_is_not_waited_for() {
        let ovs = Ovs::start();
        let (host, vif) = (host(), vif(1));
        ovs.vsctl("set-fail-mode br-int secure");
        plug(&host, &vif).await;
        let sign = format!("del-port {}", vif.attachment.host);
        let (wired, _) = tokio::join!(
            host.wired(&vif.attachment, within(10)),
            tokio::task::spawn_blocking(move || ovs.vsctl(&sign)),
        );
        assert!(matches!(wired, Err(Error::NotPlugged { .. })), "{wired:?}");
    }
}

fn soon() -> kuryr_vif::Instant {
    kuryr_vif::Instant::now() + std::time::Duration::from_millis(200)
}
