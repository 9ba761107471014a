//! A note as it is in its file, in each of its versions.

use std::io;

use serde::{Deserialize, Serialize};

use super::{Note, device};
use crate::{Attachment, Binding, Datapath, Filter, IfName, Sharing, Switch};

/// The latest version of notes that this program knows. A later one is for what an earlier program must
/// not take for a note of its own.
pub(super) const VERSION: u64 = 2;

/// As it is written.
#[derive(Deserialize, Serialize)]
struct Written {
    /// Notes of version 1 were at first without.
    #[serde(default = "first")]
    version: u64,
    port: String,
    endpoint: String,
    way: Way,
    bound: bool,
}

fn first() -> u64 {
    1
}

/// What all versions have.
#[derive(Deserialize)]
struct OfAnyVersion {
    version: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    OpenVSwitch {
        bridge: String,
        userspace: bool,
    },
    Hybrid {
        bridge: String,
        userspace: bool,
    },
    LinuxBridge {
        bridge: String,
    },
    AgentBridge {
        bridge: String,
    },
    Tap,
    Program {
        program: String,
        mac: String,
        network: String,
        project: String,
        details: String,
    },
    Macvlan {
        parent: String,
    },
    Ipvlan {
        parent: String,
    },
    IpvlanL3 {
        parent: String,
    },
    Vlan {
        parent: String,
        id: u16,
    },
    Device(device::Written),
}

impl Way {
    /// Each note is of the first version that knew its way: who goes back to an earlier program can, as
    /// long as nothing is plugged in a way that it does not know.
    fn version(&self) -> u64 {
        match self {
            Self::OpenVSwitch { .. }
            | Self::Hybrid { .. }
            | Self::LinuxBridge { .. }
            | Self::AgentBridge { .. }
            | Self::Tap
            | Self::Program { .. }
            | Self::Macvlan { .. }
            | Self::Ipvlan { .. }
            | Self::IpvlanL3 { .. }
            | Self::Vlan { .. } => 1,
            Self::Device(_) => 2,
        }
    }
}

/// The version of a note that is of a later one than this program knows.
pub(super) fn later_version(bytes: &[u8]) -> Option<u64> {
    let written: OfAnyVersion = serde_json::from_slice(bytes).ok()?;
    (written.version > VERSION).then_some(written.version)
}

/// As a file has it.
pub(super) fn format(note: &Note) -> io::Result<Vec<u8>> {
    let attachment = &note.attachment;
    let way = match &attachment.switch {
        Switch::Program(binding) => Way::Program {
            program: binding.program.to_string(),
            mac: binding.mac.to_string(),
            network: binding.network.clone(),
            project: binding.project.clone(),
            details: binding.details.clone(),
        },
        Switch::Parent { parent, sharing } => {
            let parent = parent.to_string();
            match sharing {
                Sharing::Macvlan => Way::Macvlan { parent },
                Sharing::Ipvlan => Way::Ipvlan { parent },
                Sharing::IpvlanL3 => Way::IpvlanL3 { parent },
                Sharing::Vlan(id) => Way::Vlan { parent, id: *id },
            }
        }
        Switch::OpenVSwitch { bridge, datapath } => Way::OpenVSwitch {
            bridge: bridge.clone(),
            userspace: *datapath == Datapath::Userspace,
        },
        Switch::Hybrid {
            bridge, datapath, ..
        } => Way::Hybrid {
            bridge: bridge.clone(),
            userspace: *datapath == Datapath::Userspace,
        },
        Switch::LinuxBridge { bridge } => Way::LinuxBridge {
            bridge: bridge.to_string(),
        },
        Switch::AgentBridge { bridge } => Way::AgentBridge {
            bridge: bridge.to_string(),
        },
        Switch::Tap => Way::Tap,
        Switch::Device(device) => Way::Device(device::format(device, note.before.as_ref())),
    };
    let written = Written {
        version: way.version(),
        port: attachment.interface_id.clone(),
        endpoint: attachment.owner.clone(),
        way,
        bound: note.is_bound,
    };
    Ok(serde_json::to_vec(&written)?)
}

