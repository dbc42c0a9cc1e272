//! Refusals as problem documents (RFC 9457), with one map from each floor's errors to a status.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use strongroom_identity::IdentityError;
use strongroom_pool::PoolError;
use strongroom_store::{ErrorKind, StoreError};
use strongroom_vfs::VfsError;

use super::types::ProblemDocument;
use crate::failure::Failure;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            detail: detail.into(),
        }
    }

    pub(crate) fn internal(detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = ProblemDocument {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let body = serde_json::to_string(&document).unwrap_or_default();
        (
            self.status,
            [(CONTENT_TYPE, "application/problem+json")],
            body,
        )
            .into_response()
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Problem {
        let status = match &error {
            IdentityError::Name(_) | IdentityError::Password(_) => StatusCode::UNPROCESSABLE_ENTITY,
            IdentityError::Exists { .. } | IdentityError::LastAdmin { .. } => StatusCode::CONFLICT,
            IdentityError::NoUser { .. } | IdentityError::NoGroup { .. } => StatusCode::NOT_FOUND,
            IdentityError::BuiltIn { .. } => StatusCode::FORBIDDEN,
            IdentityError::Full => StatusCode::INSUFFICIENT_STORAGE,
            IdentityError::Corrupt { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            IdentityError::Store(error) => store_status(error),
        };
        Problem::new(status, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        Problem::new(store_status(&error), error.to_string())
    }
}

fn store_status(error: &StoreError) -> StatusCode {
    match error.kind() {
        ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Forgotten => StatusCode::GONE,
        ErrorKind::Offline => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<PoolError> for Problem {
    fn from(error: PoolError) -> Problem {
        let status = match error.kind() {
            strongroom_pool::ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            strongroom_pool::ErrorKind::Invalid | strongroom_pool::ErrorKind::Refused => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            strongroom_pool::ErrorKind::Offline => StatusCode::SERVICE_UNAVAILABLE,
            strongroom_pool::ErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, error.to_string())
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, failure.to_string())
    }
}

impl From<VfsError> for Problem {
    fn from(error: VfsError) -> Problem {
        Problem::internal(error)
    }
}
