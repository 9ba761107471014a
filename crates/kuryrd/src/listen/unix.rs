//! A unix socket that is ours alone: never readable by others, never taken from a living owner.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::Mode;

/// The file of a socket that we made.
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    /// Removes the file, unless another program has put its own in its place meanwhile.
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // At the end of the program there is no one to tell, and a stale file is replaced.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`, with mode 0600. A socket that no one serves any more is replaced.
pub(crate) fn bind(path: &Path) -> anyhow::Result<(UnixListener, SocketFile)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("could not make the folder {}", folder.display()))?;
    }
    let listener = match bind_private(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            bind_private(path)
        }
        other => other,
    }
    .with_context(|| format!("could not listen at {}", path.display()))?;
    let file = SocketFile {
        identity: identity(path)?,
        path: path.to_owned(),
    };
    Ok((listener, file))
}

/// The mode is right from the first instant: changing it later would leave a gap.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    bound
}

fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        bail!("could not listen at {shown}: there is a file of that name, and it is no socket");
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!("could not listen at {shown}: another program is serving it"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .with_context(|| format!("could not remove the stale socket {shown}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("could not see whether anyone serves {shown}"))
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
