//! The routes: each asks one floor and answers with one document.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, State as Extracted};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use strongroom_identity::Identity;
use strongroom_pool::Pool;
use strongroom_store::{Compression, IndexStatus, Store, StoreSpace};
use strongroom_vfs::{ShareChange, Sid, Vfs, VfsError};

use super::pool;
use super::problem::Problem;
use super::types;
use crate::disks::Directories;

type Answer<T> = Result<T, Problem>;

/// What the routes speak about.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) pool: Arc<Pool>,
    pub(crate) store: Arc<Store>,
    pub(crate) vfs: Arc<Vfs>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) directories: Arc<Directories>,
    pub(crate) smb: Arc<strongroom_smb::Server>,
    pub(crate) smb_address: SocketAddr,
    /// With where it is served.
    pub(crate) nfs: Option<(Arc<strongroom_nfs::Server>, SocketAddr)>,
    /// Told when a share was added or removed.
    pub(crate) shares_changed: tokio::sync::watch::Sender<()>,
    pub(crate) started: Instant,
}

pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/users", get(list_users).post(add_user))
        .route("/v1/users/{name}", delete(remove_user))
        .route("/v1/shares", get(list_shares).post(add_share))
        .route(
            "/v1/shares/{name}",
            delete(remove_share).patch(change_share),
        )
        .merge(pool::routes())
        .merge(super::history::routes())
        .merge(super::alarms::routes())
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such route"))
        .with_state(state)
}

async fn list_users(Extracted(state): Extracted<Arc<State>>) -> Json<Vec<types::User>> {
    Json(
        state
            .identity
            .users()
            .into_iter()
            .map(user_document)
            .collect(),
    )
}

fn user_document(user: strongroom_identity::User) -> types::User {
    let sid = user.sid.to_string();
    types::User {
        name: user.name,
        sid,
        admin: user.admin,
        disabled: user.disabled,
    }
}

/// Hashing a password takes tens of milliseconds on purpose, so it runs where it holds nobody up.
async fn add_user(
    Extracted(state): Extracted<Arc<State>>,
    Json(new): Json<types::NewUser>,
) -> Answer<(StatusCode, Json<types::User>)> {
    let identity = Arc::clone(&state.identity);
    let made = tokio::task::spawn_blocking(move || {
        identity.add_user(strongroom_identity::NewUser {
            name: &new.name,
            password: &new.password,
            admin: new.admin,
        })
    });
    let user = made.await.map_err(Problem::internal)??;
    state.store.sync_all().await?;
    tracing::info!(user = user.name, admin = user.admin, "user added");
    Ok((StatusCode::CREATED, Json(user_document(user))))
}

async fn remove_user(
    Extracted(state): Extracted<Arc<State>>,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    state.identity.remove_user(&name)?;
    state.smb.apply_changes().await;
    state.store.sync_all().await?;
    tracing::info!(user = name, "user removed");
    Ok(StatusCode::NO_CONTENT)
}

async fn list_shares(Extracted(state): Extracted<Arc<State>>) -> Json<Vec<types::Share>> {
    let shares = state.vfs.shares();
    Json(
        shares
            .iter()
            .map(|share| share_document(&state, share))
            .collect(),
    )
}

fn share_document(state: &State, share: &strongroom_vfs::Share) -> types::Share {
    let name_of = |sid: &Sid| {
        state
            .identity
            .sid_name(sid)
            .map_or_else(|| sid.to_string(), |account| account.name)
    };
    types::Share {
        name: share.name.clone(),
        read_only: share.read_only,
        encrypted: share.encrypt,
        hide_unreadable: share.hide_unreadable,
        time_machine: share.time_machine,
        size_limit: state.vfs.size_limit(share).ok().flatten(),
        continuously_available: share.continuously_available,
        users: share
            .users
            .as_ref()
            .map(|users| users.iter().map(name_of).collect()),
        nfs: share.exports.iter().map(ToString::to_string).collect(),
        compress: share.compression.to_string(),
    }
}

