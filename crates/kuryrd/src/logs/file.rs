//! A log file that may be rotated away at any time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Appends to whatever file is at the path now. A look at the path before each write costs a
/// microsecond, and makes rotation work without a signal.
pub(crate) struct LogFile {
    path: PathBuf,
    open: Mutex<File>,
}

impl LogFile {
    /// Opens the file, and makes it and its folders if need be.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(Self {
            path: path.to_owned(),
            open: Mutex::new(append(path)?),
        })
    }

    /// Appends, after a new file was opened if the old one has been moved away.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let here = open.metadata().map(|m| (m.dev(), m.ino()));
        let there = fs::metadata(&self.path).map(|m| (m.dev(), m.ino()));
        if !matches!((here, there), (Ok(here), Ok(there)) if here == there) {
            *open = append(&self.path)?;
        }
        open.write(bytes)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_rotation_a_new_file_is_written() {
        let temp = tempfile::tempdir().unwrap();
        let (path, old) = (temp.path().join("new/log"), temp.path().join("old"));
        let file = LogFile::open(&path).unwrap();
        file.write(b"one\n").unwrap();
        fs::rename(&path, &old).unwrap();
        file.write(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(old).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "two\n");
    }
}
