//! What is answered on a share that is continuously available is durable: its clients go on after the server's death as
//! if nothing had happened, and send nothing again that they were told is done.

use super::Server;
use super::open::{Open, Target};
use super::status::Failure;
use super::tree::{Root, Tree};

/// Waits until what was changed through an open is durable, if its share promises that.
pub(crate) async fn settle(server: &Server, open: &Open) -> Result<(), Failure> {
    let Target::File(file) = &open.target else {
        return Ok(());
    };
    if !promised(&open.tree) {
        return Ok(());
    }
    if file.handle.is_directory() || !file.handle.view().is_now() {
        server.vfs.sync_names().await?;
    } else {
        server.vfs.sync_handle(&file.handle).await?;
    }
    Ok(())
}

/// The same for what was made, removed or closed.
pub(crate) async fn settle_names(server: &Server, tree: &Tree) -> Result<(), Failure> {
    if promised(tree) {
        server.vfs.sync_names().await?;
    }
    Ok(())
}

fn promised(tree: &Tree) -> bool {
    match &tree.root {
        Root::Share(share) => share.continuously_available,
        Root::Pipes => false,
    }
}
