//! What must be known after a crash and that neither Neutron nor the host can hold: one small
//! file for each note, written beside and renamed, so that a note is whole or not there.

mod folder;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use folder::Folder;

/// The version of the notes that this program writes.
///
/// 0 has no file that says so, and its notes are those of 1. A later one is for what an earlier program
/// must not work with.
const VERSION: u64 = 1;

/// All notes; clones share them.
#[derive(Clone, Debug)]
pub struct Journal {
    notes: Arc<dyn Notes>,
}

/// What comes of a note that is written while others go on.
pub type Written = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Where notes are kept, by keys of letters, digits and dashes.
pub trait Notes: Debug + Send + Sync + 'static {
    /// Keeps a note, also after a power failure, in place of what was there.
    ///
    /// # Errors
    /// It could not be kept; what was there before still is.
    fn write(&self, key: &str, note: &[u8]) -> io::Result<()>;

    /// The same while others go on: until it is on the disk takes long.
    fn write_aside(self: Arc<Self>, key: String, note: Vec<u8>) -> Written {
        let written = tokio::task::spawn_blocking(move || self.write(&key, &note));
        Box::pin(async move { written.await.unwrap_or_else(|error| Err(error.into())) })
    }

    /// Keeps a note in room that was set aside while there was some: for what nobody would find again.
    ///
    /// # Errors
    /// There is none, or no more; what was there before still is.
    fn write_in_reserve(&self, _key: &str, _note: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    /// Makes a note not exist; after a power failure too if it is to be `for_good`.
    ///
    /// # Errors
    /// It may still be there.
    fn erase(&self, key: &str, for_good: bool) -> io::Result<()>;

    /// All notes whose keys begin with `prefix`, as far as they can be read.
    fn read(&self, prefix: &str) -> Vec<(String, io::Result<Vec<u8>>)>;

    /// Where people find a note.
    fn path(&self, key: &str) -> PathBuf;
}

impl Journal {
    /// Opens the notes in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// Those of [`Folder::open`].
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let folder = Folder::open(folder)?;
        folder.fill_reserve();
        Ok(Self::of(folder))
    }

    /// A journal of these notes.
    pub fn of(notes: impl Notes) -> Self {
        let notes = Arc::new(notes);
        Self { notes }
    }

    /// Keeps `note` under `key` (letters, digits and dashes), in place of what was there.
    pub(crate) fn write(&self, key: &str, note: &impl Serialize) -> Result<(), JournalError> {
        let written = serde_json::to_vec(note).map_err(io::Error::from);
        let written = written.and_then(|note| self.notes.write(key, &note));
        written.map_err(self.failed("write", key))
    }

    /// The same while others go on.
    pub(crate) async fn write_aside(
        &self,
        key: &str,
        note: &impl Serialize,
    ) -> Result<(), JournalError> {
        let written = match serde_json::to_vec(note) {
            Ok(note) => {
                Arc::clone(&self.notes)
                    .write_aside(key.to_owned(), note)
                    .await
            }
            Err(error) => Err(error.into()),
        };
        written.map_err(self.failed("write", key))
    }

    /// The same, in the reserve where there is no other room.
    pub(crate) async fn write_anyhow(
        &self,
        key: &str,
        note: &impl Serialize,
    ) -> Result<(), JournalError> {
        let Err(full) = self.write_aside(key, note).await else {
            return Ok(());
        };
        let note = serde_json::to_vec(note).map_err(io::Error::from);
        let kept = note.and_then(|note| self.notes.write_in_reserve(key, &note));
        kept.map_err(|_| full)
    }

    /// Makes the note under `key` not exist.
    pub(crate) fn erase(&self, key: &str) -> Result<(), JournalError> {
        let erased = self.notes.erase(key, false);
        erased.map_err(self.failed("remove", key))
    }

    /// Makes a note not exist that is true no more; tells of it where it may still be there.
    pub(crate) fn forget(&self, key: &str) {
        tell_of_left(self.erase(key));
    }

    /// The same, also after a power failure.
    pub(crate) fn forget_for_good(&self, key: &str) {
        let erased = self.notes.erase(key, true);
        tell_of_left(erased.map_err(self.failed("remove", key)));
    }

    /// All notes whose key begins with `prefix` and that can be read, by what follows it; others are told of
    /// and left.
    pub(crate) fn read<T: DeserializeOwned>(&self, prefix: &str) -> Vec<(String, T)> {
        let notes = self.notes.read(prefix).into_iter();
        notes
            .filter_map(|(key, note)| {
                let note =
                    note.and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from));
                let path = self.notes.path(&key);
                note.map_err(|error| tracing::error!(%error, "could not read {}", path.display()))
                    .ok()
                    .map(|note| (key.strip_prefix(prefix).unwrap_or(&key).to_owned(), note))
            })
            .collect()
    }

    fn failed(&self, act: &'static str, key: &str) -> impl FnOnce(io::Error) -> JournalError {
        let path = self.notes.path(key);
        move |source| JournalError::Failed { act, path, source }
    }
}

