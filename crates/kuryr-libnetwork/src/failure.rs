//! The only way an error leaves for Docker.

use std::error::Error as _;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kuryr_core::{Error, Kind};
use serde::Serialize;

use crate::wire::encoded;

/// Why a call failed, on one line, with the whole chain of causes.
///
/// It rides along in the response's extensions, for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into().replace(['\r', '\n'], " ");
        Self { status, message }
    }

    /// The request is not what Docker's protocol says.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// It should have worked.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<Error> for Failure {
    /// Never 404: Docker reads that as "the driver lacks this method" and carries on as if all
    /// were well.
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Absent | Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self::new(status, message)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        /// Docker looks for `Err` from a network driver and for `Error` from an IPAM driver; with
        /// a status other than 200 it looks for `Err` from both.
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            err: &'a str,
            error: &'a str,
        }
        let body = Body {
            err: &self.message,
            error: &self.message,
        };
        let mut response = encoded(self.status, &body).unwrap_or_default();
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Deleting what is not there has succeeded.
///
/// Docker only logs an error from a verb that deletes, and then forgets the object.
pub(crate) fn gone_is_done(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.kind() == Kind::Absent => {
            tracing::debug!(%error, "there was nothing to remove");
            Ok(())
        }
        other => other,
    }
}
