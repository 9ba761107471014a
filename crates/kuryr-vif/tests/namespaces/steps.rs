//! Killed before and after each request to the kernel and each message to ovsdb-server, or refused there:
//! the next call works, and in the end nothing is left.
//!
//! `interpose.c` is loaded into a process of its own and lets it happen: nothing in what is shipped knows
//! of it.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use kuryr_testkit::ovs::Ovs;
use kuryr_testkit::{netns, netns_test, run};
use kuryr_vif::{Attachment, Datapath, Filter, Host, Plug, Sharing, Switch, Vif};

use super::host::*;

const LIBRARY: &str = "/run/interpose.so";
/// Where a machine has no compiler.
const BUILT_ELSEWHERE: &str = "/interpose.so";
const STEPS: &str = "/run/steps";
/// More steps than any way takes.
const FAR: usize = 100;

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    KilledBefore,
    KilledAfter,
    /// It is not sent.
    Refused,
    /// It is sent, and done, and nobody hears of it.
    Unheard,
}

impl Fate {
    const ALL: [Self; 4] = [
        Self::KilledBefore,
        Self::KilledAfter,
        Self::Refused,
        Self::Unheard,
    ];

    /// As `interpose.c` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::KilledBefore => "killed before",
            Self::KilledAfter => "killed after",
            Self::Refused => "refused",
            Self::Unheard => "unheard",
        }
    }

    fn kills(self) -> bool {
        matches!(self, Self::KilledBefore | Self::KilledAfter)
    }
}

fn by(switch: impl FnOnce(&str) -> Switch) -> Vif {
    let vif = vif(1);
    let (port, owner) = (&vif.attachment.interface_id, &vif.attachment.owner);
    let attachment = Attachment::of_port(port, owner, switch(port)).unwrap();
    Vif { attachment, ..vif }
}

fn into_ovs() -> Vif {
    vif(1)
}

fn behind_a_filter() -> Vif {
    by(|port| Switch::Hybrid {
        bridge: "br-int".into(),
        datapath: Datapath::Userspace,
        filter: Filter::of_port(port).unwrap(),
    })
}

fn for_an_agent() -> Vif {
    by(|_| Switch::AgentBridge {
        bridge: "brq00000000-00".parse().unwrap(),
    })
}

fn on_a_parent() -> Vif {
    by(|_| Switch::Parent {
        parent: "parent".parse().unwrap(),
        sharing: Sharing::Macvlan,
    })
}

/// What is here of what was plugged: interfaces, ports of the bridge, notes, what the host itself says.
async fn left(ovs: &Ovs) -> Vec<String> {
    let links = run("ip", "-brief link");
    let names = links
        .lines()
        .filter_map(|line| line.split(['@', ' ']).next());
    let beforehand = [
        "lo",
        "ovs-netdev",
        "ovs-system",
        "br-int",
        "parent",
        "beyond",
    ];
    let mut left: Vec<String> = names
        .filter(|name| !beforehand.contains(name))
        .map(|name| format!("interface {name}"))
        .collect();
    let ports = ovs.vsctl("list-ports br-int");
    left.extend(ports.lines().map(|port| format!("port {port}")));
    let notes = fs::read_dir("/run/kuryr/plugged").into_iter().flatten();
    left.extend(notes.map(|note| format!("note {:?}", note.unwrap().file_name())));
    let seen = host().all_attachments().await.unwrap();
    left.extend(seen.iter().map(|seen| format!("attachment {seen:?}")));
    left
}

/// Plugs or unplugs in a process of its own; how it ended, and whether it came to this step.
fn act(path: &str, verb: &str, step: usize, fate: Fate) -> (Option<bool>, bool) {
    let _ = fs::remove_file(STEPS);
    let output = netns::again(path)
        .env("LD_PRELOAD", LIBRARY)
        .env("KURYR_VERB", verb)
        .env("KURYR_STEPS", STEPS)
        .env("KURYR_STEP", step.to_string())
        .env("KURYR_FATE", fate.name())
        .output()
        .unwrap();
    let came = fs::read(STEPS).unwrap_or_default().len() > step;
    let well = match output.status.signal() {
        Some(9) => None,
        _ => Some(output.status.success()),
    };
    assert_eq!(well.is_none(), came && fate.kills(), "{output:?}");
    (well, came)
}

/// In the process of its own.
pub(super) async fn acts(host: fn() -> Host, vif: &Vif) -> bool {
    let Ok(verb) = env::var("KURYR_VERB") else {
        return false;
    };
    match verb.as_str() {
        "plug" => plug(&host(), vif).await,
        _ => unplug(&host(), vif).await,
    }
    true
}

fn build_library() {
    if fs::copy(BUILT_ELSEWHERE, LIBRARY).is_ok() {
        return;
    }
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/namespaces/steps/interpose.c"
    );
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o", LIBRARY, source])
        .status();
    assert!(built.unwrap().success(), "a C compiler is needed");
}

/// Each step of each verb meets each of these fates.
pub(super) async fn at_each_step(
    path: &str,
    (host, vif): (fn() -> Host, &Vif),
    fates: &[Fate],
    left: impl AsyncFn() -> Vec<String>,
) {
    build_library();
    for verb in ["plug", "unplug"] {
        for fate in fates.iter().copied() {
            for step in 0..FAR {
                let when = format!("{verb} {fate:?} at step {step}");
                if verb == "unplug" {
                    plug(&host(), vif).await;
                }
                let (well, came) = act(path, verb, step, fate);
                // Of what was not heard to be there, the host itself tells: it goes below.
                if verb == "plug" && well == Some(false) && fate != Fate::Unheard {
                    assert_eq!(left().await, [] as [&str; 0], "{when}: it failed");
                }
                // The runtime is told to repeat it, or to give it up: by what this host itself knows.
                if step % 2 == 0 && verb == "plug" {
                    plug(&host(), vif).await;
                    assert!(
                        host().wired(&vif.attachment, within(5)).await.is_ok(),
                        "{when}"
                    );
                    plug(&host(), vif).await;
                }
                for found in host().all_attachments().await.unwrap() {
                    assert_eq!(found.interface_id, vif.attachment.interface_id);
                    host().unplug(&found, within(10)).await.unwrap();
                }
                assert_eq!(left().await, [] as [&str; 0], "{when}");
                if !came {
                    assert_eq!(well, Some(true), "{when}");
                    assert!(step > 1, "{verb} has {step} steps");
                    break;
                }
            }
        }
    }
}

/// A test of this name, which runs itself in a process of its own.
macro_rules! at_any_step {
    (fn $name:ident() of $vif:ident) => {
        netns_test! {
            async fn $name() {
                if acts(host, &$vif()).await {
                    return;
                }
                let ovs = Ovs::start();
                run("ip", "link add parent type veth peer name beyond");
                let path = concat!(module_path!(), "::", stringify!($name));
                at_each_step(path, (host, &$vif()), &Fate::ALL, async || left(&ovs).await).await;
            }
        }
    };
}

at_any_step! { fn an_interface_killed_or_refused_at_any_step_leaves_nothing() of into_ovs }
at_any_step! { fn one_behind_a_filter_killed_or_refused_at_any_step_leaves_nothing() of behind_a_filter }
at_any_step! { fn one_for_an_agent_killed_or_refused_at_any_step_leaves_nothing() of for_an_agent }
at_any_step! { fn a_shared_one_killed_or_refused_at_any_step_leaves_nothing() of on_a_parent }
