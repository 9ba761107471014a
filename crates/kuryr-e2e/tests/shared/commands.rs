//! Commands in the lab's spaces, and waiting: for the tests with a cloud and for those without.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a command said, and whether it succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) text: String,
}

impl Said {
    /// What `command` says in the end, all of it.
    pub(crate) fn by(mut command: Command) -> Self {
        let output = command.stdin(Stdio::null()).output().expect("lab/lab");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Self {
            ok: output.status.success(),
            text: text.trim().to_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn expect(self, what: &str) -> String {
        assert!(self.ok, "{what}: {}", self.text);
        self.text
    }

    #[track_caller]
    pub(crate) fn expect_failure(self, what: &str) -> String {
        assert!(!self.ok, "{what} did not fail: {}", self.text);
        self.text
    }
}

/// The service as it is installed.
pub(crate) const UNIT: &str = include_str!("../../../../packaging/kuryr.service");

/// A command before the daemon's that leaves it the rights that the service has, and these.
pub(crate) fn with_rights(more: &str) -> String {
    let rights = rights_of_unit().join(",+");
    format!("setpriv --no-new-privs --bounding-set=-all,+{rights}{more} --")
}

/// The capabilities that the service has, as setpriv names them.
pub(crate) fn rights_of_unit() -> Vec<String> {
    let mut lines = UNIT.lines();
    let rights = lines.find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let rights = rights.expect("the unit says which").split_whitespace();
    rights
        .map(|name| name.strip_prefix("CAP_").unwrap().to_lowercase())
        .collect()
}

/// Where `lab/lab` is.
pub(crate) fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../lab/lab")
}

/// Waits for `condition`; whether it came true.
pub(crate) fn until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > patience {
            return false;
        }
        sleep(Duration::from_millis(100));
    }
    true
}

/// Waits for `condition`, and fails if it does not come true.
#[track_caller]
pub(crate) fn within(patience: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(
        until(patience, condition),
        "{what}: not within {patience:?}"
    );
}
