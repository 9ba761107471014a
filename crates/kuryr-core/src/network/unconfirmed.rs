//! Networks that a runtime forgets: it is killed after it was told that a network is made, and before it
//! has noted so itself.
//!
//! None of its calls would ever tell: a network that no container uses is not spoken of. So a network is
//! noted until it is certain that who has asked for it knows it: it names it again, or answers others a
//! while later. If it has ended before, the runtime that calls after it is asked.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::ask::{Caller, NetworkId};
use crate::journal::Journal;
use crate::kuryr::Kuryr;
use crate::program::Program;

/// The container runtime of this host, where it can be asked what it knows.
#[async_trait]
pub trait Runtime: Debug + Send + Sync + 'static {
    /// All networks that it knows.
    ///
    /// # Errors
    /// It does not answer, or may be another one than that which calls.
    async fn networks(&self) -> io::Result<HashSet<NetworkId>>;
}

/// Networks of which it is not certain that the runtime knows them.
pub(crate) struct Unconfirmed {
    all: Mutex<HashMap<NetworkId, Asked>>,
    last_caller: Mutex<Option<Program>>,
    /// The runtime did not answer the last time.
    is_silent: AtomicBool,
    journal: Journal,
}

struct Asked {
    by: Program,
    since: Instant,
}

/// What the runtime may be asked about now.
#[derive(Default)]
struct Questions {
    /// Asked for by programs that have ended since.
    doubtful: Vec<NetworkId>,
    /// Asked for long ago by programs that run.
    old: Vec<NetworkId>,
}

impl Unconfirmed {
    pub(crate) fn new(journal: Journal) -> Self {
        let since = Instant::now();
        let noted = journal.read::<Program>(PREFIX).into_iter();
        let noted = noted.filter_map(|(key, by)| Some((key.parse().ok()?, Asked { by, since })));
        Self {
            all: Mutex::new(noted.collect()),
            last_caller: Mutex::new(None),
            is_silent: AtomicBool::new(false),
            journal,
        }
    }

    /// `by` is going to be told that a network is made.
    pub(super) async fn insert(&self, network: &NetworkId, by: Program) {
        if let Err(error) = self.journal.write_aside(&key(network), &by).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "a crash now, of the runtime and of this program, would leave network {network}"
            );
        }
        let since = Instant::now();
        self.all().insert(network.clone(), Asked { by, since });
    }

    pub(super) fn has(&self, network: &NetworkId) -> bool {
        self.all().contains_key(network)
    }

    /// The runtime knows a network, or has asked for its removal.
    pub(crate) fn remove(&self, network: &NetworkId) {
        if self.all().remove(network).is_none() {
            return;
        }
        self.journal.forget(&key(network));
    }

    fn questions(&self) -> Questions {
        let caller = *self.last_caller();
        // Asked before it calls, systemd would start a runtime that somebody has stopped.
        let is_there = caller.is_some_and(|caller| !caller.has_ended());
        let mut questions = Questions::default();
        for (network, asked) in self.all().iter() {
            if asked.by.has_ended() {
                if is_there {
                    questions.doubtful.push(network.clone());
                }
            } else if asked.since.elapsed() >= TO_NOTE {
                questions.old.push(network.clone());
            }
        }
        questions
    }

    fn all(&self) -> MutexGuard<'_, HashMap<NetworkId, Asked>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_caller(&self) -> MutexGuard<'_, Option<Program>> {
        let caller = self.last_caller.lock();
        caller.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kuryr {
    /// Takes note of who calls.
    pub fn is_called_by(&self, caller: &Caller) {
        if let Some(program) = caller.program() {
            *self.unconfirmed.last_caller() = Some(program);
        }
    }

    /// The networks that the runtime was told of and does not know, if it can be asked.
    pub(crate) async fn forgotten_networks(&self) -> Vec<NetworkId> {
        let Some(runtime) = &self.settings.runtime else {
            return Vec::new();
        };
        let Questions { mut doubtful, old } = self.unconfirmed.questions();
        if doubtful.is_empty() && old.is_empty() {
            return doubtful;
        }
        let answer = runtime.networks().await;
        let was_silent = self.unconfirmed.is_silent.swap(answer.is_err(), Relaxed);
        let known = match answer {
            Ok(known) => known,
            Err(error) => {
                if !was_silent {
                    tracing::warn!(%error, "could not ask the container runtime which networks it knows");
                }
                return Vec::new();
            }
        };
        for network in &old {
            self.unconfirmed.remove(network);
        }
        doubtful.retain(|network| {
            let is_known = known.contains(network);
            if is_known {
                self.unconfirmed.remove(network);
            }
            !is_known
        });
        doubtful
    }
}

fn key(network: &NetworkId) -> String {
    format!("{PREFIX}{network}")
}

const PREFIX: &str = "network-";
/// A runtime that answers others after so long has noted its network: it takes milliseconds.
const TO_NOTE: Duration = Duration::from_secs(60);
