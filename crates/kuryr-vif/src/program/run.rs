//! Runs a program to its end, or to a deadline.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

/// How a program did not do what it was to.
#[derive(Debug)]
pub(super) enum Failure {
    /// It could not be started.
    Start(io::Error),
    /// It did not succeed; what it said last, after a colon.
    Ended { status: ExitStatus, said: String },
    /// It did not end in time, and was killed with all that it had started.
    TooLong { after: Duration, said: String },
}

/// Runs `program` without a shell, and without this process's environment, where secrets may be.
///
/// What it prints goes into memory and not into a pipe: neither a program that says much nor one that
/// leaves a daemon behind keeps anybody waiting.
pub(super) async fn run(
    program: &Path,
    verb: &str,
    arguments: &[String],
    deadline: Instant,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let printed = memfd_create("kuryr-program", MemfdFlags::CLOEXEC).map_err(io::Error::from);
    let mut printed = File::from(printed.map_err(Failure::Start)?);
    let sink = || printed.try_clone().map(Stdio::from).map_err(Failure::Start);
    let mut child = Command::new(program)
        .arg(verb)
        .args(arguments.iter().map(OsStr::new))
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .stdin(Stdio::null())
        .stdout(sink()?)
        .stderr(sink()?)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(Failure::Start)?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    match timeout_at(deadline, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Failure::Ended {
            status,
            said: last_words(&mut printed),
        }),
        Ok(Err(error)) => Err(Failure::Start(error)),
        Err(_) => {
            if let Some(group) = group {
                // It may have ended at this moment.
                let _ = kill_process_group(group, Signal::KILL);
            }
            Err(Failure::TooLong {
                after: begun.elapsed(),
                said: last_words(&mut printed),
            })
        }
    }
}

/// The end of what was printed, on one line, after a colon; nothing if nothing was.
fn last_words(printed: &mut File) -> String {
    const ENOUGH: u64 = 2000;
    let mut bytes = Vec::new();
    let read = printed.seek(SeekFrom::End(0)).and_then(|length| {
        printed.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
        printed.take(ENOUGH).read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        return format!(": what it said could not be read ({error})");
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    if lines.is_empty() {
        return " and said nothing".to_owned();
    }
    format!(": {}", lines.join(" / "))
}
