//! The administration interface: HTTP and JSON on a Unix socket in the data directory, for its owner only.
//!
//! | route | does |
//! |---|---|
//! | `GET /v1/status` | [`types::Status`] |
//! | `GET /v1/users`, `POST /v1/users` | lists, makes ([`types::NewUser`]) |
//! | `DELETE /v1/users/{name}` | removes |
//! | `GET /v1/shares`, `POST /v1/shares` | lists, makes ([`types::NewShare`]) |
//! | `DELETE /v1/shares/{name}` | removes |
//!
//! What is refused is answered with a problem document (RFC 9457).

mod problem;
mod routes;
pub(crate) mod types;

pub(crate) use routes::{State, router};
