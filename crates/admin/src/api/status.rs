//! Everything at a glance.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Extracted;
use strongroom_store::{IndexStatus, StoreSpace};

use super::pool;
use crate::endpoint::{Access, Endpoint};
use crate::{Problem, State, types};

type Answer<T> = Result<T, Problem>;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/status",
            "get_status",
            "Everything at a glance",
            Access::WATCHERS,
            status,
        )
        .gives::<types::Status>(),
    ]
}

async fn status(Extracted(state): Extracted<Arc<State>>) -> Answer<Json<types::Status>> {
    let store = state.store.status();
    let space = state.store.space()?;
    Ok(Json(types::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: state.started.elapsed().as_secs(),
        settled: is_settled(&store),
        offline: store.offline.clone(),
        pool: pool::document(&state.pool)?,
        space: space_document(space),
        store: store_document(&store),
        smb: smb_document(&state),
        nfs: state.nfs.as_ref().map(nfs_document),
        works: state.vfs.works().into_iter().map(work_document).collect(),
        alarms: open_alarms(&state)?,
    }))
}

pub(super) fn work_document(work: strongroom_vfs::WorkStatus) -> types::Work {
    types::Work {
        what: work.what.to_owned(),
        share: work.share,
        session: work.session.0,
        done: work.done,
        total: work.total,
    }
}

/// Alarms that nobody has cleared.
fn open_alarms(state: &State) -> Answer<Vec<u64>> {
    let alarms = state.vfs.alarms()?.into_iter();
    let open = alarms.filter(|alarm| alarm.cleared.is_none());
    Ok(open.map(|alarm| alarm.id).collect())
}

/// Everything written is durable and in the index.
fn is_settled(store: &strongroom_store::StoreStatus) -> bool {
    store.dirty_bytes == 0 && store.overlay_rows == 0
}

fn store_document(store: &strongroom_store::StoreStatus) -> types::Store {
    types::Store {
        open_txg: store.open_txg,
        durable_txg: store.durable_txg,
        indexed_txg: store.indexed_txg,
        overlay_rows: store.overlay_rows,
        overlay_bytes: store.overlay_bytes,
        dirty_bytes: store.dirty_bytes,
        log_bytes: store.log_bytes,
        log_bytes_max: store.log_bytes_max,
        log_repairs: store.log_repairs,
        index: index_document(store.index),
        history_since_s: store
            .history_horizon
            .map(strongroom_device::Timestamp::seconds),
    }
}

pub(super) fn space_document(space: StoreSpace) -> types::Space {
    types::Space {
        total: space.total,
        used: space.used,
        available: space.available,
        reserved: space.reserved,
        used_present: space.used_present,
        used_history: space.used_history,
        history_yields: space.history_yields,
        dead: space.dead,
        stored: space.stored,
        uncompressed: space.uncompressed,
    }
}

pub fn index_document(index: IndexStatus) -> types::Index {
    types::Index {
        bytes: index.bytes,
        copies_good: index.copies_good,
        copies: index.copies,
        bad_pages: index.bad_pages,
        repaired_pages: index.repaired_pages,
        lost_pages: index.lost_pages,
        reopened: index.reopened,
    }
}

fn nfs_document((server, address): &(Arc<strongroom_nfs::Server>, SocketAddr)) -> types::Nfs {
    let status = server.status();
    types::Nfs {
        address: address.to_string(),
        connections: status.connections,
        requests: status.requests,
    }
}

fn smb_document(state: &State) -> types::Smb {
    let status = state.smb.status();
    types::Smb {
        address: state.smb_address.to_string(),
        connections: status.connections,
        sessions: status.sessions,
        opens: status.opens,
        requests: status.requests,
    }
}
