//! Switches of the kernel that a router needs.

use std::fs;
use std::path::Path;

use crate::AgentError;

const IPV4: &str = "/proc/sys/net/ipv4/ip_forward";
const IPV6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Without `br_netfilter` what stays on a bridge would pass no security group.
pub(crate) fn check_bridge_netfilter() -> Result<(), AgentError> {
    let there = || Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists();
    if there() {
        return Ok(());
    }
    // Where the kernel can load it, it does so when asked by this program.
    let loaded = std::process::Command::new("modprobe")
        .args(["-q", "br_netfilter"])
        .status();
    tracing::debug!(?loaded, "modprobe br_netfilter");
    if there() {
        Ok(())
    } else {
        Err(AgentError::NoBridgeNetfilter)
    }
}

/// Lets this host forward between its interfaces. They stay on: others may need them by then.
pub(crate) fn forward(ipv4: bool, ipv6: bool) {
    if ipv4 {
        switch_on(IPV4);
    }
    if ipv6 && is_off(IPV6) {
        keep_router_advertisements();
        switch_on(IPV6);
    }
}

/// A host that forwards IPv6 ignores router advertisements, and would lose its own default route.
/// With 2 it heeds them all the same.
fn keep_router_advertisements() {
    let interfaces = fs::read_dir("/proc/sys/net/ipv6/conf")
        .into_iter()
        .flatten();
    for path in interfaces
        .flatten()
        .map(|interface| interface.path().join("accept_ra"))
    {
        if fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") {
            write(&path, "2");
        }
    }
}

fn is_off(path: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|value| value.trim() == "0")
}

fn switch_on(path: &str) {
    if is_off(path) {
        write(Path::new(path), "1");
    }
}

fn write(path: &Path, value: &str) {
    match fs::write(path, value) {
        Ok(()) => tracing::info!(path = %path.display(), value, "set, as containers need a router"),
        Err(error) => {
            tracing::warn!(path = %path.display(), value, %error, "could not set; containers may not reach the outside");
        }
    }
}
