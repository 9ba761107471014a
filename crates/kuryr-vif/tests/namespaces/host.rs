//! What the tests share: a host, interfaces to be, and outside views of what came of them.

use std::time::Duration;

use kuryr_testkit::run;
use kuryr_vif::{Attachment, Datapath, Host, HostSettings, Instant, Plug, Switch, Vif};

pub(crate) fn host() -> Host {
    Host::new(HostSettings::default())
}

pub(crate) fn host_without_ovs() -> Host {
    Host::new(HostSettings {
        ovsdb: None,
        ..HostSettings::default()
    })
}

/// The `number`th interface, on br-int; in front of a switch in userspace as our tests' is.
pub(crate) fn vif(number: u8) -> Vif {
    let port = format!("{number:08x}-4e5f-6071-8293-a4b5c6d7e8f9");
    let switch = Switch::OpenVSwitch {
        bridge: "br-int".into(),
        datapath: Datapath::Userspace,
    };
    Vif {
        attachment: Attachment::of_port(&port, &format!("endpoint-{number}"), switch).unwrap(),
        mac: [0xfa, 0x16, 0x3e, 0, 0, number].into(),
        mtu: 1442,
    }
}

pub(crate) fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

pub(crate) async fn plug(host: &Host, vif: &Vif) {
    if let Err(error) = host.plug(vif, within(10)).await {
        panic!("plug: {}", chain(&error));
    }
}

pub(crate) async fn unplug(host: &Host, vif: &Vif) {
    if let Err(error) = host.unplug(&vif.attachment, within(10)).await {
        panic!("unplug: {}", chain(&error));
    }
}

/// An error with its causes, as an operator reads it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// The names of this namespace's veths, in order, asked of `ip` rather than of our own code.
pub(crate) fn veths() -> Vec<String> {
    let said = run("ip", "-brief link show type veth");
    let mut names: Vec<String> = said
        .lines()
        .filter_map(|line| line.split(['@', ' ']).next().map(str::to_owned))
        .collect();
    names.sort_unstable();
    names
}

/// The names of the pair of `vif`, in order.
pub(crate) fn pair(vif: &Vif) -> Vec<String> {
    vec![
        vif.attachment.container.to_string(),
        vif.attachment.host.to_string(),
    ]
}
