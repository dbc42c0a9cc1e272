//! The administration interface: HTTP and JSON on a Unix socket in the data directory, for its owner only.
//!
//! | route | does |
//! |---|---|
//! | `GET /v1/status` | [`types::Status`] |
//! | `GET /v1/pool` | [`types::PoolReport`] |
//! | `POST /v1/pool/disks` | adds a disk, or replaces one ([`types::NewDisk`]) |
//! | `DELETE /v1/pool/disks/{disk}` | empties a disk and takes it out |
//! | `POST /v1/pool/disks/{disk}/spare` | makes a disk a spare or one that holds data ([`types::Spare`]) |
//! | `GET`, `POST`, `DELETE /v1/pool/scrub` | lists scrubs ([`types::Job`]), starts one, stops those that run |
//! | `GET /v1/users`, `POST /v1/users` | lists, makes ([`types::NewUser`]) |
//! | `DELETE /v1/users/{name}` | removes |
//! | `GET /v1/shares`, `POST /v1/shares` | lists, makes ([`types::NewShare`]) |
//! | `DELETE /v1/shares/{name}` | removes |
//!
//! What is refused is answered with a problem document (RFC 9457).

pub(crate) mod pool;
mod problem;
mod routes;
pub(crate) mod types;

pub(crate) use routes::{State, index_document, router};