async fn add_share(
    Extracted(state): Extracted<Arc<State>>,
    Json(new): Json<types::NewShare>,
) -> Answer<(StatusCode, Json<types::Share>)> {
    let users = new
        .users
        .map(|names| resolve(&state.identity, &names))
        .transpose()?;
    let exports: Vec<_> = new
        .nfs
        .iter()
        .map(|text| text.parse().map_err(wrong_export))
        .collect::<Answer<_>>()?;
    let name = new.name;
    let request = strongroom_vfs::NewShare {
        name: name.clone(),
        read_only: new.read_only,
        encrypt: new.encrypted,
        hide_unreadable: new.hide_unreadable,
        time_machine: new.time_machine,
        size_limit: new.size_limit,
        continuously_available: new.continuously_available,
        users,
        exports,
        compression: compression(&new.compress)?,
        ..Default::default()
    };
    let share = state
        .vfs
        .add_share(request)
        .map_err(|error| share_problem(&name, error))?;
    state.store.sync_all().await?;
    state.shares_changed.send_replace(());
    tracing::info!(share = name, read_only = share.read_only, "share added");
    Ok((StatusCode::CREATED, Json(share_document(&state, &share))))
}

/// Nothing said is as good as off.
fn compression(text: &str) -> Answer<Compression> {
    if text.is_empty() {
        return Ok(Compression::default());
    }
    text.parse()
        .map_err(|why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why))
}

async fn change_share(
    Extracted(state): Extracted<Arc<State>>,
    Path(name): Path<String>,
    Json(change): Json<types::ShareChange>,
) -> Answer<Json<types::Share>> {
    let change = ShareChange {
        compression: change.compress.as_deref().map(compression).transpose()?,
    };
    let share = state
        .vfs
        .change_share(&name, change)
        .map_err(|error| share_problem(&name, error))?;
    state.store.sync_all().await?;
    tracing::info!(share = name, compression = %share.compression, "share changed");
    Ok(Json(share_document(&state, &share)))
}

fn resolve(identity: &Identity, names: &[String]) -> Answer<Vec<Sid>> {
    names
        .iter()
        .map(|name| identity.sid_of(name).ok_or_else(|| nobody(name)))
        .collect()
}

fn wrong_export(why: String) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!("{why}: it is written as 192.168.1.0/24:rw:root-squash"),
    )
}

fn nobody(name: &str) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!("there is no user or group named {name}; `user list` shows all users"),
    )
}

async fn remove_share(
    Extracted(state): Extracted<Arc<State>>,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    state
        .vfs
        .remove_share(&name)
        .map_err(|error| share_problem(&name, error))?;
    state.smb.apply_changes().await;
    state.store.sync_all().await?;
    state.shares_changed.send_replace(());
    tracing::info!(share = name, "share removed");
    Ok(StatusCode::NO_CONTENT)
}

/// What the file system's refusal means for a share of this name.
pub(super) fn share_problem(name: &str, error: VfsError) -> Problem {
    if matches!(error, VfsError::Exists) {
        return Problem::new(
            StatusCode::CONFLICT,
            format!("there is a share named {name} already; choose another name"),
        );
    }
    if matches!(error, VfsError::NotFound) {
        return Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no share named {name}; `share list` shows all"),
        );
    }
    if matches!(error, VfsError::InvalidName | VfsError::NameTooLong) {
        return Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "{name:?} cannot be a share's name: it has 1 to 80 characters, none of them \
                 \" \\ / [ ] : | < > + = ; , * ? or a control character, and IPC$ is taken"
            ),
        );
    }
    Problem::from(error)
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

fn work_document(work: strongroom_vfs::WorkStatus) -> types::Work {
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

pub(crate) fn index_document(index: IndexStatus) -> types::Index {
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
