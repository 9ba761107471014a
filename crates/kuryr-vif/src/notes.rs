//! What is plugged and can't be seen from this namespace: a file for each interface, written before it
//! is plugged.
//!
//! What a program has bound an interface can't say itself: its alias has not the room, and unbinding
//! needs what binding needed, also when the interface is gone. And of an interface that has no end here
//! nothing is left when it has moved into a container.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs;

use crate::{Attachment, Binding, Error, IfName, Sharing, Switch};

#[derive(Clone)]
pub(crate) struct Notes {
    folder: PathBuf,
}

/// An interface, and whether plugging it has been finished.
pub(crate) struct Note {
    pub(crate) attachment: Attachment,
    pub(crate) is_bound: bool,
}

/// As it is written.
#[derive(Deserialize, Serialize)]
struct Written {
    port: String,
    endpoint: String,
    way: Way,
    bound: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Way {
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
}

impl Note {
    pub(crate) fn of(attachment: &Attachment, is_bound: bool) -> Self {
        Self {
            attachment: attachment.clone(),
            is_bound,
        }
    }
}

impl Notes {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) async fn read(&self, host: &IfName) -> Result<Option<Note>, Error> {
        let path = self.path(host);
        let note = match fs::read(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            outcome => outcome.and_then(|bytes| parse(&bytes)),
        };
        note.map(Some).map_err(failure(host, &path))
    }

    /// The note is whole or not there: it is written beside its place and then moved.
    pub(crate) async fn write(&self, note: &Note) -> Result<(), Error> {
        let host = &note.attachment.host;
        let path = self.path(host);
        let aside = path.with_extension("new");
        let write = async {
            fs::create_dir_all(&self.folder).await?;
            fs::write(&aside, format(note)?).await?;
            fs::rename(&aside, &path).await
        };
        write.await.map_err(failure(host, &path))
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

    /// All that can be read; a note that can't be is told of.
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
            let name = file.file_name();
            let Some(host) = name.to_str().and_then(|name| name.parse::<IfName>().ok()) else {
                continue;
            };
            match self.read(&host).await {
                Ok(note) => notes.extend(note),
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
        Switch::OpenVSwitch { .. }
        | Switch::Hybrid { .. }
        | Switch::LinuxBridge { .. }
        | Switch::AgentBridge { .. }
        | Switch::Tap => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let written = Written {
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
    let switch = match written.way {
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
    };
    let attachment = Attachment::of_port(&written.port, &written.endpoint, switch);
    Ok(Note {
        attachment: attachment.map_err(|error| invalid(&error))?,
        is_bound: written.bound,
    })
}

fn invalid(error: &dyn std::error::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
