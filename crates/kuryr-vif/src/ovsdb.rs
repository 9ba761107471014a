//! A client of ovsdb-server (RFC 7047) that keeps one connection and connects again by itself.

mod connection;
mod frames;
mod row;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;

use self::connection::Connection;
pub(crate) use self::row::{Row, map, uuid};

/// Why the Open vSwitch database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum OvsdbError {
    /// Nobody answers at the socket.
    #[error(
        "could not connect: check that ovsdb-server runs and that this program may use the socket"
    )]
    Connect(#[source] io::Error),
    /// The connection broke before the answer came, also when tried again.
    #[error("ovsdb-server closed the connection")]
    Lost,
    /// The answer did not come in time.
    #[error("ovsdb-server did not answer in time")]
    TimedOut,
    /// The database refused; both texts are its own.
    #[error("ovsdb-server refused: {error}{}{details}", if details.is_empty() { "" } else { ": " })]
    Refused {
        /// The kind of error, such as `constraint violation`.
        error: String,
        /// What was wrong, or nothing.
        details: String,
    },
    /// The answer is not what the protocol promises.
    #[error("ovsdb-server's answer was not understood: {0}")]
    Answer(&'static str),
}

impl OvsdbError {
    /// The refusal in a JSON-RPC error or in an operation's result.
    fn refused(told: &Value) -> Self {
        let text = |key| told.get(key).and_then(Value::as_str).map(str::to_owned);
        Self::Refused {
            error: text("error").unwrap_or_else(|| told.to_string()),
            details: text("details").unwrap_or_default(),
        }
    }

    /// Whether a `wait` operation found something else than it was told to.
    pub(crate) fn is_unmet_wait(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error == "timed out")
    }

    /// Whether a row's key is in use.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error == "constraint violation")
    }
}

/// How long a socket may be absent before that is an error: ovsdb-server restarts in less.
const RESTART: Duration = Duration::from_secs(3);
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(320));
/// How often a request goes out again on a new connection. What we write is safe to repeat.
const ATTEMPTS: usize = 3;

/// The client. Making it does no I/O; dropping it ends its connection.
pub(crate) struct Ovsdb {
    socket: PathBuf,
    /// Locked while connecting on purpose: one connects, the others wait for that connection.
    kept: Mutex<Option<Connection>>,
    tasks: TaskTracker,
    watches: AtomicU64,
}

impl Ovsdb {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            kept: Mutex::default(),
            tasks: TaskTracker::new(),
            watches: AtomicU64::new(0),
        }
    }

    pub(crate) fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Does `operations` on the database `Open_vSwitch`, all or none; an answer for each of them.
    pub(crate) async fn transact(
        &self,
        operations: &[Value],
        deadline: Instant,
    ) -> Result<Vec<Value>, OvsdbError> {
        let mut params = vec![json!(DATABASE)];
        params.extend_from_slice(operations);
        let result = self
            .call("transact", &Value::Array(params), deadline)
            .await?;
        let Value::Array(answers) = result else {
            return Err(OvsdbError::Answer("a transaction's result is not an array"));
        };
        // After the operation that failed come nulls; an error of the commit itself comes last.
        if let Some(refused) = answers.iter().find(|answer| answer.get("error").is_some()) {
            return Err(OvsdbError::refused(refused));
        }
        if answers.len() < operations.len() {
            return Err(OvsdbError::Answer("an operation has no result"));
        }
        Ok(answers)
    }

    /// The rows that one `select` finds.
    pub(crate) async fn select(
        &self,
        table: &str,
        condition: &Value,
        columns: &[&str],
        deadline: Instant,
    ) -> Result<Vec<Row>, OvsdbError> {
        let ask = select(table, condition, columns);
        let answers = self.transact(&[ask], deadline).await?;
        Ok(answers.first().map(Row::all_in).unwrap_or_default())
    }

    /// Begins to listen for changes of what `tables` (as for `monitor_cond`) describes.
    pub(crate) async fn watch(
        &self,
        tables: Value,
        deadline: Instant,
    ) -> Result<Changes<'_>, OvsdbError> {
        let mut changes = Changes {
            ovsdb: self,
            name: String::new(),
            tables,
            listening: None,
        };
        changes.listen(deadline).await?;
        Ok(changes)
    }

    async fn call(
        &self,
        method: &'static str,
        params: &Value,
        deadline: Instant,
    ) -> Result<Value, OvsdbError> {
        let mut outcome = Err(OvsdbError::Lost);
        for _ in 0..ATTEMPTS {
            let connection = self.connection(deadline).await?;
            outcome = connection.call(method, params.clone(), deadline).await;
            if !matches!(outcome, Err(OvsdbError::Lost)) {
                break;
            }
        }
        outcome
    }

    async fn connection(&self, deadline: Instant) -> Result<Connection, OvsdbError> {
        let mut kept = timeout_at(deadline, self.kept.lock())
            .await
            .map_err(|_| OvsdbError::TimedOut)?;
        if let Some(connection) = kept.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        let stream = self.connect(deadline).await?;
        tracing::debug!(socket = %self.socket.display(), "connected to ovsdb-server");
        let connection = Connection::new(stream, &self.tasks);
        *kept = Some(connection.clone());
        Ok(connection)
    }

    /// Nothing tells when a socket begins to accept, so this polls.
    async fn connect(&self, deadline: Instant) -> Result<UnixStream, OvsdbError> {
        let last = deadline.min(Instant::now() + RESTART);
        let (mut pause, longest) = BACKOFF;
        loop {
            let error = match timeout_at(deadline, UnixStream::connect(&self.socket)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => return Err(OvsdbError::TimedOut),
            };
            if Instant::now() + pause >= last {
                return Err(OvsdbError::Connect(error));
            }
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }
}

/// Tells that rows may have changed, not how: whoever listens reads them again. So nothing has to
/// replay the protocol's differences, and a change missed while the server restarted does no harm.
pub(crate) struct Changes<'a> {
    ovsdb: &'a Ovsdb,
    name: String,
    tables: Value,
    listening: Option<(Connection, mpsc::UnboundedReceiver<()>)>,
}

impl Changes<'_> {
    /// Waits for a change; false when the deadline passed first.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Result<bool, OvsdbError> {
        let Some((_, changes)) = &mut self.listening else {
            return Err(OvsdbError::Lost);
        };
        match timeout_at(deadline, changes.recv()).await {
            Ok(Some(())) => {
                while changes.try_recv().is_ok() {}
                Ok(true)
            }
            // The connection broke: what happened meanwhile is unknown, so it counts as a change.
            Ok(None) => self.listen(deadline).await.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    async fn listen(&mut self, deadline: Instant) -> Result<(), OvsdbError> {
        for _ in 0..ATTEMPTS {
            let connection = self.ovsdb.connection(deadline).await?;
            let number = self.ovsdb.watches.fetch_add(1, Ordering::Relaxed);
            self.name = format!("kuryr-{number}");
            let changes = connection.watch(&self.name);
            self.listening = Some((connection.clone(), changes));
            let params = json!([DATABASE, self.name, self.tables]);
            match connection.call("monitor_cond", params, deadline).await {
                Err(OvsdbError::Lost) => {}
                outcome => return outcome.map(drop),
            }
        }
        Err(OvsdbError::Lost)
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        if let Some((connection, _)) = &self.listening {
            connection.unwatch(&self.name);
        }
    }
}

/// A `select` operation.
pub(crate) fn select(table: &str, condition: &Value, columns: &[&str]) -> Value {
    json!({"op": "select", "table": table, "where": condition, "columns": columns})
}

const DATABASE: &str = "Open_vSwitch";
