//! What is wrong with a configuration, each with its place, so that all can be mended at once.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A line of a file, counted from 1.
    Line(PathBuf, usize),
    /// A file or folder as a whole.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    CommandLine,
    /// The declaration's default, or nothing at all.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, line) => write!(out, "{}:{line}", path.display()),
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Environment(variable) => write!(out, "environment {variable}"),
            Self::CommandLine => out.write_str("command line"),
            Self::Default => out.write_str("configuration"),
        }
    }
}

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mistake {
    /// Where it stands.
    pub(crate) origin: Origin,
    /// Section and name, if it is about one option.
    pub(crate) option: Option<(String, String)>,
    /// What is wrong, and what would be valid.
    pub(crate) wrong: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.origin)?;
        if let Some((group, name)) = &self.option {
            write!(out, "[{group}] {name}: ")?;
        }
        out.write_str(&self.wrong)
    }
}

/// Everything to mend before the program can start. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Mistakes(pub(crate) Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => out.write_str("the configuration has a mistake:")?,
            count => write!(out, "the configuration has {count} mistakes:")?,
        }
        self.0
            .iter()
            .try_for_each(|mistake| write!(out, "\n  {mistake}"))
    }
}
