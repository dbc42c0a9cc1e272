//! The administration interface's socket.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::process::umask;
use strongroom_admin::{State, api};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::data::SocketPath;
use crate::failure::{Failure, Result};

/// Serves the administration interface until the task is aborted. The caller holds the data directory's lock, so a
/// socket that is there already is a leftover.
pub(crate) fn start(data: &Path, state: &Arc<State>) -> Result<JoinHandle<()>> {
    let failed = |error: std::io::Error| Failure::path("make the control socket in", data, &error);
    let socket = SocketPath::of(data).map_err(failed)?;
    match std::fs::remove_file(socket.as_path()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = bind_for_owner_only(socket.as_path()).map_err(failed)?;
    let router = api::local_router(state);
    Ok(tokio::spawn(async move {
        // Never returns before it is aborted (axum::serve).
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the administration interface has ended");
        }
    }))
}

/// The socket is never open to others, not even between its making and a change of its mode.
fn bind_for_owner_only(path: &Path) -> std::io::Result<UnixListener> {
    let before = umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    bound
}
