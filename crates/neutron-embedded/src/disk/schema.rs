//! The tables, and how older ones become these.

use rusqlite::{Connection, Transaction};

/// Marks a file as ours ("kury").
pub(super) const APPLICATION_ID: i32 = 0x6b75_7279;

/// Each step makes the next version out of the one before; the first makes one out of nothing.
/// A step that has been released is never changed: files that it has made are out there.
const STEPS: &[&str] = &[
    // 1
    "CREATE TABLE network (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE subnet (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE subnetpool (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE port (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE security_group (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE security_group_rule (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    // 2
    "CREATE TABLE qos_policy (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    // 3
    "CREATE TABLE quota (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    // 4
    "CREATE TABLE trunk (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT, WITHOUT ROWID;",
];

/// The version that this program writes.
pub(super) fn newest() -> i64 {
    STEPS.len() as i64
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

pub(super) fn application(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

/// Takes the steps that are left from `version` on.
pub(super) fn migrate(transaction: &Transaction<'_>, version: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(version).unwrap_or_default();
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", newest())
}

/// Names of tables are constants, never input.
pub(super) fn all(table: &str) -> String {
    format!("SELECT id, object FROM {table}")
}

pub(super) fn put(table: &str) -> String {
    format!("INSERT OR REPLACE INTO {table} (id, object) VALUES (?1, ?2)")
}

pub(super) fn remove(table: &str) -> String {
    format!("DELETE FROM {table} WHERE id = ?1")
}
