//! What the network is told of the shares, as they come and go.

use std::sync::Arc;

use strongroom_discovery::{Discovery, Volume};
use strongroom_vfs::{Share, Vfs};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::Floors;

/// The announcements, kept up to date until they are stopped.
#[derive(Debug)]
pub(super) struct Announcing {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Announcing {
    pub(super) fn start(
        discovery: Discovery,
        floors: &Floors,
        shares: watch::Receiver<()>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (vfs, pool) = (Arc::clone(&floors.vfs), floors.pool.id().0);
        let task = tokio::spawn(announce(discovery, vfs, pool, shares, stopped));
        Self { task, stop }
    }

    /// Returns when everybody was told, or will find out.
    pub(super) async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the announcements ended early");
        }
    }
}

async fn announce(
    mut discovery: Discovery,
    vfs: Arc<Vfs>,
    pool: [u8; 16],
    mut shares: watch::Receiver<()>,
    stopped: oneshot::Receiver<()>,
) {
    tokio::pin!(stopped);
    loop {
        let all = vfs.shares();
        let backups = all.iter().filter(|share| share.time_machine);
        discovery.show_backups(&backups.map(|share| volume(share, pool)).collect::<Vec<_>>());
        tokio::select! {
            _ = &mut stopped => break,
            changed = shares.changed() => if changed.is_err() { break },
        }
    }
    discovery.stop().await;
}

/// A share keeps its identifier, so that a Mac knows its backups again.
fn volume(share: &Share, pool: [u8; 16]) -> Volume {
    let mut id = pool;
    for (byte, of_share) in id.iter_mut().rev().zip(share.id.0.to_le_bytes()) {
        *byte ^= of_share;
    }
    Volume {
        name: share.name.clone(),
        id,
    }
}
