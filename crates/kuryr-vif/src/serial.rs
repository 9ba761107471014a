//! One verb at a time on one interface.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

use crate::{Error, IfName};

/// The turns of all interfaces; those that nobody waits for cost nothing.
#[derive(Default)]
pub(crate) struct Serial(Mutex<HashMap<IfName, Weak<Turn<()>>>>);

/// The right to change an interface, until the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Held(#[expect(dead_code, reason = "held, not read")] Arc<OwnedMutexGuard<()>>);

impl Serial {
    /// Waits for the turn of `interface`.
    pub(crate) async fn hold(
        &self,
        action: &'static str,
        interface: &IfName,
        deadline: Instant,
    ) -> Result<Held, Error> {
        let turn = self.turn(interface);
        match timeout_at(deadline, turn.lock_owned()).await {
            Ok(guard) => Ok(Held(Arc::new(guard))),
            Err(_) => Err(Error::Busy {
                action,
                interface: interface.clone(),
            }),
        }
    }

    fn turn(&self, interface: &IfName) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(interface).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::new(()));
        turns.insert(interface.clone(), Arc::downgrade(&turn));
        turn
    }
}
