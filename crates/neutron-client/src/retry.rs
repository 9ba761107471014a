//! Trying again: where that is safe, with growing pauses, inside the call's deadline.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use http::Response;
use tokio::time::{Instant, sleep, timeout_at};
use tower::ServiceExt;

use crate::Neutron;
use crate::call::Call;
use crate::error::{Act, Error};

/// A Neutron that restarts is back within this time; one that is down longer is worth an error.
const PATIENCE: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// For how long and how often one call is tried again.
pub(crate) struct Retries {
    pauses: ExponentialBackoff,
    until: Instant,
}

impl Retries {
    /// Pauses before another attempt, or gives `error` back if there is to be none.
    pub(crate) async fn pause_after(&mut self, error: Error) -> Result<(), Error> {
        let pause = self.pauses.next().unwrap_or(LONGEST_PAUSE);
        if !error.is_passing()
            || matches!(error, Error::Deadline { .. })
            || Instant::now() + pause >= self.until
        {
            return Err(error);
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "trying again in {pause:.1?}"
        );
        sleep(pause).await;
        Ok(())
    }
}

impl Neutron {
    pub(crate) fn retries(&self) -> Retries {
        let patience = Instant::now() + PATIENCE;
        Retries {
            pauses: ExponentialBuilder::new()
                .with_min_delay(FIRST_PAUSE)
                .with_max_delay(LONGEST_PAUSE)
                .with_jitter()
                .without_max_times()
                .build(),
            until: self
                .deadline
                .map_or(patience, |deadline| deadline.min(patience)),
        }
    }

    /// A call that can be made any number of times with the same outcome.
    pub(crate) async fn repeat(&self, act: &Act, call: &Call) -> Result<Response<Bytes>, Error> {
        let mut retries = self.retries();
        loop {
            match self.once(act, call).await {
                Ok(reply) => return Ok(reply),
                Err(error) => retries.pause_after(error).await?,
            }
        }
    }

    /// One attempt.
    pub(crate) async fn once(&self, act: &Act, call: &Call) -> Result<Response<Bytes>, Error> {
        let exchange = self.exchange.clone().oneshot(call.request(act)?);
        let reply = match self.deadline {
            Some(deadline) => timeout_at(deadline, exchange)
                .await
                .map_err(|_| Error::Deadline { act: act.clone() })?,
            None => exchange.await,
        };
        match reply {
            Ok(reply) if reply.status().is_success() => Ok(reply),
            Ok(reply) => Err(Error::refused(act, &reply)),
            Err(source) => Err(Error::NoAnswer {
                act: act.clone(),
                source,
            }),
        }
    }
}
