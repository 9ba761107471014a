//! Programs on this machine, told apart from later ones that get their number.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// A program that runs on this machine, or has run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Program {
    pid: u32,
    /// In the kernel's ticks since the machine started.
    started: u64,
}

impl Program {
    /// The one that has this number now; none if it is not to be seen from here.
    pub fn with_pid(pid: u32) -> Option<Self> {
        let (_, started) = state_and_start(pid).ok()?;
        Some(Self { pid, started })
    }

    /// Whether it certainly runs no more.
    pub(crate) fn has_ended(&self) -> bool {
        match state_and_start(self.pid) {
            Ok((state, started)) => started != self.started || matches!(state.as_str(), "Z" | "X"),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// Fields 3 and 22 of proc(5).
fn state_and_start(pid: u32) -> io::Result<(String, u64)> {
    let stat = fs::read(format!("/proc/{pid}/stat"))?;
    let stat = String::from_utf8_lossy(&stat);
    // A program may have parentheses and spaces in its name, which comes before.
    let fields = stat.rsplit_once(')').and_then(|(_, fields)| {
        let mut fields = fields.split_ascii_whitespace();
        Some((fields.next()?.to_owned(), fields.nth(18)?.parse().ok()?))
    });
    fields.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_program_has_ended_when_it_has_or_another_has_its_number() {
        let waits = Command::new("cat").stdin(Stdio::piped()).spawn();
        let mut child = waits.unwrap();
        let program = Program::with_pid(child.id()).unwrap();
        assert!(!program.has_ended());
        let later = Program {
            started: program.started + 1,
            ..program
        };
        assert!(later.has_ended());
        drop(child.stdin.take());
        // Ended, and still there for who has started it.
        while !program.has_ended() {
            std::thread::yield_now();
        }
        assert!(child.wait().unwrap().success());
        assert!(program.has_ended());
        assert_eq!(Program::with_pid(0), None);
    }
}
