//! What is said of the file: it keeps all that was answered, and is refused where it can't.

use std::fs::{Permissions, copy, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::Method;
use neutron_api::PortStatus;
use neutron_embedded::{Embedded, EmbeddedSettings, OpenError};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{bound_port, exchange, made, text};

#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let here = TempDir::new().unwrap();
    let embedded = open(&file(&here)).unwrap();
    let port = bound_port(&embedded, "host1").await;
    let id = text(&port["id"]);
    let tags = json!({"tags": ["a", "b"]});
    exchange(&embedded, Method::PUT, &format!("ports/{id}/tags"), tags).await;
    assert!(
        embedded
            .report(id.parse().unwrap(), PortStatus::Active)
            .await
    );
    let gone = made(&embedded, "networks", json!({"network": {"name": "gone"}})).await;
    let path = format!("networks/{}", text(&gone["id"]));
    exchange(&embedded, Method::DELETE, &path, Value::Null).await;
    let before = everything(&embedded).await;
    // What a killed process leaves behind.
    let there = TempDir::new().unwrap();
    for name in ["neutron.db", "neutron.db-wal"] {
        copy(here.path().join(name), there.path().join(name)).unwrap();
    }
    let after = everything(&open(&file(&there)).unwrap()).await;
    assert_eq!(after, before);
    let port = &after["ports"]["ports"][0];
    assert_eq!(
        (&port["status"], &port["tags"]),
        (&json!("ACTIVE"), &json!(["a", "b"]))
    );
}

#[tokio::test]
async fn what_was_there_from_the_start_is_made_once() {
    let here = TempDir::new().unwrap();
    let embedded = open(&file(&here)).unwrap();
    let (_, pools) = exchange(
        &embedded,
        Method::GET,
        "subnetpools?name=kuryr",
        Value::Null,
    )
    .await;
    let path = format!("subnetpools/{}", text(&pools["subnetpools"][0]["id"]));
    exchange(&embedded, Method::DELETE, &path, Value::Null).await;
    let before = everything(&embedded).await;
    drop(embedded);
    assert_eq!(everything(&open(&file(&here)).unwrap()).await, before);
}

#[tokio::test]
async fn a_file_in_use_is_refused_until_it_is_let_go() {
    let here = TempDir::new().unwrap();
    let first = open(&file(&here)).unwrap();
    let refusal = refusal(&file(&here));
    assert!(matches!(refusal, OpenError::InUse { .. }), "{refusal}");
    drop(first);
    open(&file(&here)).unwrap();
}

#[tokio::test]
async fn another_process_is_kept_out() {
    if only_opens() {
        return;
    }
    let here = TempDir::new().unwrap();
    let _embedded = open(&file(&here)).unwrap();
    let refusal = outcome_elsewhere(&file(&here), Command::new(std::env::current_exe().unwrap()));
    assert!(
        refusal.contains("is in use by another process"),
        "{refusal}"
    );
}

