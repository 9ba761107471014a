//! Notes in a folder: one small file for each, and some files that hold room for more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::{JournalError, Notes, VERSION};

/// Notes in a folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// Of the reserve some is used, or could never be set aside.
    lacks_reserve: Arc<AtomicBool>,
}

impl Folder {
    /// Opens the notes in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// The folder can't be made or written to, or a newer program has written to it: then nothing in it
    /// is changed.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let failed = |act| {
            move |source| JournalError::Failed {
                act,
                path: folder.to_owned(),
                source,
            }
        };
        fs::create_dir_all(folder).map_err(failed("create"))?;
        let this = Self::at(folder);
        let found = this.version().map_err(failed("tell the version of"))?;
        if found > VERSION {
            let path = folder.to_owned();
            return Err(JournalError::Newer { path, found });
        }
        let probe = folder.join("probe.new");
        File::create(&probe).map_err(failed("write to"))?;
        fs::remove_file(&probe).map_err(failed("write to"))?;
        if found < VERSION {
            let noted = this.replace(
                &this.path.join(VERSION_FILE),
                format!("{VERSION}\n").as_bytes(),
            );
            match noted {
                // Containers must go on: the notes are read, and the next start says their version.
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    tracing::error!("{} is full", folder.display());
                }
                other => other.map_err(failed("write to"))?,
            }
        }
        Ok(this)
    }

    pub(super) fn at(folder: &Path) -> Self {
        Self {
            path: folder.to_owned(),
            lacks_reserve: Arc::default(),
        }
    }

    fn version(&self) -> io::Result<u64> {
        match fs::read_to_string(self.path.join(VERSION_FILE)) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Sets room aside for notes that must be kept when the disk is full, as far as there is some.
    pub fn fill_reserve(&self) {
        let filled = (0..RESERVE).all(|number| {
            let path = self.reserved(number);
            let is_there = fs::metadata(&path).is_ok_and(|file| file.len() >= ROOM as u64);
            // Not a hole: only what was written has room.
            is_there || fs::write(&path, [b' '; ROOM]).is_ok()
        });
        self.lacks_reserve.store(!filled, Relaxed);
    }

    fn reserved(&self, number: usize) -> PathBuf {
        self.path.join(format!("reserve-{number}"))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let beside = path.with_extension("new");
        self.put(File::create(&beside)?, content, &beside, path)
    }

    /// Puts a file that was made beside in place of what was there, with this content.
    fn put(&self, mut file: File, content: &[u8], beside: &Path, path: &Path) -> io::Result<()> {
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(beside, path)?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_data()
    }
}

impl Notes for Folder {
    fn write(&self, key: &str, note: &[u8]) -> io::Result<()> {
        self.replace(&self.path(key), note)?;
        if self.lacks_reserve.load(Relaxed) {
            self.fill_reserve();
        }
        Ok(())
    }

    fn write_in_reserve(&self, key: &str, note: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        let beside = path.with_extension("new");
        let mut content = note.to_vec();
        // What follows a note in JSON is no matter, if it is white.
        content.resize(ROOM.max(note.len()), b' ');
        let mut free = (0..RESERVE).map(|number| self.reserved(number));
        // Who has given it another name has it alone.
        if content.len() > ROOM || !free.any(|room| fs::rename(room, &beside).is_ok()) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.lacks_reserve.store(true, Relaxed);
        let file = OpenOptions::new().write(true).open(&beside)?;
        self.put(file, &content, &beside, &path)
    }

    fn erase(&self, key: &str, for_good: bool) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ if for_good => self.sync(),
            _ => Ok(()),
        }
    }

    fn read(&self, prefix: &str) -> Vec<(String, io::Result<Vec<u8>>)> {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return Vec::new();
        };
        let keys = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let key = name.strip_suffix(".json")?;
            key.starts_with(prefix).then(|| key.to_owned())
        });
        keys.map(|key| {
            let note = fs::read(self.path(&key));
            (key, note)
        })
        .collect()
    }

    fn path(&self, key: &str) -> PathBuf {
        self.path.join(format!("{key}.json"))
    }
}

pub(super) const VERSION_FILE: &str = "version";
/// How many notes are kept although the disk is full: of networks that are being removed then.
const RESERVE: usize = 32;
/// What each has room for: a block of most file systems, and more than any note that is kept so.
const ROOM: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_full(outcome: io::Result<()>) -> bool {
        outcome.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
    }

    #[test]
    fn a_reserve_keeps_as_many_notes_as_it_has_room_for_and_is_filled_again() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Folder::open(folder.path()).unwrap();
        assert!(is_full(notes.write_in_reserve("debt-0", b"0")));
        notes.fill_reserve();
        notes.write("debt-0", b"\"before\"").unwrap();
        for number in 0..RESERVE {
            let key = format!("debt-{number}");
            let text = number.to_string();
            notes.write_in_reserve(&key, text.as_bytes()).unwrap();
        }
        assert!(is_full(notes.write_in_reserve("debt-more", b"1")));
        let mut read: Vec<usize> = notes
            .read("debt-")
            .into_iter()
            .map(|(_, note)| serde_json::from_slice(&note.unwrap()).unwrap())
            .collect();
        read.sort_unstable();
        assert!(read.into_iter().eq(0..RESERVE));
        notes.erase("debt-0", false).unwrap();
        notes.write("debt-other", b"1").unwrap();
        notes.write_in_reserve("debt-more", b"1").unwrap();
    }

    #[test]
    fn what_has_no_room_in_the_reserve_leaves_what_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Folder::open(folder.path()).unwrap();
        notes.fill_reserve();
        notes.write("debt-0", b"1").unwrap();
        assert!(is_full(notes.write_in_reserve("debt-0", &[b' '; ROOM + 1])));
        assert_eq!(notes.read("debt-")[0].1.as_ref().unwrap(), b"1");
    }
}
