//! The ways to plug beside Open vSwitch and a bridge of ours: behind a filter, for an agent, as a tap.

use kuryr_testkit::netns::Container;
use kuryr_testkit::ovs::Ovs;
use kuryr_testkit::{attempt, netns_test, run};
use kuryr_vif::{Attachment, Datapath, Error, Filter, Host, Plug, Switch, Vif};

use super::host::*;

/// The `number`th interface, plugged as `switch` says.
fn by(number: u8, switch: impl Fn(&str) -> Switch) -> Vif {
    let vif = vif(number);
    let Attachment {
        interface_id,
        owner,
        ..
    } = &vif.attachment;
    let attachment = Attachment::of_port(interface_id, owner, switch(interface_id)).unwrap();
    Vif { attachment, ..vif }
}

fn hybrid(number: u8) -> Vif {
    by(number, |port| Switch::Hybrid {
        bridge: "br-int".into(),
        datapath: Datapath::Userspace,
        filter: Filter::of_port(port).unwrap(),
    })
}

const AGENTS: &str = "brq00000000-00";

fn for_agent(number: u8) -> Vif {
    by(number, |_| Switch::AgentBridge {
        bridge: AGENTS.parse().unwrap(),
    })
}

fn tap(number: u8) -> Vif {
    by(number, |_| Switch::Tap)
}

/// The names of all interfaces but `lo` and those that Open vSwitch has by itself.
fn links() -> Vec<String> {
    let said = run("ip", "-brief link");
    let names = said
        .lines()
        .filter_map(|line| line.split(['@', ' ']).next());
    let mut names: Vec<String> = names
        .filter(|name| !["lo", "ovs-netdev", "ovs-system", "br-int"].contains(name))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names
}

async fn container(host: &Host, vif: &Vif, number: u8) -> Container {
    plug(host, vif).await;
    let container = Container::new(&format!("c{number}"));
    container.take(
        vif.attachment.container.as_str(),
        &format!("10.0.0.{number}/24"),
    );
    container
}

netns_test! {
    async fn behind_a_filter_containers_reach_each_other_and_pass_it() {
        let ovs = Ovs::start();
        let host = host();
        let one = container(&host, &hybrid(1), 1).await;
        let other = container(&host, &vif(2), 2).await;
        assert!(host.wired(&hybrid(1).attachment, within(5)).await.unwrap());
        assert!(one.reaches("10.0.0.2"));
        assert_eq!(super::forwarding::download(&one, &other, "10.0.0.2"), 1_000_000);
        // What the agent's rules and OVN's controller look for.
        assert_eq!(ovs.vsctl("list-ports br-int"), "qvo00000001-4e\ntap00000002-4e");
        let ids = ovs.vsctl("get interface qvo00000001-4e external_ids:iface-id");
        assert_eq!(ids.trim_matches('"'), hybrid(1).attachment.interface_id);
        let ports = run("bridge", "-o link show");
        for port in ["tap00000001-4e", "qvb00000001-4e"] {
            let line = ports.lines().find(|line| line.contains(port));
            assert!(line.is_some_and(|line| line.contains("master qbr00000001-4e")), "{ports}");
        }
        let between = run("ip", "-d link show qbr00000001-4e");
        for setting in [",UP", "mtu 1442", "stp_state 0", "ageing_time 0 ", "nf_call_iptables 1", "nf_call_arptables 1"] {
            assert!(between.contains(setting), "{setting}: {between}");
        }
        // The host itself is not on the container's network.
        for interface in ["qbr00000001-4e", "qvb00000001-4e", "qvo00000001-4e", "tap00000001-4e"] {
            assert_eq!(run("ip", &format!("-o addr show dev {interface}")), "");
        }
        run("ip", "link set qvb00000001-4e down");
        assert!(!one.reaches("10.0.0.2"), "there is another way than by the filter");
    }
}

netns_test! {
    async fn plugging_behind_a_filter_twice_is_once_and_unplugging_leaves_nothing() {
        let ovs = Ovs::start();
        let (host, vif) = (host(), hybrid(1));
        plug(&host, &vif).await;
        // Without what comes by itself, such as a carrier.
        let seen = || (run("ip", "-o link").lines().map(|line| line.split('<').next().unwrap().to_owned()).collect::<Vec<_>>(), ovs.vsctl("--columns=_uuid,name,external_ids list interface"));
        let before = seen();
        plug(&host, &vif).await;
        assert_eq!(seen(), before);
        assert_eq!(links(), ["qbr00000001-4e", "qvb00000001-4e", "qvo00000001-4e", "t_c00000001-4e", "tap00000001-4e"]);
        assert_eq!(host.attachments("endpoint-1").await.unwrap(), std::slice::from_ref(&vif.attachment));
        unplug(&host, &vif).await;
        unplug(&host, &vif).await;
        assert!(links().is_empty(), "{:?}", links());
        assert_eq!(ovs.vsctl("list-ports br-int"), "");
    }
}