#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    let here = TempDir::new().unwrap();
    let _embedded = open(&file(&here)).unwrap();
    for name in ["neutron.db", "neutron.db-wal"] {
        let mode = here
            .path()
            .join(name)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let here = TempDir::new().unwrap();
    drop(open(&file(&here)).unwrap());
    let connection = Connection::open(file(&here)).unwrap();
    connection
        .pragma_update(None, "user_version", 1000)
        .unwrap();
    drop(connection);
    let before = std::fs::read(file(&here)).unwrap();
    let refusal = refusal(&file(&here));
    assert!(
        matches!(refusal, OpenError::Newer { found: 1000, .. }),
        "{refusal}"
    );
    assert_eq!(std::fs::read(file(&here)).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_an_older_version_is_brought_up_to_date() {
    let here = TempDir::new().unwrap();
    let embedded = open(&file(&here)).unwrap();
    bound_port(&embedded, "host1").await;
    let before = everything(&embedded).await;
    drop(embedded);
    let connection = Connection::open(file(&here)).unwrap();
    let back =
        "DROP TABLE trunk; DROP TABLE quota; DROP TABLE qos_policy; PRAGMA user_version = 1;";
    connection.execute_batch(back).unwrap();
    drop(connection);
    let embedded = open(&file(&here)).unwrap();
    assert_eq!(everything(&embedded).await, before);
    let quota = json!({"quota": {"port": 7}});
    exchange(&embedded, Method::PUT, "quotas/mine", quota).await;
    drop(embedded);
    let embedded = open(&file(&here)).unwrap();
    let (_, reply) = exchange(&embedded, Method::GET, "quotas/mine", Value::Null).await;
    assert_eq!(reply["quota"]["port"], 7);
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let here = TempDir::new().unwrap();
    let connection = Connection::open(file(&here)).unwrap();
    connection
        .execute_batch("CREATE TABLE photos (id)")
        .unwrap();
    drop(connection);
    let before = std::fs::read(file(&here)).unwrap();
    let refusal = refusal(&file(&here));
    assert!(matches!(refusal, OpenError::Foreign { .. }), "{refusal}");
    assert_eq!(std::fs::read(file(&here)).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let here = TempDir::new().unwrap();
    let embedded = open(&file(&here)).unwrap();
    for _ in 0..30 {
        bound_port(&embedded, "host1").await;
    }
    drop(embedded);
    let whole = std::fs::read(file(&here)).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let mut holes = whole;
    for page in holes.chunks_mut(4096).skip(1) {
        page[..512].fill(0xff);
    }
    for damaged in [
        half,
        holes,
        b"this is no database, it is a text".repeat(100),
    ] {
        write(file(&here), &damaged).unwrap();
        let refusal = refusal(&file(&here));
        assert!(matches!(refusal, OpenError::Corrupt { .. }), "{refusal}");
        assert_eq!(std::fs::read(file(&here)).unwrap(), damaged);
    }
}

#[test]
fn an_object_that_cannot_be_read_is_named() {
    let here = TempDir::new().unwrap();
    drop(open(&file(&here)).unwrap());
    let connection = Connection::open(file(&here)).unwrap();
    let cut = "UPDATE subnetpool SET object = substr(object, 1, 20)";
    connection.execute_batch(cut).unwrap();
    drop(connection);
    let refusal = refusal(&file(&here)).to_string();
    assert!(refusal.contains("subnetpool "), "{refusal}");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let here = TempDir::new().unwrap();
    // Root may write anywhere: somebody else has to try.
    set_permissions(here.path(), Permissions::from_mode(0o555)).unwrap();
    let program = std::env::current_exe().unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env_remove("RUST_BACKTRACE");
    let refusal = outcome_elsewhere(&file(&here), command);
    assert!(refusal.contains("can't be written"), "{refusal}");
    assert!(!file(&here).exists());
}

/// Set for a second process of a test: the file that it is to open, and nothing else.
const ONLY_OPEN: &str = "KURYR_TEST_ONLY_OPEN";

/// What `another_process_is_kept_out` does in that process; whether this is the one.
fn only_opens() -> bool {
    let Some(path) = std::env::var_os(ONLY_OPEN) else {
        return false;
    };
    match open(Path::new(&path)) {
        Ok(_) => println!("opened"),
        Err(refusal) => println!("{refusal}"),
    }
    true
}

fn outcome_elsewhere(path: &Path, mut command: Command) -> String {
    let output = command
        .args([
            "--exact",
            "file::another_process_is_kept_out",
            "--nocapture",
        ])
        .env(ONLY_OPEN, path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn open(path: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(EmbeddedSettings::default(), path)
}

fn refusal(path: &Path) -> OpenError {
    open(path).err().unwrap()
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("neutron.db")
}

/// All that its API shows.
async fn everything(embedded: &Embedded) -> Value {
    let mut all = json!({});
    let kinds = [
        "networks",
        "subnets",
        "subnetpools",
        "ports",
        "security-groups",
    ];
    for kind in kinds {
        let (_, list) = exchange(embedded, Method::GET, kind, Value::Null).await;
        all[kind] = list;
    }
    all
}
