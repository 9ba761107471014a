//! What was configured for an option: by flag, by environment, in files, or by default.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::files::File;
use super::mistakes::{Mistake, Origin};
use super::options::{self, Declared, Kind};
use super::substitute;
use super::value::Setting;

/// Everything that was configured, and what turned out to be wrong while reading it.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// In the order of their precedence, the strongest last.
    pub(crate) files: Vec<File>,
    /// The environment of the process.
    pub(crate) environment: BTreeMap<String, String>,
    /// By section and name.
    pub(crate) command_line: BTreeMap<(&'static str, &'static str), String>,
    /// The section that stands in for `[neutron]` where credentials are concerned.
    pub(crate) auth_section: Option<String>,
    /// To be mended before the program can start.
    pub(crate) mistakes: Vec<Mistake>,
    /// Worth a warning, one line each.
    pub(crate) warnings: BTreeSet<String>,
    /// Dangerous, one line each.
    pub(crate) dangers: Vec<String>,
}

/// A value as found, before `$` substitution.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// As written.
    pub(crate) text: String,
    /// Where.
    pub(crate) origin: Origin,
    /// The name it was found under, if that is a former one.
    pub(crate) formerly: Option<String>,
}

impl Sources {
    /// The option's value; a value that is none is noted, and the default taken in its place.
    pub(crate) fn read<T: Setting>(&mut self, option: &'static Declared) -> T {
        self.read_in(option.group, option)
    }

    /// The same for an option of the credentials, which may stand in a section of their own.
    pub(crate) fn read_auth<T: Setting>(&mut self, option: &'static Declared) -> T {
        let group = self.auth_group().to_owned();
        self.read_in(&group, option)
    }

    fn read_in<T: Setting>(&mut self, group: &str, option: &'static Declared) -> T {
        let found = self.find(group, option);
        if let Some(name) = found.as_ref().and_then(|f| f.formerly.as_ref()) {
            self.warnings.insert(format!(
                "[{group}] {name} is deprecated: call it {}",
                option.name
            ));
        }
        let parsed = match substitute::value(self, group, option, found.as_ref()) {
            Ok(text) => T::parse(&text),
            Err(wrong) => Err(wrong),
        };
        parsed.unwrap_or_else(|wrong| {
            let origin = found.map_or(Origin::Default, |f| f.origin);
            self.mistake_in(group, option, origin, wrong);
            T::parse(option.default.unwrap_or_default()).unwrap_or_default()
        })
    }

    /// Notes something wrong with an option's value that shows only beside others.
    pub(crate) fn mistake(&mut self, option: &'static Declared, wrong: impl Into<String>) {
        let group = match option.group {
            "neutron" if !self.is_set(option) => self.auth_group().to_owned(),
            group => group.to_owned(),
        };
        let origin = self
            .find(&group, option)
            .map_or(Origin::Default, |f| f.origin);
        self.mistake_in(&group, option, origin, wrong.into());
    }

    fn mistake_in(&mut self, group: &str, option: &Declared, origin: Origin, wrong: String) {
        self.mistakes.push(Mistake {
            origin,
            option: Some((group.to_owned(), option.name.to_owned())),
            wrong,
        });
    }

    /// The section that holds the credentials.
    pub(crate) fn auth_group(&self) -> &str {
        self.auth_section.as_deref().unwrap_or("neutron")
    }

    /// Whether anything but the default was given in the option's own section.
    pub(crate) fn is_set(&self, option: &Declared) -> bool {
        self.find(option.group, option).is_some()
    }

    /// The strongest value given for the option in that section.
    pub(crate) fn find(&self, group: &str, option: &Declared) -> Option<Found> {
        if let Some(text) = self.command_line.get(&(option.group, option.name)) {
            return Some(Found {
                text: text.clone(),
                origin: Origin::CommandLine,
                formerly: None,
            });
        }
        let variable = format!("OS_{group}__{}", option.name).to_uppercase();
        for variable in [Some(variable.as_str()), option.variable]
            .into_iter()
            .flatten()
        {
            if let Some(text) = self.environment.get(variable) {
                return Some(Found {
                    text: text.clone(),
                    origin: Origin::Environment(variable.to_owned()),
                    formerly: None,
                });
            }
        }
        self.files
            .iter()
            .rev()
            .find_map(|file| find_in(file, group, option))
    }

