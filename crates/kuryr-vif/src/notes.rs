//! What is plugged and can't be seen from this namespace, and what is being plugged or unplugged: a file
//! for each interface, written before it is touched.
//!
//! What is killed halfway has left a part that nothing else tells of: a pair without a mark or a row. What
//! a program has bound an interface can't say itself: its alias has not the room, and unbinding
//! needs what binding needed, also when the interface is gone. And of an interface that has no end here
//! nothing is left when it has moved into a container.

mod device;
mod written;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use tokio::fs;
use tokio::task::spawn_blocking;

use crate::kernel::device::Before;
use crate::{Attachment, Error, IfName, PciSlot, Switch};
use written::{VERSION, format, later_version, parse};

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
        match later_version(bytes) {
            Some(found) => Err(Error::NewerNote {
                path,
                found,
                known: VERSION,
            }),
            None => parse(bytes).map_err(failure(host, &path)),
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
