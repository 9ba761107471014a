//! Calls into the kernel block: they are made on threads that may.

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::kernel::KernelError;
use crate::serial::Held;
use crate::{Error, IfName};

/// Runs `job` on a thread that may block. A call into the kernel cannot be interrupted: when
/// nobody waits any more for what it made, `undo` gets that, and the interface stays held until then.
pub(super) async fn on_thread<T: Send + 'static>(
    held: &Held,
    (action, interface): (&'static str, &IfName),
    deadline: Instant,
    job: impl FnOnce() -> Result<T, Error> + Send + 'static,
    undo: impl FnOnce(T) + Send + 'static,
) -> Result<T, Error> {
    let (report, reported) = oneshot::channel();
    let held = held.clone();
    spawn_blocking(move || {
        if let Err(Ok(unwanted)) = report.send(job()) {
            undo(unwanted);
        }
        drop(held);
    });
    match timeout_at(deadline, reported).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) | Err(_) => Err(Error::Busy {
            action,
            interface: interface.clone(),
        }),
    }
}

/// Runs a question that needs no turn on a thread that may block.
pub(super) async fn listed<T: Send + 'static>(
    list: impl FnOnce() -> Result<T, KernelError> + Send + 'static,
) -> Result<T, Error> {
    let listing = spawn_blocking(list);
    listing
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
        .map_err(Error::Listing)
}
