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
    /// How the last attempts have failed, and how many in a row in the same way.
    failing: Option<(Why, u32)>,
    looks: usize,
    /// Of the debt that the looks were for.
    turn: Option<u64>,
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
    pub(super) fn after_success(&mut self, debt: &Debt, turn: u64) -> Next {
        self.failing = None;
        // What has replaced a debt may be about a later request.
        if self.turn.replace(turn) != Some(turn) {
            self.looks = 0;
        }
        match LOOKS.get(self.looks).filter(|_| debt.may_appear_later()) {
            Some(pause) => {
                self.looks += 1;
                Next::Again(*pause)
            }
            None => Next::Done,
        }
    }

    pub(super) fn after(&mut self, error: &neutron_client::Error, debt: &Debt) -> Next {
        let why = Why::of(error, debt);
        let (factor, longest) = match why {
            Why::Away | Why::InUse => (2, LONGEST),
            Why::Refused => (4, LONGEST_OF_REFUSED),
        };
        // How long Neutron was away says nothing of how long to wait after its refusal.
        let before = self.failing.filter(|(last, _)| *last == why);
        let count = before.map_or(0, |(_, count)| count);
        let first = self.failing.is_none();
        self.failing = Some((why, count + 1));
        let pause = FIRST.saturating_mul(factor_to(factor, count));
        if why == Why::InUse && pause >= longest {
            log(error, debt, "left as it is: others use it");
            return Next::Done;
        }
        // The same again is no news.
        let words = error.fault().map(str::to_owned);
        if first && error.status() == Some(StatusCode::PRECONDITION_FAILED) {
            tracing::debug!(?debt, "somebody has changed it meanwhile, trying again");
        } else if first || self.said != words {
            log(error, debt, "not done yet, trying again");
            self.said = words;
        } else {
            tracing::debug!(?debt, "still not done");
        }
        Next::Again(pause.min(longest))
    }
}

/// Why an attempt has failed.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Why {
    /// Or it is tried as often as if it were.
    Away,
    InUse,
    Refused,
}

impl Why {
    fn of(error: &neutron_client::Error, debt: &Debt) -> Self {
        // A container waits for it to be reached, and a quota has room again when another has gone.
        if matches!(debt, Debt::Open { .. }) {
            return Self::Away;
        }
        // Of a subnet pool in use Neutron says that the request is bad.
        let in_use = error.status() == Some(StatusCode::CONFLICT)
            || error.fault() == Some("SubnetPoolDeleteError");
        match (in_use, error.is_passing()) {
            (true, _) => Self::InUse,
            (false, true) => Self::Away,
            (false, false) => Self::Refused,
        }
    }
}

fn factor_to(factor: u32, failures: u32) -> u32 {
    factor.saturating_pow(failures)
}

fn log(error: &neutron_client::Error, debt: &Debt, outcome: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, ?debt, "{outcome}");
}
