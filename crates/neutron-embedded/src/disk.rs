//! The store on disk: one SQLite file, one process at a time.

mod open;
mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::{Connection, TransactionBehavior, params};

use crate::store::Change;

pub use open::OpenError;

/// The file.
#[derive(Debug)]
pub(crate) struct Disk {
    connection: Connection,
    path: PathBuf,
}

/// What must have survived when a change is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Durability {
    /// A crash of the machine.
    Machine,
    /// A crash of the process; after one of the machine, nothing of it holds any more anyway.
    Process,
}

/// A change that could not be written; nothing of it was.
#[derive(Debug, thiserror::Error)]
#[error("could not write to {}", path.display())]
pub struct SaveError {
    path: PathBuf,
    source: SaveCause,
}

#[derive(Debug, thiserror::Error)]
enum SaveCause {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<SaveError> for OpenError {
    fn from(error: SaveError) -> Self {
        let SaveError { path, source } = error;
        match source {
            SaveCause::Sqlite(error) => open::explain(&path, error),
            SaveCause::Json(error) => Self::Corrupt {
                path,
                reason: error.to_string(),
            },
        }
    }
}

impl Disk {
    /// Writes changes, all or none.
    pub(crate) fn save(
        &mut self,
        changes: &[Change],
        durability: Durability,
    ) -> Result<(), SaveError> {
        self.try_to_save(changes, durability)
            .map_err(|source| SaveError {
                path: self.path.clone(),
                source,
            })
    }

    fn try_to_save(&mut self, changes: &[Change], durability: Durability) -> Result<(), SaveCause> {
        self.connection.pragma_update(
            None,
            "synchronous",
            match durability {
                Durability::Machine => "FULL",
                Durability::Process => "NORMAL",
            },
        )?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for ((table, id), object) in outcome(changes) {
            match object {
                Some(object) => transaction
                    .prepare(&schema::put(table))?
                    .execute(params![id, object.write()?])?,
                None => transaction
                    .prepare(&schema::remove(table))?
                    .execute(params![id])?,
            };
        }
        Ok(transaction.commit()?)
    }
}

type Place = (&'static str, String);

/// What each object has become in the end.
fn outcome(changes: &[Change]) -> BTreeMap<Place, Option<&crate::store::Object>> {
    let objects = changes.iter().filter_map(|change| {
        let object = change.after.as_ref().or(change.before.as_ref())?;
        let place = (object.table(), object.id().to_string());
        Some((place, change.after.as_ref()))
    });
    objects.collect()
}

#[cfg(test)]
impl Disk {
    /// As if the disk had only so much room left, in pages; SQLite answers as it does to a full disk.
    pub(crate) fn limit(&self, pages: u32) -> rusqlite::Result<()> {
        self.connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    }
}
