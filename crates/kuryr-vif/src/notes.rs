//! What is plugged and can't be seen from this namespace, and what is being plugged or unplugged: a file
//! for each interface, written before it is touched.
//!
//! What is killed halfway has left a part that nothing else tells of: a pair without a mark or a row. What
//! a program has bound an interface can't say itself: its alias has not the room, and unbinding
//! needs what binding needed, also when the interface is gone. And of an interface that has no end here
//! nothing is left when it has moved into a container.

mod device;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs;
use tokio::task::spawn_blocking;

use crate::kernel::device::Before;
use crate::{Attachment, Binding, Datapath, Error, Filter, IfName, PciSlot, Sharing, Switch};

#[derive(Clone)]
pub(crate) struct Notes {
    folder: PathBuf,
}

/// An interface, and whether plugging it has been finished.
pub(crate) struct Note {
    pub(crate) attachment: Attachment,
    pub(crate) is_bound: bool,
    /// How the interface of a card's device was, which is to be so again.
    pub(crate) before: Option<Before>,
}

/// The latest version of notes that this program knows. A later one is for what an earlier program must
/// not take for a note of its own.
const VERSION: u64 = 2;

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

impl Note {
    pub(crate) fn of(attachment: &Attachment, is_bound: bool) -> Self {
        Self {
            attachment: attachment.clone(),
            is_bound,
            before: None,
        }
    }

    /// Of a device, whose interface was like this.
    pub(crate) fn of_device(
        attachment: &Attachment,
        before: Option<&Before>,
        is_bound: bool,
    ) -> Self {
        Self {
            before: before.cloned(),
            ..Self::of(attachment, is_bound)
        }
    }

    /// Of a pair that no program has bound yet, or any more.
    pub(crate) fn unbound(attachment: &Attachment) -> Self {
        let switch = Switch::Tap;
        let attachment = Attachment {
            switch,
            ..attachment.clone()
        };
        Self::of(&attachment, false)
    }
}

impl Notes {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) async fn read(&self, host: &IfName) -> Result<Option<Note>, Error> {
        let path = self.path(host);
        match fs::read(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure(host, &path)(error)),
            Ok(bytes) => self.parsed(host, &bytes).map(Some),
        }
    }

    fn parsed(&self, host: &IfName, bytes: &[u8]) -> Result<Note, Error> {
        let path = self.path(host);
        match serde_json::from_slice(bytes) {
            Ok(OfAnyVersion { version: found }) if found > VERSION => Err(Error::NewerNote {
                path,
                found,
                known: VERSION,
            }),
            _ => parse(bytes).map_err(failure(host, &path)),
        }
    }

    /// Whether this program can work with what is noted. Blocks.
    ///
    /// # Errors
    /// [`Error::NewerNote`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let files = std::fs::read_dir(&self.folder).into_iter().flatten();
        for file in files.flatten() {
            if let Some(host) = named(&file.file_name())
                && let Ok(bytes) = std::fs::read(file.path())
                && let Err(error @ Error::NewerNote { .. }) = self.parsed(&host, &bytes)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The note is whole or not there: it is written beside its place and then moved.
    pub(crate) async fn write(&self, note: &Note) -> Result<(), Error> {
        let host = &note.attachment.host;
        let path = self.path(host);
        let aside = path.with_extension("new");
        let (folder, place, text) = (self.folder.clone(), path.clone(), format(note));
        let write = move || {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(&aside, text?)?;
            std::fs::rename(&aside, &place)
        };
        let written = spawn_blocking(write).await;
        let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(failure(host, &path))
    }

    pub(crate) async fn erase(&self, host: &IfName) -> Result<(), Error> {
        let path = self.path(host);
        match fs::remove_file(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.map_err(failure(host, &path)),
        }
    }

    /// What is noted for `owner`, or for everybody.
    pub(crate) async fn attachments(&self, owner: Option<&str>) -> Result<Vec<Attachment>, Error> {
        let noted = self.all().await?.into_iter();
        let noted = noted.map(|note| note.attachment);
        Ok(noted
            .filter(|attachment| owner.is_none_or(|owner| owner == attachment.owner))
            .collect())
    }

    /// What a card's device is plugged for, if anything.
    pub(crate) async fn user_of(&self, slot: &PciSlot) -> Result<Option<Attachment>, Error> {
        let has = |attachment: &Attachment| matches!(&attachment.switch, Switch::Device(device) if device.slot == *slot);
        Ok(self.attachments(None).await?.into_iter().find(has))
    }

    /// All that can be read; a note that can't be is told of. Where one is newer none is: what is noted
    /// there would be taken for nobody's.
    async fn all(&self) -> Result<Vec<Note>, Error> {
        let mut files = match fs::read_dir(&self.folder).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            outcome => outcome.map_err(failure(&"all interfaces", &self.folder))?,
        };
        let mut notes = Vec::new();
        while let Some(file) = files
            .next_entry()
            .await
            .map_err(failure(&"all interfaces", &self.folder))?
        {
            let Some(host) = named(&file.file_name()) else {
                continue;
            };
            match self.read(&host).await {
                Ok(note) => notes.extend(note),
                Err(error @ Error::NewerNote { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "passed over");
                }
            }
        }
        Ok(notes)
    }

    fn path(&self, host: &IfName) -> PathBuf {
        self.folder.join(host.as_str())
    }
}

