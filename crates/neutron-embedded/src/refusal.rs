//! Saying no, as Neutron does: a status, the name of an exception, a sentence.

use std::error::Error as _;
use std::fmt::Display;

use http::StatusCode;
use neutron_api::Fault;

use crate::disk::SaveError;

/// A refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) fault: Fault,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            fault: Fault {
                kind: kind.to_owned(),
                message: message.into(),
                detail: String::new(),
            },
        }
    }

    /// What is wrong with the request itself, whatever exists.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::invalid("HTTPBadRequest", message)
    }

    /// What is wrong with the request, by the name of an exception.
    pub(crate) fn invalid(kind: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, message)
    }

    /// What Neutron words as "invalid input".
    pub(crate) fn input(reason: impl Display) -> Self {
        let message = format!("Invalid input for operation: {reason}.");
        Self::invalid("InvalidInput", message)
    }

    /// What does not go together with what exists.
    pub(crate) fn conflict(kind: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, message)
    }

    /// What does not exist.
    pub(crate) fn not_found(kind: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, kind, message)
    }

    /// What Neutron stumbles over itself.
    pub(crate) fn stumble() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "HTTPInternalServerError",
            "Request Failed: internal server error while processing your request.",
        )
    }

    /// What could not be kept, by the name that Neutron's database layer has for it.
    pub(crate) fn unsaved(error: &SaveError) -> Self {
        let cause = error.source().map(ToString::to_string);
        let message = format!("{error}: {}.", cause.unwrap_or_default());
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "DBError", message)
    }

    /// A path that leads nowhere.
    pub(crate) fn no_such_path() -> Self {
        Self::not_found("HTTPNotFound", "The resource could not be found.")
    }

    /// A path that leads somewhere, but not with this method.
    pub(crate) fn no_such_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "HTTPMethodNotAllowed",
            "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        )
    }
}