fn tell_of_left(erased: Result<(), JournalError>) {
    if let Err(error) = erased {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "an old note is left");
    }
}

/// Why notes can't be used, or one could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("could not {act} {}", .path.display())]
    Failed {
        /// What was being done.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A newer program has written to it. Nothing was changed.
    #[error(
        "{} was written by a newer Kuryr (version {found}, this one knows up to {VERSION}): start that \
         one, or move the folder away and lose what is noted in it", .path.display()
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::folder::VERSION_FILE;
    use super::*;
    use crate::adopt::Adoption;
    use crate::adopt::port::PortAdoption;
    use crate::debt::Debt;
    use crate::lease::Lease;
    use crate::port_settings::PortSettings;
    use crate::program::Program;

    #[test]
    fn what_was_written_is_read_and_what_was_erased_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("a/b")).unwrap();
        journal.write("port-1", &1).unwrap();
        journal.write("port-1", &2).unwrap();
        journal.write("network-1", &3).unwrap();
        assert_eq!(journal.read::<i32>("port-"), [("1".to_owned(), 2)]);
        journal.erase("port-1").unwrap();
        journal.erase("port-1").unwrap();
        assert!(journal.read::<i32>("port-").is_empty());
    }

    #[test]
    fn a_note_cut_short_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        journal.write("port-1", &1).unwrap();
        fs::write(folder.path().join("port-2.json"), "").unwrap();
        fs::write(folder.path().join("port-3.new"), "3").unwrap();
        assert_eq!(journal.read::<i32>("port-").len(), 1);
    }

    #[test]
    fn a_folder_that_a_newer_program_has_written_to_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        Journal::open(folder.path())
            .unwrap()
            .write("debt-1", &1)
            .unwrap();
        fs::write(folder.path().join(VERSION_FILE), "2\n").unwrap();
        let dated = |name: &str| fs::metadata(folder.path().join(name)).unwrap().modified();
        let before = (dated(".").unwrap(), dated(VERSION_FILE).unwrap());
        let error = Journal::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("newer Kuryr (version 2, this one knows up to 1): start that one"),
            "{error}"
        );
        assert_eq!(
            (dated(".").unwrap(), dated(VERSION_FILE).unwrap()),
            before,
            "nothing was made, removed or written in it"
        );
    }

    /// As `tests/scenarios/state` has it. Who changes a note gives it a new version, or reads both.
    #[test]
    fn each_kind_of_note_is_written_as_its_version_says() {
        let mut kinds: Vec<usize> = written_as_said::<Debt>("debt-")
            .into_iter()
            .map(|debt| match debt {
                Debt::Label { .. } => 0,
                Debt::DeletePort { .. } => 1,
                Debt::Recycle { .. } => 2,
                Debt::DrainPool { .. } => 3,
                Debt::Close { .. } => 4,
                Debt::PutBack(_) => 5,
                Debt::DeletePortIfOurs { .. } => 6,
                Debt::DeletePortsOf { .. } => 7,
                Debt::DeleteNetwork { .. } => 8,
                Debt::DeleteNetworkOf { .. } => 9,
                Debt::Unmark { .. } => 10,
                Debt::DeletePool(_) => 11,
                Debt::DeleteStrayPort { .. } => 12,
                Debt::DeleteStrayGroup { .. } => 13,
                Debt::DeleteStrayNetwork { .. } => 14,
                Debt::DeleteStrayPool { .. } => 15,
                Debt::DeleteSwarmPorts { .. } => 16,
                Debt::Open { .. } => 17,
            })
            .collect();
        kinds.sort_unstable();
        assert!(kinds.into_iter().eq(0..18), "one of each");
        assert_eq!(written_as_said::<Lease>("lease-").len(), 2);
        assert_eq!(written_as_said::<Adoption>("adoption-").len(), 1);
        assert_eq!(written_as_said::<PortAdoption>("port-").len(), 2);
        assert_eq!(written_as_said::<PortSettings>("defaults-").len(), 1);
        assert_eq!(written_as_said::<Program>("network-").len(), 1);
    }

    fn written_as_said<T: Serialize + DeserializeOwned>(prefix: &str) -> Vec<T> {
        let state = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/state");
        let folder = Folder::at(&state.join(VERSION.to_string()));
        let journal = Journal::of(folder.clone());
        let notes = folder.read(prefix).into_iter().map(|(key, said)| {
            let said: serde_json::Value = serde_json::from_slice(&said.unwrap()).unwrap();
            let read: Vec<T> = journal
                .read(&key)
                .into_iter()
                .map(|(_, note)| note)
                .collect();
            let [note] = <[T; 1]>::try_from(read).ok().expect("it is read");
            assert_eq!(serde_json::to_value(&note).unwrap(), said, "{key}");
            note
        });
        notes.collect()
    }

    #[test]
    fn a_version_that_cannot_be_read_is_told_of_and_not_guessed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(VERSION_FILE), "one").unwrap();
        let error = Journal::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("could not tell the version of"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = Journal::open(Path::new("/proc/kuryr")).unwrap_err();
        assert_eq!(error.to_string(), "could not create /proc/kuryr");
    }
}
