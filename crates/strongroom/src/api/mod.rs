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
//! | `GET`, `POST /v1/shares/{name}/snapshots` | lists, makes ([`types::NewSnapshot`]) |
//! | `DELETE`, `POST /v1/shares/{name}/snapshots/{name}` | deletes, holds or locks ([`types::KeepSnapshot`]) |
//! | `GET`, `POST /v1/shares/{name}/retention` | how the past is kept ([`types::Retention`]) |
//! | `GET /v1/alarms` | who was noticed destroying files ([`types::Alarm`]) |
//! | `POST /v1/alarms/{id}/clear` | lets whoever it blocked change files again |
//! | `GET`, `POST /v1/alarms/permitted` | users who may encrypt ([`types::Permission`]) |
//! | `POST /v1/alarms/decoys` | makes a file a decoy ([`types::Decoy`]) |
//! | `GET`, `POST /v1/shares/{name}/alarm` | what an alarm does ([`types::AlarmSetting`]) |
//! | `GET`, `POST /v1/shares/{name}/schedule` | when snapshots are made by themselves ([`types::Schedule`]) |
//! | `POST /v1/shares/{name}/clone` | makes a share of what this one was ([`types::NewClone`]) |
//! | `POST /v1/history/list` | a folder or file as it was ([`types::Place`]) |
//! | `POST /v1/history/content` | up to 4 MiB of a file as it was ([`types::ContentWanted`]); nothing behind its end |
//! | `POST /v1/history/log` | who changed what ([`types::LogWanted`]) |
//! | `POST /v1/history/diff` | what differs ([`types::DiffWanted`]) |
//! | `DELETE /v1/works/{session}` | stops the rewind or undo that runs in a session |
//! | `POST /v1/rewind` | makes a share or a part of it what it was ([`types::RewindWanted`]) |
//! | `POST /v1/undo` | puts back what sessions changed ([`types::UndoWanted`]) |
//!
//! What is refused is answered with a problem document (RFC 9457).

mod alarms;
mod history;
pub(crate) mod pool;
mod problem;
mod routes;
pub(crate) mod types;

pub(crate) use routes::{State, index_document, router};
