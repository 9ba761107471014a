//! When a debt is tried again.

use std::time::Duration;

use http::StatusCode;

use super::Debt;

/// What becomes of a debt after an attempt.
pub(super) enum Next {
    /// It is struck out.
    Done,
    /// It is tried again after a pause.
    Again(Duration),
}

/// The pauses between the attempts at one debt, and what was said of it.
#[derive(Default)]
pub(super) struct Pauses {
    failures: u32,
    looks: usize,
    said: Option<String>,
}

const FIRST: Duration = Duration::from_millis(500);
/// While Neutron is away, or others still use the object.
const LONGEST: Duration = Duration::from_secs(60);
/// After a refusal that only a change of rights or of the object can undo.
const LONGEST_OF_REFUSED: Duration = Duration::from_secs(3600);
/// Neutron may finish a request long after the connection that it came by has broken: when it is
/// looked again for what it has made.
const LOOKS: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(40),
];

impl Pauses {
    pub(super) fn after_success(&mut self, debt: &Debt) -> Next {
        self.failures = 0;
        match LOOKS.get(self.looks).filter(|_| debt.may_appear_later()) {
            Some(pause) => {
                self.looks += 1;
                Next::Again(*pause)
            }
            None => Next::Done,
        }
    }

    pub(super) fn after(&mut self, error: &neutron_client::Error, debt: &Debt) -> Next {
        let in_use = error.status() == Some(StatusCode::CONFLICT);
        let (factor, longest) = if in_use || error.is_passing() {
            (2, LONGEST)
        } else {
            (4, LONGEST_OF_REFUSED)
        };
        let pause = FIRST.saturating_mul(factor_to(factor, self.failures));
        self.failures += 1;
        if in_use && pause >= longest {
            log(error, debt, "left as it is: others use it");
            return Next::Done;
        }
        // The same again is no news.
        let words = error.fault().map(str::to_owned);
        if self.failures == 1 || self.said != words {
            log(error, debt, "not done yet, trying again");
            self.said = words;
        } else {
            tracing::debug!(?debt, "still not done");
        }
        Next::Again(pause.min(longest))
    }
}

fn factor_to(factor: u32, failures: u32) -> u32 {
    factor.saturating_pow(failures)
}

fn log(error: &neutron_client::Error, debt: &Debt, outcome: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, ?debt, "{outcome}");
}
