//! Which files make up the configuration, and what they say.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::ini::{self, Document};
use super::mistakes::{Mistake, Origin};

/// A file or folder that was named on the command line, in its place there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// `--config-file`
    File(PathBuf),
    /// `--config-dir`, of which `*.conf` is read in order of name.
    Dir(PathBuf),
}

/// One file that was read.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// As it was found.
    pub(crate) path: PathBuf,
    /// Its permissions, such as `0o640`.
    pub(crate) mode: u32,
    /// What it says.
    pub(crate) document: Document,
}

/// Reads the default files unless a file was named, the default folders unless a folder was named,
/// then what was named, in that order: a later file wins over an earlier one. oslo.config does so.
pub(crate) fn read_all(
    named: &[Named],
    home: Option<&Path>,
    root: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Vec<File> {
    let mut paths = Vec::new();
    if !named.iter().any(|n| matches!(n, Named::File(_))) {
        paths.extend(look_up(home, root, ".conf"));
    }
    if !named.iter().any(|n| matches!(n, Named::Dir(_))) {
        for dir in look_up(home, root, ".conf.d") {
            paths.extend(listed(&dir, mistakes));
        }
    }
    for name in named {
        match name {
            Named::File(path) => paths.push(expanded(path, home)),
            Named::Dir(dir) => paths.extend(listed(&expanded(dir, home), mistakes)),
        }
    }
    paths
        .into_iter()
        .filter_map(|path| read(path, mistakes))
        .collect()
}

/// The folders that are looked through, the most personal first.
pub(crate) fn folders(home: Option<&Path>, root: &Path) -> Vec<PathBuf> {
    home.map(|home| [home.join(".kuryr"), home.to_owned()])
        .into_iter()
        .flatten()
        .chain([root.join("etc/kuryr"), root.join("etc")])
        .collect()
}

/// For each of the two names, the first folder that has it.
fn look_up(home: Option<&Path>, root: &Path, ending: &str) -> Vec<PathBuf> {
    let folders = folders(home, root);
    ["kuryr", "kuryr-server"]
        .iter()
        .filter_map(|name| {
            folders
                .iter()
                .map(|folder| folder.join(format!("{name}{ending}")))
                .find(|path| path.exists())
        })
        .collect()
}

fn listed(dir: &Path, mistakes: &mut Vec<Mistake>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    });
    let mut paths = entries.unwrap_or_else(|error| {
        mistakes.push(unreadable(dir, &error));
        Vec::new()
    });
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".conf") && !name.starts_with('.')
    });
    paths.sort();
    paths
}

fn read(path: PathBuf, mistakes: &mut Vec<Mistake>) -> Option<File> {
    let (bytes, mode) = match bytes_and_mode(&path) {
        Ok(read) => read,
        Err(error) => {
            mistakes.push(unreadable(&path, &error));
            return None;
        }
    };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            mistakes.push(Mistake {
                origin: Origin::Line(path, line),
                option: None,
                wrong: "this is not UTF-8".to_owned(),
            });
            return None;
        }
    };
    let document = ini::parse(&text);
    mistakes.extend(document.faults.iter().map(|fault| Mistake {
        origin: Origin::Line(path.clone(), fault.line),
        option: None,
        wrong: fault.wrong.to_owned(),
    }));
    Some(File {
        path,
        mode,
        document,
    })
}

fn bytes_and_mode(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let mut file = std::fs::File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((bytes, mode))
}

fn unreadable(path: &Path, error: &io::Error) -> Mistake {
    Mistake {
        origin: Origin::File(path.to_owned()),
        option: None,
        wrong: format!("cannot be read: {error}"),
    }
}

/// A leading `~`, as in files that a shell never saw.
fn expanded(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn paths(named: &[Named], home: &Path, root: &Path) -> (Vec<PathBuf>, Vec<Mistake>) {
        let mut mistakes = Vec::new();
        let files = read_all(named, Some(home), root, &mut mistakes);
        (files.into_iter().map(|f| f.path).collect(), mistakes)
    }

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "[DEFAULT]\n").unwrap();
    }

    #[test]
    fn the_most_personal_file_of_each_name_is_taken() {
        let temp = tempfile::tempdir().unwrap();
        let (home, root) = (temp.path().join("home"), temp.path().join("root"));
        let general = root.join("etc/kuryr/kuryr.conf");
        let server = root.join("etc/kuryr-server.conf");
        let drop_in = root.join("etc/kuryr/kuryr.conf.d/b.conf");
        let earlier = root.join("etc/kuryr/kuryr.conf.d/a.conf");
        for path in [&general, &server, &drop_in, &earlier] {
            write(path);
        }
        write(&root.join("etc/kuryr/kuryr.conf.d/.hidden.conf"));
        write(&root.join("etc/kuryr/kuryr.conf.d/README"));
        let expected = vec![general, server, earlier.clone(), drop_in.clone()];
        assert_eq!(paths(&[], &home, &root), (expected, vec![]));

        let personal = home.join(".kuryr/kuryr.conf");
        write(&personal);
        assert_eq!(paths(&[], &home, &root).0[0], personal);

        let named = Named::File(PathBuf::from("~/.kuryr/kuryr.conf"));
        assert_eq!(
            paths(&[named], &home, &root).0,
            [earlier, drop_in, personal],
            "a named file replaces the default files, not the default folders"
        );
    }

    #[test]
    fn a_named_file_or_folder_that_is_missing_is_a_mistake() {
        let temp = tempfile::tempdir().unwrap();
        let named = [
            Named::File(temp.path().join("none.conf")),
            Named::Dir(temp.path().join("none.d")),
        ];
        assert_eq!(paths(&named, temp.path(), temp.path()).1.len(), 2);
    }
}