    /// Warns of what nothing reads, and returns what is accepted without having an effect.
    pub(crate) fn note_unread(&mut self) -> Vec<String> {
        let mut ignored = Vec::new();
        let mut unread = BTreeSet::new();
        for file in &self.files {
            let mut known_sections = BTreeSet::new();
            for (section, line) in &file.document.sections {
                if self.declared_group(section).is_none() && known_sections.insert(section) {
                    unread.insert(unknown_section(&file.path, *line, section));
                }
            }
            for assignment in &file.document.assignments {
                let Some(group) = self.declared_group(&assignment.section) else {
                    continue;
                };
                let name = canonical_name(&assignment.key);
                let place = format!("{}:{}", file.path.display(), assignment.line);
                match options::ALL.iter().find(|option| {
                    option.group == group
                        && (option.name == name || option.formerly.contains(&name.as_str()))
                }) {
                    None => {
                        let near = nearest(&name, group);
                        unread.insert(format!(
                            "{place}: [{}] {} is not an option of kuryr and is ignored{near}",
                            assignment.section, assignment.key
                        ));
                    }
                    Some(option) if option.kind == Kind::Ignored => {
                        ignored.push(format!("{place}: [{group}] {name} has no effect here"));
                    }
                    Some(_) => {}
                }
            }
        }
        self.warnings.extend(unread);
        ignored
    }

    /// Warns of files that have a secret in them and that everyone on this host can read.
    pub(crate) fn note_exposed(&mut self) {
        const OTHERS_READ: u32 = 0o004;
        let exposed: Vec<String> = self
            .files
            .iter()
            .filter(|file| file.mode & OTHERS_READ != 0)
            .filter_map(|file| {
                let secrets = self.secrets_in(file);
                (!secrets.is_empty()).then(|| {
                    let (path, mode, secrets) =
                        (file.path.display(), file.mode, secrets.join(", "));
                    format!(
                        "{path}: everyone on this host can read {secrets} in it (mode {mode:03o}): \
                         run `chmod 640 {path}`"
                    )
                })
            })
            .collect();
        self.warnings.extend(exposed);
    }

    /// The names of the secrets that a file gives, whether they are used or not.
    fn secrets_in(&self, file: &File) -> Vec<&'static str> {
        let given: BTreeSet<_> = file
            .document
            .assignments
            .iter()
            .filter(|assignment| !assignment.value.is_empty())
            .filter_map(|assignment| {
                let group = self.declared_group(&assignment.section)?;
                let option = options::find(group, &canonical_name(&assignment.key))?;
                (option.kind == Kind::Secret).then_some(option.name)
            })
            .collect();
        given.into_iter().collect()
    }

    /// The declared section that a section of a file stands for.
    fn declared_group(&self, section: &str) -> Option<&'static str> {
        let section = canonical_group(section);
        let own = options::ALL.iter().find(|o| o.group == section);
        match own {
            Some(option) => Some(option.group),
            None if self.auth_section.as_deref() == Some(&section) => Some("neutron"),
            None => None,
        }
    }
}

fn find_in(file: &File, group: &str, option: &Declared) -> Option<Found> {
    let assigned = |name: &str| {
        file.document
            .assignments
            .iter()
            .rev()
            .find(|a| canonical_group(&a.section) == group && canonical_name(&a.key) == name)
    };
    let current = assigned(option.name).map(|assignment| (assignment, None));
    let former = || {
        option
            .formerly
            .iter()
            .find_map(|name| Some((assigned(name)?, Some((*name).to_owned()))))
    };
    let (assignment, formerly) = current.or_else(former)?;
    Some(Found {
        text: assignment.value.clone(),
        origin: Origin::Line(file.path.clone(), assignment.line),
        formerly,
    })
}

/// Section names are compared without regard to case, but for `DEFAULT`.
pub(crate) fn canonical_group(section: &str) -> String {
    match section {
        "DEFAULT" => section.to_owned(),
        _ => section.to_lowercase(),
    }
}

fn canonical_name(key: &str) -> String {
    key.replace('-', "_")
}

fn unknown_section(path: &Path, line: usize, section: &str) -> String {
    let near = match section.trim().to_uppercase().as_str() {
        "DEFAULT" => " (did you mean [DEFAULT]?)",
        _ => "",
    };
    format!(
        "{}:{line}: [{section}] is not a section of kuryr and is ignored{near}",
        path.display()
    )
}

fn nearest(name: &str, group: &str) -> String {
    options::ALL
        .iter()
        .filter(|option| option.group == group && option.kind != Kind::Ignored)
        .map(|option| (strsim::damerau_levenshtein(name, option.name), option.name))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, near)| format!(" (did you mean {near}?)"))
        .unwrap_or_default()
}