/// The interface that a file is about.
fn named(file: &OsStr) -> Option<IfName> {
    file.to_str()?.parse().ok()
}

fn failure(interface: &impl ToString, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let (interface, path) = (interface.to_string(), path.to_owned());
    move |source| Error::Note {
        interface,
        path,
        source,
    }
}

fn format(note: &Note) -> io::Result<Vec<u8>> {
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

fn parse(bytes: &[u8]) -> io::Result<Note> {
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

fn invalid(error: &dyn std::error::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Part;

    /// Each as an earlier version, or this one, has written it: `tests/state`.
    const WRITTEN: &[(&str, &str)] = &[
        ("0/macvlan", include_str!("../tests/state/0/tap3d2e1f40-5a")),
        ("0/program", include_str!("../tests/state/0/tap6c0a4a9e-11")),
        ("1/ipvlan", include_str!("../tests/state/1/tap3d2e1f40-5a")),
        ("1/program", include_str!("../tests/state/1/tap6c0a4a9e-11")),
        ("1/vlan", include_str!("../tests/state/1/tap77aa0b1c-2d")),
        (
            "1/openvswitch",
            include_str!("../tests/state/1/tap01010101-01"),
        ),
        ("1/hybrid", include_str!("../tests/state/1/tap02020202-02")),
        (
            "1/linuxbridge",
            include_str!("../tests/state/1/tap03030303-03"),
        ),
        (
            "1/agentbridge",
            include_str!("../tests/state/1/tap04040404-04"),
        ),
        ("1/tap", include_str!("../tests/state/1/tap05050505-05")),
        (
            "2/function",
            include_str!("../tests/state/2/tap06060606-06"),
        ),
        ("2/macvtap", include_str!("../tests/state/2/tap07070707-07")),
        ("2/card", include_str!("../tests/state/2/tap08080808-08")),
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

    #[tokio::test]
    async fn a_note_of_a_newer_version_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tap6c0a4a9e-11");
        let note = r#"{"version": 3, "all": "else is other"}"#;
        fs::write(&path, note).unwrap();
        fs::write(folder.path().join("tap77aa0b1c-2d"), "damaged").unwrap();
        let notes = Notes::new(folder.path().to_owned());
        let refusals = [
            notes.check().map(drop),
            notes.attachments(None).await.map(drop),
            notes
                .read(&"tap6c0a4a9e-11".parse().unwrap())
                .await
                .map(drop),
        ];
        for refusal in refusals {
            let refusal = refusal.unwrap_err().to_string();
            let expected = format!(
                "{} was written by a newer Kuryr (version 3, this one knows up to 2)",
                path.display()
            );
            assert!(refusal.starts_with(&expected), "{refusal}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), note);
        fs::remove_file(&path).unwrap();
        notes.check().unwrap();
        assert!(notes.attachments(None).await.unwrap().is_empty());
    }
}
