//! One connection to ovsdb-server: a task owns the socket, callers hold the way to it.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::OvsdbError;
use super::frames::Frames;

/// The callers' side. The connection ends when the last of these is dropped.
#[derive(Clone)]
pub(super) struct Connection(mpsc::UnboundedSender<Command>);

enum Command {
    Call {
        method: &'static str,
        params: Value,
        answer: oneshot::Sender<Result<Value, OvsdbError>>,
    },
    Watch {
        name: String,
        changes: mpsc::UnboundedSender<()>,
    },
    Unwatch {
        name: String,
    },
}

impl Connection {
    /// Talks over `stream` in a task of `tasks`.
    pub(super) fn new(stream: UnixStream, tasks: &TaskTracker) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        tasks.spawn(Task::default().run(stream, inbox));
        Self(commands)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    /// One request and its answer; any number of them at once.
    pub(super) async fn call(
        &self,
        method: &'static str,
        params: Value,
        deadline: Instant,
    ) -> Result<Value, OvsdbError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Call {
            method,
            params,
            answer,
        };
        self.0.send(command).map_err(|_| OvsdbError::Lost)?;
        match timeout_at(deadline, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(OvsdbError::Lost),
            Err(_) => Err(OvsdbError::TimedOut),
        }
    }

    /// What the monitor called `name` tells, from now on.
    pub(super) fn watch(&self, name: &str) -> mpsc::UnboundedReceiver<()> {
        let (changes, told) = mpsc::unbounded_channel();
        let name = name.to_owned();
        // When the connection is gone the receiver says so.
        let _ = self.0.send(Command::Watch { name, changes });
        told
    }

    /// Ends the monitor called `name`.
    pub(super) fn unwatch(&self, name: &str) {
        let name = name.to_owned();
        let _ = self.0.send(Command::Unwatch { name });
    }
}

/// The socket's side.
#[derive(Default)]
struct Task {
    last: u64,
    calls: HashMap<u64, oneshot::Sender<Result<Value, OvsdbError>>>,
    watches: HashMap<String, mpsc::UnboundedSender<()>>,
}

impl Task {
    async fn run(mut self, stream: UnixStream, mut inbox: mpsc::UnboundedReceiver<Command>) {
        let (mut from, mut to) = stream.into_split();
        let mut frames = Frames::default();
        let mut chunk = vec![0; 16 * 1024];
        loop {
            let out = tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                read = from.read(&mut chunk) => match read {
                    Ok(length @ 1..) => {
                        frames.push(chunk.get(..length).unwrap_or_default());
                        match self.hear(&mut frames) {
                            Ok(replies) => replies,
                            Err(reason) => {
                                tracing::warn!(reason, "left ovsdb-server: it does not speak OVSDB");
                                return;
                            }
                        }
                    }
                    Ok(0) | Err(_) => {
                        tracing::debug!("ovsdb-server closed the connection");
                        return;
                    }
                },
            };
            if to.write_all(&out).await.is_err() {
                return;
            }
        }
    }

    /// The bytes that `command` sends.
    fn obey(&mut self, command: Command) -> Vec<u8> {
        match command {
            Command::Call {
                method,
                params,
                answer,
            } => {
                self.last += 1;
                self.calls.insert(self.last, answer);
                request(method, &params, self.last)
            }
            Command::Watch { name, changes } => {
                self.watches.insert(name, changes);
                Vec::new()
            }
            Command::Unwatch { name } => {
                self.watches.remove(&name);
                self.last += 1;
                request("monitor_cancel", &json!([name]), self.last)
            }
        }
    }

    /// Delivers what has arrived; the bytes to reply.
    fn hear(&mut self, frames: &mut Frames) -> Result<Vec<u8>, &'static str> {
        let mut replies = Vec::new();
        while let Some(frame) = frames.next().map_err(|_| "not JSON objects")? {
            let message = serde_json::from_slice(&frame).map_err(|_| "not JSON-RPC")?;
            replies.extend(self.deliver(message));
        }
        Ok(replies)
    }

    fn deliver(&mut self, message: Message) -> Vec<u8> {
        match message.method.as_deref() {
            // Unanswered, the server takes us for dead.
            Some("echo") => {
                return json!({"id": message.id, "result": message.params, "error": null})
                    .to_string()
                    .into_bytes();
            }
            Some("update2") => {
                let name = message.params.get(0).and_then(Value::as_str);
                if let Some(changes) = name.and_then(|name| self.watches.get(name)) {
                    let _ = changes.send(());
                }
            }
            Some(method) => tracing::debug!(method, "ovsdb-server told what nobody asked"),
            None => {
                let answer = message.id.as_u64().and_then(|id| self.calls.remove(&id));
                if let Some(answer) = answer {
                    // Nobody waits any more: its deadline has passed.
                    let _ = answer.send(if message.error.is_null() {
                        Ok(message.result)
                    } else {
                        Err(OvsdbError::refused(&message.error))
                    });
                }
            }
        }
        Vec::new()
    }
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    id: Value,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Value,
}

fn request(method: &str, params: &Value, id: u64) -> Vec<u8> {
    json!({"method": method, "params": params, "id": id})
        .to_string()
        .into_bytes()
}
