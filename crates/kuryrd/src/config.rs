//! kuryr.conf, the environment and the flags: read once, at start, into checked settings.

mod credentials;
#[cfg(test)]
mod differential;
mod drivers;
mod files;
mod ini;
mod mistakes;
mod options;
mod sample;
mod settings;
mod sources;
mod standalone;
mod substitute;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use drivers::Drivers;
pub(crate) use files::Named;
pub(crate) use mistakes::Mistakes;
pub(crate) use sample::sample;
pub(crate) use settings::{CapabilityScope, Logs, Settings, TlsFiles};
pub(crate) use standalone::Standalone;

use sources::Sources;

/// What the flags said.
#[derive(Debug, Default)]
pub(crate) struct CommandLine {
    /// `--config-file` and `--config-dir`, in their order.
    pub(crate) named: Vec<Named>,
    /// Values given by flag, by section and name of the option.
    pub(crate) values: BTreeMap<(&'static str, &'static str), String>,
}

/// The settings, and what is to be said of how they were given once there is a log.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Checked.
    pub(crate) settings: Settings,
    /// Dangerous, and still accepted, one line each.
    pub(crate) dangers: Vec<String>,
    /// Worth a warning, one line each.
    pub(crate) warnings: Vec<String>,
    /// Accepted, and without an effect.
    pub(crate) ignored: Vec<String>,
    /// The files that were read, in their order.
    pub(crate) files: Vec<PathBuf>,
}

/// Reads the configuration of this process. `root` is `/`; tests have their own.
pub(crate) fn load(
    command_line: CommandLine,
    environment: BTreeMap<String, String>,
    root: &Path,
) -> Result<Loaded, Mistakes> {
    let mut mistakes = Vec::new();
    let home = environment.get("HOME").map(PathBuf::from);
    let files = files::read_all(&command_line.named, home.as_deref(), root, &mut mistakes);
    let mut sources = Sources {
        files,
        environment,
        command_line: command_line.values,
        mistakes,
        ..Sources::default()
    };
    let settings = settings::read(&mut sources);
    let ignored = sources.note_unread();
    sources.note_exposed();
    if sources.mistakes.is_empty() {
        Ok(Loaded {
            settings,
            dangers: sources.dangers,
            warnings: sources.warnings.into_iter().collect(),
            ignored,
            files: sources.files.into_iter().map(|file| file.path).collect(),
        })
    } else {
        sources.mistakes.sort();
        sources.mistakes.dedup();
        Err(Mistakes(sources.mistakes))
    }
}
