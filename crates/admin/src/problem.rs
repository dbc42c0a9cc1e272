//! Refusals as problem documents (RFC 9457), with one map from each floor's errors to a status.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use strongroom_identity::IdentityError;
use strongroom_pool::PoolError;
use strongroom_store::{ErrorKind, StoreError};
use strongroom_vfs::VfsError;

use crate::rows::RowsError;
use crate::tokens::TokenError;
use crate::types::ProblemDocument;

/// The password was right, and the second factor is wanted.
pub(crate) const CODE_WANTED: &str = "urn:strongroom:code-wanted";

/// Why a request was not done.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    retry_after_s: Option<u64>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            kind: "about:blank",
            detail: detail.into(),
            retry_after_s: None,
        }
    }

    pub fn internal(detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail.to_string())
    }

    pub fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    }

    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// What was asked for makes no sense.
    pub fn wrong(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(crate) fn code_wanted() -> Problem {
        Problem {
            kind: CODE_WANTED,
            ..Problem::unauthorized("the code of the second factor is wanted")
        }
    }

    pub(crate) fn wait(seconds: u64) -> Problem {
        Problem {
            retry_after_s: Some(seconds),
            ..Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!("too many failed attempts; try again in {seconds} s"),
            )
        }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn is_code_wanted(&self) -> bool {
        self.kind == CODE_WANTED
    }

    /// From the document of another handler's answer.
    pub(crate) fn of_document(status: StatusCode, document: ProblemDocument) -> Problem {
        Problem {
            kind: if document.kind == CODE_WANTED {
                CODE_WANTED
            } else {
                "about:blank"
            },
            ..Problem::new(status, document.detail)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = ProblemDocument {
            kind: self.kind.to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
        };
        let body = serde_json::to_string(&document).unwrap_or_default();
        let kind = [(CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, body).into_response();
        if let Some(seconds) = self.retry_after_s {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        // For the log of acts.
        response.extensions_mut().insert(self);
        response
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

impl From<RowsError> for Problem {
    fn from(error: RowsError) -> Problem {
        match error {
            RowsError::Store(error) => error.into(),
            RowsError::Corrupt(_) => Problem::internal(error),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Problem {
        match error {
            TokenError::TooMany => Problem::new(StatusCode::CONFLICT, error.to_string()),
            TokenError::Rows(error) => error.into(),
        }
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

impl From<VfsError> for Problem {
    fn from(error: VfsError) -> Problem {
        Problem::new(vfs_status(&error), error.to_string())
    }
}

fn vfs_status(error: &VfsError) -> StatusCode {
    match error {
        VfsError::NotFound
        | VfsError::PathNotFound
        | VfsError::NoMoreEntries
        | VfsError::NoSuchEa
        | VfsError::Closed => StatusCode::NOT_FOUND,
        VfsError::Exists
        | VfsError::NotEmpty
        | VfsError::SharingViolation
        | VfsError::Away
        | VfsError::LockConflict
        | VfsError::LockNotGranted
        | VfsError::RangeNotLocked
        | VfsError::DeletePending
        | VfsError::CannotDelete
        | VfsError::InUse
        | VfsError::TooMany
        | VfsError::TooManyLinks
        | VfsError::Cancelled => StatusCode::CONFLICT,
        VfsError::AccessDenied
        | VfsError::PrivilegeNotHeld
        | VfsError::ReadOnly
        | VfsError::InvalidOwner => StatusCode::FORBIDDEN,
        VfsError::IsDirectory
        | VfsError::NotDirectory
        | VfsError::InvalidName
        | VfsError::NameTooLong
        | VfsError::InvalidParameter
        | VfsError::InvalidRange
        | VfsError::NotSameVolume
        | VfsError::Symlink(_)
        | VfsError::NotReparsePoint
        | VfsError::InvalidReparse
        | VfsError::InvalidSecurity
        | VfsError::InvalidEaName
        | VfsError::EaTooLarge
        | VfsError::NotSupported => StatusCode::UNPROCESSABLE_ENTITY,
        VfsError::NoSpace | VfsError::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
        VfsError::Forgotten => StatusCode::GONE,
        VfsError::Offline(_) => StatusCode::SERVICE_UNAVAILABLE,
        VfsError::Corrupt(_) | VfsError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
