//! Opening the file: whose it is, what it is like, what is in it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{Disk, schema};
use crate::store::Object;

/// Why the file can't be used. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a later version.
    #[error(
        "{} was written by a newer Kuryr (schema {found}, this one knows up to {known}): \
         start that one, or name another file", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Not written by Kuryr.
    #[error("{} is the database of another program: name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Not readable as what it should be.
    #[error(
        "{} is damaged ({reason}): put back a copy of it, or move it away to begin with nothing",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Opened by another process.
    #[error("{} is in use by another process: is Kuryr running already?", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Not to be written, or its directory.
    #[error("{} or its directory can't be written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The disk has no room left.
    #[error("{} can't be written: no space is left on its disk", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("could not open {}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl Disk {
    /// Opens the file, or makes it, and reads what is in it.
    ///
    /// It is this process's alone until the `Disk` is dropped.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Object>), OpenError> {
        make(path).map_err(|source| {
            let path = path.to_owned();
            if source.kind() == io::ErrorKind::StorageFull {
                OpenError::DiskFull { path }
            } else {
                OpenError::Unwritable { path, source }
            }
        })?;
        let because = |error| explain(path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(because)?;
        configure(&connection).map_err(because)?;
        check_owner(path, &connection)?;
        check_health(path, &connection)?;
        own(path, &mut connection)?;
        let objects = read(path, &connection)?;
        let path = path.to_owned();
        Ok((Self { connection, path }, objects))
    }
}

/// Only we may read it: it says who may talk to whom.
fn make(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options.open(path).map(drop)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    // With this set before the first look into the file, its lock is never let go again.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    // In kibibytes: everything is in memory already.
    connection.pragma_update(None, "cache_size", -256)?;
    Ok(())
}

fn check_owner(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let because = |error| explain(path, error);
    let known = schema::newest();
    let found = schema::version(connection).map_err(because)?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let count: i64 = connection
        .query_row(tables, [], |row| row.get(0))
        .map_err(because)?;
    let application = schema::application(connection).map_err(because)?;
    let path = path.to_owned();
    match application {
        schema::APPLICATION_ID if found > known => Err(OpenError::Newer { path, found, known }),
        schema::APPLICATION_ID => Ok(()),
        0 if found == 0 && count == 0 => Ok(()),
        _ => Err(OpenError::Foreign { path }),
    }
}

/// Takes the file's lock, and makes it one of this version.
fn own(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let because = |error| explain(path, error);
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(because)?;
    let version = schema::version(connection).map_err(because)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Exclusive)
        .map_err(because)?;
    if version < schema::newest() {
        schema::migrate(&transaction, version).map_err(because)?;
    }
    transaction.commit().map_err(because)
}

fn check_health(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let check = "PRAGMA quick_check(1)";
    let verdict: rusqlite::Result<String> = connection.query_row(check, [], |row| row.get(0));
    match verdict.map_err(|error| explain(path, error))? {
        fine if fine == "ok" => Ok(()),
        reason => Err(OpenError::Corrupt {
            path: path.to_owned(),
            reason,
        }),
    }
}

fn read(path: &Path, connection: &Connection) -> Result<Vec<Object>, OpenError> {
    let because = |error| explain(path, error);
    let mut objects = Vec::new();
    for table in Object::TABLES {
        let mut statement = connection.prepare(&schema::all(table)).map_err(because)?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        });
        for row in rows.map_err(because)? {
            let (id, text) = row.map_err(because)?;
            match Object::read(table, &text) {
                Some(Ok(object)) if object.id().to_string() == id => objects.push(object),
                Some(Err(error)) => return Err(unreadable(path, table, &id, &error.to_string())),
                Some(Ok(_)) | None => {
                    return Err(unreadable(path, table, &id, "it is another object"));
                }
            }
        }
    }
    Ok(objects)
}

fn unreadable(path: &Path, table: &str, id: &str, reason: &str) -> OpenError {
    OpenError::Corrupt {
        path: path.to_owned(),
        reason: format!("{table} {id}: {reason}"),
    }
}

pub(super) fn explain(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Corrupt {
            path,
            reason: error.to_string(),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse { path },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            OpenError::Unwritable {
                path,
                source: io::Error::other(error),
            }
        }
        Some(ErrorCode::DiskFull) => OpenError::DiskFull { path },
        _ => OpenError::Failed {
            path,
            source: error,
        },
    }
}
