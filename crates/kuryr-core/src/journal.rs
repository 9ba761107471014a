//! What must be known after a crash and that neither Neutron nor the host can hold: one small
//! file for each note, written beside and renamed, so that a note is whole or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A folder of notes.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
}

impl Journal {
    /// Opens the notes in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// The folder can't be made or written to.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let failed = |act| {
            move |source| JournalError {
                act,
                path: folder.to_owned(),
                source,
            }
        };
        fs::create_dir_all(folder).map_err(failed("create"))?;
        let probe = folder.join("probe.new");
        File::create(&probe).map_err(failed("write to"))?;
        fs::remove_file(&probe).map_err(failed("write to"))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Keeps `note` under `key` (letters, digits and dashes), in place of what was there.
    pub(crate) fn write(&self, key: &str, note: &impl Serialize) -> Result<(), JournalError> {
        let (beside, path) = (self.folder.join(format!("{key}.new")), self.path(key));
        let written = || {
            let mut file = File::create(&beside)?;
            file.write_all(&serde_json::to_vec(note)?)?;
            file.sync_data()?;
            fs::rename(&beside, &path)?;
            File::open(&self.folder)?.sync_data()
        };
        written().map_err(|source| JournalError {
            act: "write",
            path: path.clone(),
            source,
        })
    }

    /// Makes the note under `key` not exist.
    pub(crate) fn erase(&self, key: &str) -> Result<(), JournalError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(JournalError {
                act: "remove",
                path,
                source,
            }),
            _ => Ok(()),
        }
    }

    /// Makes the note under `key` not exist, also after a power failure.
    pub(crate) fn erase_for_good(&self, key: &str) -> Result<(), JournalError> {
        self.erase(key)?;
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_data());
        synced.map_err(|source| JournalError {
            act: "remove",
            path: self.path(key),
            source,
        })
    }

    /// All notes whose key begins with `prefix` and that can be read; others are told of and left.
    pub(crate) fn read<T: DeserializeOwned>(&self, prefix: &str) -> Vec<(String, T)> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let keys = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let key = name.strip_suffix(".json")?;
            key.starts_with(prefix).then(|| key.to_owned())
        });
        keys.filter_map(|key| {
            let path = self.path(&key);
            let note = fs::read(&path)
                .and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from));
            note.map_err(|error| tracing::error!(%error, "could not read {}", path.display()))
                .ok()
                .map(|note| (key, note))
        })
        .collect()
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.json"))
    }
}

/// Why a note could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("could not {act} {}", .path.display())]
pub struct JournalError {
    act: &'static str,
    path: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_was_erased_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("a/b")).unwrap();
        journal.write("port-1", &1).unwrap();
        journal.write("port-1", &2).unwrap();
        journal.write("network-1", &3).unwrap();
        assert_eq!(journal.read::<i32>("port-"), [("port-1".to_owned(), 2)]);
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
    fn a_folder_that_cannot_be_made_is_named() {
        let error = Journal::open(Path::new("/proc/kuryr")).unwrap_err();
        assert_eq!(error.to_string(), "could not create /proc/kuryr");
    }
}
