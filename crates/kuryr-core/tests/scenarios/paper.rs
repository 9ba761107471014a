//! A journal that fails when it is told to, or with which the program ends.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kuryr_core::{Folder, Notes, Written};
use kuryr_testkit::pace::Pace;

/// What becomes of the writing or erasing of a note.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ink {
    Holds,
    /// There is no room for a note; erasing one needs none.
    NoRoom,
    /// The program is killed just before, and has no effect on anything any more.
    DiesBefore,
    /// Likewise just after.
    DiesAfter,
}

/// A folder of notes; clones share the plan.
#[derive(Clone)]
pub(crate) struct Paper {
    folder: Folder,
    state: Arc<Mutex<State>>,
    pace: Option<Pace>,
}

struct State {
    decide: Box<dyn Fn(usize) -> Ink + Send>,
    count: usize,
    is_dead: bool,
    dies: Arc<dyn Fn() + Send + Sync>,
}

impl Paper {
    /// All is well in `folder` until it is told otherwise.
    pub(crate) fn new(folder: &Path) -> Self {
        let state = State {
            decide: Box::new(|_| Ink::Holds),
            count: 0,
            is_dead: false,
            dies: Arc::new(|| ()),
        };
        Self {
            folder: Folder::open(folder).unwrap(),
            state: Arc::new(Mutex::new(state)),
            pace: None,
        }
    }

    /// The same where a note that others need not wait for is written after a pause, and told of after another.
    pub(crate) fn at(self, pace: Option<Pace>) -> Self {
        Self { pace, ..self }
    }

    /// From now on `decide` says what becomes of a note by its number, from 0; `dies` is to stop all else.
    pub(crate) fn plan(
        &self,
        decide: impl Fn(usize) -> Ink + Send + 'static,
        dies: impl Fn() + Send + Sync + 'static,
    ) {
        let mut state = self.state();
        state.decide = Box::new(decide);
        state.dies = Arc::new(dies);
        state.count = 0;
    }

    /// Sets room aside, as the program does when it starts.
    pub(crate) fn fill_reserve(&self) {
        self.folder.fill_reserve();
    }

    /// How many notes were written and erased since the last plan.
    pub(crate) fn count(&self) -> usize {
        self.state().count
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    fn around(&self, needs_room: bool, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        if state.is_dead {
            return Ok(());
        }
        let ink = (state.decide)(state.count);
        state.count += 1;
        match ink {
            Ink::NoRoom if needs_room => Err(io::ErrorKind::StorageFull.into()),
            Ink::Holds | Ink::NoRoom => act(),
            Ink::DiesBefore | Ink::DiesAfter => {
                if ink == Ink::DiesAfter {
                    act()?;
                }
                state.is_dead = true;
                (state.dies)();
                Ok(())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes for Paper {
    fn write(&self, key: &str, note: &[u8]) -> io::Result<()> {
        self.around(true, || self.folder.write(key, note))
    }

    /// Not by another thread, of which nobody can say how quick it is.
    fn write_aside(self: Arc<Self>, key: String, note: Vec<u8>) -> Written {
        Box::pin(async move {
            if let Some(pace) = &self.pace {
                pace.pause().await;
            }
            let written = self.write(&key, &note);
            if let Some(pace) = &self.pace {
                pace.pause().await;
            }
            written
        })
    }

    fn write_in_reserve(&self, key: &str, note: &[u8]) -> io::Result<()> {
        self.around(false, || self.folder.write_in_reserve(key, note))
    }

    fn erase(&self, key: &str, for_good: bool) -> io::Result<()> {
        self.around(false, || self.folder.erase(key, for_good))
    }

    fn read(&self, prefix: &str) -> Vec<(String, io::Result<Vec<u8>>)> {
        self.folder.read(prefix)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.path(key)
    }
}

impl fmt::Debug for Paper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.folder.fmt(f)
    }
}