netns_test! {
    async fn what_is_broken_between_an_interface_and_its_switch_is_mended() {
        let ovs = Ovs::start();
        let host = host();
        let other = container(&host, &vif(2), 2).await;
        let one = container(&host, &hybrid(1), 1).await;
        for broken in ["link delete qvo00000001-4e", "link delete qbr00000001-4e", "link set qvb00000001-4e nomaster"] {
            run("ip", broken);
            plug(&host, &hybrid(1)).await;
            assert!(host.wired(&hybrid(1).attachment, within(5)).await.unwrap());
            assert!(one.reaches("10.0.0.2"), "{broken}");
            assert!(other.reaches("10.0.0.1"), "{broken}");
        }
        assert_eq!(ovs.vsctl("list-ports br-int").lines().count(), 2);
    }
}

netns_test! {
    async fn a_failure_behind_a_filter_leaves_nothing() {
        let ovs = Ovs::start();
        let (host, vif) = (host(), hybrid(1));
        ovs.freeze_switch();
        // Long enough for an emulated machine to come as far as the switch.
        let error = host.plug(&vif, within(4)).await.unwrap_err();
        assert!(matches!(error, Error::NotRealised { .. }), "{}", chain(&error));
        assert!(links().is_empty(), "{:?}", links());
        assert_eq!(ovs.vsctl("--no-wait list-ports br-int"), "");
        ovs.thaw_switch();
        // Somebody else's interface has one of the names.
        run("ip", "tuntap add tap00000001-4e mode tap");
        let error = host.plug(&vif, within(5)).await.unwrap_err();
        assert!(matches!(error, Error::NameTaken { .. }), "{}", chain(&error));
        assert_eq!(links(), ["tap00000001-4e"]);
        assert_eq!(ovs.vsctl("list-ports br-int"), "");
    }
}

netns_test! {
    async fn neighbours_behind_a_filter_learn_who_has_an_address_now() {
        let _ovs = Ovs::start();
        let (host, vif) = (host(), hybrid(1));
        let other = container(&host, &super::host::vif(2), 2).await;
        other.run("ip", "neigh replace 10.0.0.1 lladdr 02:00:00:00:00:99 nud stale dev eth0");
        plug(&host, &vif).await;
        host.announce(&vif.attachment, vif.mac, &["10.0.0.1".parse().unwrap()], within(5)).await.unwrap();
        let last = within(5);
        while !other.run("ip", "neigh").contains(&vif.mac.to_string()) {
            assert!(kuryr_vif::Instant::now() < last, "{}", other.run("ip", "neigh"));
        }
    }
}

netns_test! {
    async fn an_agent_wires_the_interface_into_its_own_bridge() {
        let (host, vif) = (host_without_ovs(), for_agent(1));
        plug(&host, &vif).await;
        assert_eq!(links(), pair(&vif), "the bridge is the agent's to make");
        let soon = kuryr_vif::Instant::now() + std::time::Duration::from_millis(200);
        assert!(!host.wired(&vif.attachment, soon).await.unwrap());
        // What Neutron's Linux bridge agent does when it sees a new tap.
        let agent = tokio::task::spawn_blocking(|| {
            run("ip", &format!("link add {AGENTS} type bridge"));
            run("ip", &format!("link set {AGENTS} up"));
            run("ip", &format!("link set tap00000001-4e master {AGENTS}"));
        });
        let (wired, agent) = tokio::join!(host.wired(&vif.attachment, within(10)), agent);
        agent.unwrap();
        assert!(wired.unwrap());
        let master = || run("ip", "link show tap00000001-4e").contains(&format!("master {AGENTS}"));
        plug(&host, &vif).await;
        assert!(master(), "the agent's work stays as it is");
        assert_eq!(host_without_ovs().attachments("endpoint-1").await.unwrap(), std::slice::from_ref(&vif.attachment));
        run("ip", &format!("addr add 10.0.0.2/24 dev {AGENTS}"));
        let container = Container::new("c1");
        container.take(vif.attachment.container.as_str(), "10.0.0.1/24");
        assert!(container.reaches("10.0.0.2"));
        unplug(&host, &vif).await;
        unplug(&host, &vif).await;
        assert_eq!(links(), [AGENTS]);
        let gone = host.wired(&vif.attachment, within(5)).await;
        assert!(matches!(gone, Err(Error::NotPlugged { .. })), "{gone:?}");
    }
}

netns_test! {
    async fn a_tap_is_left_to_who_routes_to_it() {
        let (host, vif) = (host_without_ovs(), tap(1));
        plug(&host, &vif).await;
        plug(&host, &vif).await;
        assert!(host.wired(&vif.attachment, within(1)).await.unwrap());
        assert_eq!(links(), pair(&vif));
        assert!(run("ip", "link show tap00000001-4e").contains(",UP"));
        assert_eq!(host_without_ovs().all_attachments().await.unwrap(), std::slice::from_ref(&vif.attachment));
        // As a routing agent does it: the host answers for the gateway, and has a route.
        run("ip", "addr add 169.254.1.1/32 dev tap00000001-4e");
        run("ip", "route add 10.0.0.1/32 dev tap00000001-4e");
        let container = Container::new("c1");
        container.take(vif.attachment.container.as_str(), "10.0.0.1/32");
        container.run("ip", "route add 169.254.1.1 dev eth0");
        assert!(container.reaches("169.254.1.1"));
        unplug(&host, &vif).await;
        unplug(&host, &vif).await;
        assert!(links().is_empty(), "{:?}", links());
        let (there, _) = attempt("ip", "link show tap00000001-4e");
        assert!(!there);
    }
}
