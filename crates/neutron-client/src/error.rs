//! What can go wrong between us and Neutron.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use http::{Response, StatusCode};
use neutron_api::Fault;

type Cause = Box<dyn StdError + Send + Sync>;

/// What was being done, to what: "create port web-port".
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Act {
    verb: &'static str,
    object: String,
}

impl Act {
    pub(crate) fn new(verb: &'static str, object: String) -> Self {
        Self { verb, object }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.object)
    }
}

/// Why a call to Neutron failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neutron answered, with an error.
    #[error("Neutron refused to {act}: {fault} (HTTP {}{})", .status.as_u16(), request(.request_id))]
    Refused {
        /// What was being done.
        act: Act,
        /// HTTP's status.
        status: StatusCode,
        /// Neutron's reason.
        fault: Box<Fault>,
        /// Neutron's name for the exchange, to find it in Neutron's log.
        request_id: Option<String>,
    },
    /// No answer came.
    #[error("could not {act}: no answer from Neutron")]
    NoAnswer {
        /// What was being done.
        act: Act,
        /// Why not.
        source: Failure,
    },
    /// The deadline passed.
    #[error("could not {act} within the time limit; is Neutron overloaded or unreachable?")]
    Deadline {
        /// What was being done.
        act: Act,
    },
    /// An answer came that is not Neutron's.
    #[error("could not {act}: the answer is not what Neutron says (HTTP {}); is the endpoint right?", .status.as_u16())]
    Unreadable {
        /// What was being done.
        act: Act,
        /// HTTP's status.
        status: StatusCode,
        /// What was wrong with the body.
        source: serde_json::Error,
    },
    /// The request can't be put into HTTP.
    #[error("could not {act}: the request can't be written")]
    Unwritable {
        /// What was being done.
        act: Act,
        /// Why.
        source: Cause,
    },
}

fn request(id: &Option<String>) -> String {
    id.as_ref()
        .map(|id| format!(", request {id}"))
        .unwrap_or_default()
}

impl Error {
    pub(crate) fn refused(act: &Act, reply: &Response<Bytes>) -> Self {
        let request_id = reply
            .headers()
            .get("x-openstack-request-id")
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        Self::Refused {
            act: act.clone(),
            status: reply.status(),
            fault: Box::new(Fault::from_body(reply.body())),
            request_id,
        }
    }

    pub(crate) fn unreadable(
        act: &Act,
        source: serde_json::Error,
        reply: &Response<Bytes>,
    ) -> Self {
        Self::Unreadable {
            act: act.clone(),
            status: reply.status(),
            source,
        }
    }

    /// A list goes on with what it has had already, as if it had no end.
    pub(crate) fn repeats_itself(act: &Act, reply: &Response<Bytes>) -> Self {
        let source = serde::de::Error::custom("a page of the list has what an earlier one had");
        Self::unreadable(act, source, reply)
    }

    pub(crate) fn unwritable(act: &Act, source: impl Into<Cause>) -> Self {
        Self::Unwritable {
            act: act.clone(),
            source: source.into(),
        }
    }

    /// The status of Neutron's refusal.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::NoAnswer { .. }
            | Self::Deadline { .. }
            | Self::Unreadable { .. }
            | Self::Unwritable { .. } => None,
        }
    }

    /// The name of Neutron's exception, such as `IpAddressAlreadyAllocated`.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self::Refused { fault, .. } => Some(&fault.kind),
            Self::NoAnswer { .. }
            | Self::Deadline { .. }
            | Self::Unreadable { .. }
            | Self::Unwritable { .. } => None,
        }
    }

    /// Whether Neutron says of what that it is not there, such as `PortNotFound`.
    pub fn is_absence(&self) -> bool {
        let named = self
            .fault()
            .is_some_and(|kind| kind.ends_with("NotFound") && kind != VAGUE);
        self.status() == Some(StatusCode::NOT_FOUND) && named
    }

    /// Whether something is not found, be it the object, our right to see it, or the path.
    pub(crate) fn is_vague_absence(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND) && !self.is_absence()
    }

    /// Whether Neutron may have carried out what was asked all the same: its answer was lost, or can't be read.
    pub fn may_be_done(&self) -> bool {
        self.is_passing() || matches!(self, Self::Unreadable { .. })
    }

    /// Whether it is not Neutron's considered answer, so that asking again may help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NoAnswer { source, .. } => source.is_passing(),
            Self::Deadline { .. } => true,
            // Neutron's considered answer to a range that a pool does not have, but it maps no
            // status to this exception, and so the status is 500.
            Self::Refused { fault, .. } if fault.kind == "SubnetAllocationError" => false,
            Self::Refused { status, .. } | Self::Unreadable { status, .. } => {
                matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
            }
            Self::Unwritable { .. } => false,
        }
    }
}

/// What Neutron's web framework calls it when it does not get as far as the object.
const VAGUE: &str = "HTTPNotFound";

/// Why an exchange ended without a reply.
#[derive(Debug)]
pub enum Failure {
    /// It may be over soon: a broken connection, a server that starts.
    Passing(Cause),
    /// It stays until somebody changes something: wrong credentials, an unknown region.
    Lasting(Cause),
}

impl Failure {
    /// Whether trying again may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Passing(_))
    }

    fn cause(&self) -> &Cause {
        match self {
            Self::Passing(cause) | Self::Lasting(cause) => cause,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause().fmt(f)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause().source()
    }
}

impl From<Infallible> for Failure {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
