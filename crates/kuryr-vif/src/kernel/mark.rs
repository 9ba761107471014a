//! What a host end says of itself (`IFLA_IFALIAS`, at most 255 bytes), where neither Open vSwitch nor a
//! note does: a mark, the port, for whom, and how it is plugged.

use crate::{Attachment, IfName, Switch};

const MARK: &str = "kuryr port ";
const AGENT: &str = "agent";
const TAP: &str = "tap";

/// A mark that was read.
pub(super) struct Mark<'a> {
    port: &'a str,
    pub(super) owner: &'a str,
    /// Nothing for a Linux bridge.
    way: Option<&'a str>,
    /// The bridge of an agent.
    bridge: Option<&'a str>,
}

/// The mark of an attachment; none where it is found again by other means.
pub(super) fn write(attachment: &Attachment) -> Option<String> {
    let way = match &attachment.switch {
        Switch::OpenVSwitch { .. }
        | Switch::Hybrid { .. }
        | Switch::Program(_)
        | Switch::Parent { .. }
        | Switch::Device(_) => return None,
        Switch::LinuxBridge { .. } => String::new(),
        Switch::AgentBridge { bridge } => format!(" {AGENT} {bridge}"),
        Switch::Tap => format!(" {TAP}"),
    };
    let (port, owner) = (&attachment.interface_id, &attachment.owner);
    Some(format!("{MARK}{port} {owner}{way}"))
}

/// The mark that an alias is, if it is one.
pub(super) fn read(alias: &str) -> Option<Mark<'_>> {
    let mut words = alias.strip_prefix(MARK)?.split(' ');
    Some(Mark {
        port: words.next()?,
        owner: words.next()?,
        way: words.next(),
        bridge: words.next(),
    })
}

impl Mark<'_> {
    /// What is plugged, of an interface that is a port of `joined`.
    pub(super) fn attachment(&self, joined: IfName) -> Option<Attachment> {
        let switch = match (self.way, self.bridge) {
            (None, _) => Switch::LinuxBridge { bridge: joined },
            (Some(AGENT), Some(bridge)) => Switch::AgentBridge {
                bridge: bridge.parse().ok()?,
            },
            (Some(TAP), None) => Switch::Tap,
            (Some(_), _) => return None,
        };
        Attachment::of_port(self.port, self.owner, switch).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_as_it_was_written() {
        let bridge: IfName = "brq00000000-00".parse().unwrap();
        for switch in [
            Switch::LinuxBridge {
                bridge: bridge.clone(),
            },
            Switch::AgentBridge {
                bridge: "brq00000001-00".parse().unwrap(),
            },
            Switch::Tap,
        ] {
            let port = "0b1f2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
            let attachment = Attachment::of_port(port, &"e".repeat(64), switch).unwrap();
            let mark = write(&attachment).unwrap();
            assert!(mark.len() <= 255);
            assert_eq!(
                read(&mark).unwrap().attachment(bridge.clone()),
                Some(attachment)
            );
        }
    }

    #[test]
    fn other_aliases_are_no_marks() {
        for alias in [
            "",
            "kuryr port",
            "kuryr port x",
            "kuryr network 1",
            "kuryr ports a b",
        ] {
            assert!(read(alias).is_none(), "{alias}");
        }
    }
}