/// What a file says, of this version or an earlier one.
pub(super) fn parse(bytes: &[u8]) -> io::Result<Note> {
    let written: Written = serde_json::from_slice(bytes)?;
    let shared = |parent: &str, sharing| {
        Ok::<_, io::Error>(Switch::Parent {
            parent: parent.parse().map_err(|error| invalid(&error))?,
            sharing,
        })
    };
    let datapath = |userspace| match userspace {
        true => Datapath::Userspace,
        false => Datapath::Kernel,
    };
    let named = |bridge: &str| bridge.parse::<IfName>().map_err(|error| invalid(&error));
    let mut before = None;
    let switch = match written.way {
        Way::OpenVSwitch { bridge, userspace } => Switch::OpenVSwitch {
            bridge,
            datapath: datapath(userspace),
        },
        Way::Hybrid { bridge, userspace } => Switch::Hybrid {
            bridge,
            datapath: datapath(userspace),
            filter: Filter::of_port(&written.port).map_err(|error| invalid(&error))?,
        },
        Way::LinuxBridge { bridge } => Switch::LinuxBridge {
            bridge: named(&bridge)?,
        },
        Way::AgentBridge { bridge } => Switch::AgentBridge {
            bridge: named(&bridge)?,
        },
        Way::Tap => Switch::Tap,
        Way::Program {
            program,
            mac,
            network,
            project,
            details,
        } => Switch::Program(Binding {
            program: program.parse().map_err(|error| invalid(&error))?,
            mac: mac.parse().map_err(|error| invalid(&error))?,
            network,
            project,
            details,
        }),
        Way::Macvlan { parent } => shared(&parent, Sharing::Macvlan)?,
        Way::Ipvlan { parent } => shared(&parent, Sharing::Ipvlan)?,
        Way::IpvlanL3 { parent } => shared(&parent, Sharing::IpvlanL3)?,
        Way::Vlan { parent, id } => shared(&parent, Sharing::Vlan(id))?,
        Way::Device(written) => {
            let (device, was) = device::parse(&written)?;
            before = was;
            Switch::Device(device)
        }
    };
    let attachment = Attachment::of_port(&written.port, &written.endpoint, switch);
    Ok(Note {
        attachment: attachment.map_err(|error| invalid(&error))?,
        is_bound: written.bound,
        before,
    })
}

pub(super) fn invalid(error: &dyn std::error::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Part;

    /// Each as an earlier version, or this one, has written it: `tests/state`.
    const WRITTEN: &[(&str, &str)] = &[
        (
            "0/macvlan",
            include_str!("../../tests/state/0/tap3d2e1f40-5a"),
        ),
        (
            "0/program",
            include_str!("../../tests/state/0/tap6c0a4a9e-11"),
        ),
        (
            "1/ipvlan",
            include_str!("../../tests/state/1/tap3d2e1f40-5a"),
        ),
        (
            "1/program",
            include_str!("../../tests/state/1/tap6c0a4a9e-11"),
        ),
        ("1/vlan", include_str!("../../tests/state/1/tap77aa0b1c-2d")),
        (
            "1/openvswitch",
            include_str!("../../tests/state/1/tap01010101-01"),
        ),
        (
            "1/hybrid",
            include_str!("../../tests/state/1/tap02020202-02"),
        ),
        (
            "1/linuxbridge",
            include_str!("../../tests/state/1/tap03030303-03"),
        ),
        (
            "1/agentbridge",
            include_str!("../../tests/state/1/tap04040404-04"),
        ),
        ("1/tap", include_str!("../../tests/state/1/tap05050505-05")),
        (
            "2/function",
            include_str!("../../tests/state/2/tap06060606-06"),
        ),
        (
            "2/macvtap",
            include_str!("../../tests/state/2/tap07070707-07"),
        ),
        ("2/card", include_str!("../../tests/state/2/tap08080808-08")),
    ];

    #[test]
    fn notes_of_earlier_versions_are_read_and_written_anew_as_of_this_one() {
        for (what, written) in WRITTEN {
            let note = parse(written.as_bytes()).unwrap();
            let kind = match &note.attachment.switch {
                Switch::Program(_) => "program",
                Switch::Parent { sharing, .. } => match sharing {
                    Sharing::Macvlan => "macvlan",
                    Sharing::Ipvlan => "ipvlan",
                    Sharing::IpvlanL3 => "ipvlanl3",
                    Sharing::Vlan(_) => "vlan",
                },
                Switch::OpenVSwitch { .. } => "openvswitch",
                Switch::Hybrid { .. } => "hybrid",
                Switch::LinuxBridge { .. } => "linuxbridge",
                Switch::AgentBridge { .. } => "agentbridge",
                Switch::Tap => "tap",
                Switch::Device(device) => match device.part {
                    Part::Function(_) => "function",
                    Part::Macvtap(_) => "macvtap",
                    Part::Card => "card",
                },
            };
            assert!(what.ends_with(kind), "{what}: {kind}");
            let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
            let mut expected = value(written.as_bytes());
            if what.starts_with('0') {
                expected["version"] = 1.into();
            }
            assert_eq!(value(&format(&note).unwrap()), expected, "{what}");
        }
    }
}
