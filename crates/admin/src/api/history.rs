//! Snapshots, retention, and looking at the past of shares.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State as Extracted};
use axum::http::StatusCode;
use axum::{Extension, Json};
use strongroom_vfs::{
    AccessMask, CreateOptions, DirCursor, FileTime, Handle, OpenRequest, Retention, SessionId,
    Share, SnapshotSchedule, Vfs, VfsError, View,
};

use super::shares::share_problem;
use crate::endpoint::{Access, Endpoint};
use crate::{Caller, Problem, Scope, State, Who, types};

type Answer<T> = Result<T, Problem>;

/// Bytes of a file in one answer.
const CONTENT_MAX: usize = 4 << 20;
/// Entries of a listing, lines of a log, differences: at most so many in one answer.
const LINES_MAX: usize = 100_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access as A;
    let created = StatusCode::CREATED;
    vec![
        Endpoint::get(
            "/shares/{share}/snapshots",
            "list_snapshots",
            "A share's snapshots",
            A::WATCHERS,
            list_snapshots,
        )
        .gives_list::<types::Snapshot>(),
        Endpoint::post(
            "/shares/{share}/snapshots",
            "create_snapshot",
            "Keeps a share as it is, or was",
            A::OPERATORS,
            create_snapshot,
        )
        .takes::<types::NewSnapshot>()
        .gives::<types::Snapshot>()
        .with_status(created),
        Endpoint::delete(
            "/shares/{share}/snapshots/{name}",
            "delete_snapshot",
            "Deletes a snapshot",
            A::ADMINISTRATORS,
            delete_snapshot,
        ),
        Endpoint::post(
            "/shares/{share}/snapshots/{name}",
            "keep_snapshot",
            "Holds or locks a snapshot",
            A::ADMINISTRATORS,
            keep_snapshot,
        )
        .takes::<types::KeepSnapshot>(),
        Endpoint::get(
            "/shares/{share}/retention",
            "get_retention",
            "How a share's past is kept",
            A::WATCHERS,
            retention,
        )
        .gives::<types::Retention>(),
        Endpoint::post(
            "/shares/{share}/retention",
            "set_retention",
            "Says how a share's past is kept",
            A::ADMINISTRATORS,
            set_retention,
        )
        .takes::<types::Retention>(),
        Endpoint::get(
            "/shares/{share}/schedule",
            "get_schedule",
            "When snapshots are made by themselves",
            A::WATCHERS,
            schedule,
        )
        .gives::<types::Schedule>(),
        Endpoint::post(
            "/shares/{share}/schedule",
            "set_schedule",
            "Says when snapshots are made by themselves",
            A::OPERATORS,
            set_schedule,
        )
        .takes::<types::Schedule>(),
        Endpoint::post(
            "/shares/{share}/clone",
            "clone_share",
            "Makes a share of what this one was",
            A::ADMINISTRATORS,
            clone_share,
        )
        .takes::<types::NewClone>()
        .gives::<types::Rewound>()
        .with_status(created),
        Endpoint::post(
            "/history/list",
            "list_past",
            "A folder or file as it was",
            A::SIGNED_IN,
            list,
        )
        .question()
        .scope(Scope::Files)
        .takes::<types::Place>()
        .gives::<types::PastListing>(),
        Endpoint::post(
            "/history/content",
            "read_past",
            "Up to 4 MiB of a file as it was; nothing behind its end",
            A::SIGNED_IN,
            content,
        )
        .question()
        .scope(Scope::Files)
        .takes::<types::ContentWanted>()
        .gives_bytes("application/octet-stream"),
        Endpoint::post(
            "/history/log",
            "list_changes",
            "Who changed what, newest first",
            A::WATCHERS,
            log,
        )
        .question()
        .takes::<types::LogWanted>()
        .gives_list::<types::LogLine>(),
        Endpoint::post(
            "/history/diff",
            "list_differences",
            "What differs between two times",
            A::WATCHERS,
            diff,
        )
        .question()
        .takes::<types::DiffWanted>()
        .gives_list::<types::Difference>(),
        Endpoint::post(
            "/rewind",
            "rewind",
            "Makes a share or a part of it what it was",
            A::OPERATORS,
            rewind,
        )
        .takes::<types::RewindWanted>()
        .gives::<types::Rewound>(),
        Endpoint::delete(
            "/works/{id}",
            "stop_work",
            "Stops a rewind or undo, named by its session",
            A::OPERATORS,
            stop,
        ),
        Endpoint::post(
            "/undo",
            "undo",
            "Puts back what sessions changed",
            A::OPERATORS,
            undo,
        )
        .takes::<types::UndoWanted>()
        .gives::<types::Undone>(),
    ]
}

pub(super) fn share_named(state: &State, name: &str) -> Answer<Arc<Share>> {
    state.vfs.share(name).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no share named {name}; `share list` shows all"),
        )
    })
}

async fn list_snapshots(
    Extracted(state): Extracted<Arc<State>>,
    Path(share): Path<String>,
) -> Answer<Json<Vec<types::Snapshot>>> {
    let share = share_named(&state, &share)?;
    let snapshots = state.vfs.snapshots(&share)?;
    Ok(Json(
        snapshots
            .into_iter()
            .map(|snapshot| snapshot_document(&share, snapshot))
            .collect(),
    ))
}

fn snapshot_document(share: &Share, snapshot: strongroom_vfs::Snapshot) -> types::Snapshot {
    types::Snapshot {
        share: share.name.clone(),
        name: snapshot.name,
        time_s: snapshot.instant.time.seconds(),
        held: snapshot.held,
        locked_until_s: snapshot.locked_until.map(unix),
    }
}

/// Seconds since 1970.
pub(super) fn unix(time: FileTime) -> u64 {
    u64::try_from(time.to_unix().0).unwrap_or(0)
}

/// The end of the second: what was done in it is in the instant that it names.
fn from_unix(seconds: u64) -> FileTime {
    FileTime::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX), 0)
}

async fn create_snapshot(
    Extracted(state): Extracted<Arc<State>>,
    Path(share): Path<String>,
    Json(new): Json<types::NewSnapshot>,
) -> Answer<(StatusCode, Json<types::Snapshot>)> {
    let share = share_named(&state, &share)?;
    let made = match new.at_s {
        None => state.vfs.create_snapshot(&share, &new.name).await,
        at => {
            let past = view(&state, &share, at)?;
            let vfs = &state.vfs;
            vfs.create_snapshot_of(&share, &new.name, &past).await
        }
    };
    let snapshot = made.map_err(|error| snapshot_problem(&new.name, error))?;
    tracing::info!(share = share.name, snapshot = new.name, "snapshot made");
    let document = snapshot_document(&share, snapshot);
    Ok((StatusCode::CREATED, Json(document)))
}

async fn schedule(
    Extracted(state): Extracted<Arc<State>>,
    Path(share): Path<String>,
) -> Answer<Json<types::Schedule>> {
    let share = share_named(&state, &share)?;
    let found = state.vfs.snapshot_schedule(&share);
    Ok(Json(types::Schedule {
        every_s: found.map_or(0, |schedule| schedule.every_s),
        keep: found.map_or(0, |schedule| schedule.keep),
    }))
}

async fn set_schedule(
    Extracted(state): Extracted<Arc<State>>,
    Path(share): Path<String>,
    Json(wanted): Json<types::Schedule>,
) -> Answer<StatusCode> {
    let share = share_named(&state, &share)?;
    let schedule = (wanted.every_s > 0).then_some(SnapshotSchedule {
        every_s: wanted.every_s,
        keep: wanted.keep,
    });
    let set = state.vfs.set_snapshot_schedule(&share, schedule).await;
    set.map_err(|error| {
        if matches!(error, VfsError::InvalidParameter) {
            let detail = "snapshots are at least a minute apart, and at least one is kept";
            return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        }
        error.into()
    })?;
    tracing::info!(share = share.name, ?wanted, "snapshot schedule set");
    Ok(StatusCode::NO_CONTENT)
}

async fn clone_share(
    Extracted(state): Extracted<Arc<State>>,
    Path(share): Path<String>,
    Json(wanted): Json<types::NewClone>,
) -> Answer<(StatusCode, Json<types::Rewound>)> {
    let share = share_named(&state, &share)?;
    let past = match (&wanted.snapshot, wanted.at_s) {
        (Some(name), None) => {
            let snapshot = state.vfs.snapshot(&share, name);
            let snapshot = snapshot.map_err(|error| snapshot_problem(name, error))?;
            state.vfs.view_of(&share, snapshot.instant)?
        }
        (None, Some(at)) => view(&state, &share, Some(at))?,
        _ => {
            let detail = "say which snapshot, or which instant";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
    };
    let new = strongroom_vfs::NewShare {
        name: wanted.name.clone(),
        users: share.users.clone(),
        encrypt: share.encrypt,
        hide_unreadable: share.hide_unreadable,
        ..Default::default()
    };
    let (vfs, source, then) = (Arc::clone(&state.vfs), Arc::clone(&share), past.clone());
    let made = to_the_end(async move { vfs.clone_share(&source, &then, new).await }).await?;
    let (clone, done) = made.map_err(|error| share_problem(&wanted.name, error))?;
    tracing::info!(share = share.name, clone = clone.name, "share cloned");
    Ok((StatusCode::CREATED, Json(rewound_document(&past, done))))
}

async fn delete_snapshot(
    Extracted(state): Extracted<Arc<State>>,
    Path((share, name)): Path<(String, String)>,
) -> Answer<StatusCode> {
    let share = share_named(&state, &share)?;
    let deleted = state.vfs.delete_snapshot(&share, &name).await;
    deleted.map_err(|error| snapshot_problem(&name, error))?;
    tracing::info!(share = share.name, snapshot = name, "snapshot deleted");
    Ok(StatusCode::NO_CONTENT)
}

async fn keep_snapshot(
    Extracted(state): Extracted<Arc<State>>,
    Path((share, name)): Path<(String, String)>,
    Json(keep): Json<types::KeepSnapshot>,
) -> Answer<StatusCode> {
    let share = share_named(&state, &share)?;
    let problem = |error| snapshot_problem(&name, error);
    if let Some(hold) = keep.hold {
        let held = state.vfs.hold_snapshot(&share, &name, hold).await;
        held.map_err(problem)?;
    }
    if let Some(until) = keep.lock_until_s {
        let locked = state.vfs.lock_snapshot(&share, &name, from_unix(until));
        locked.await.map_err(problem)?;
    }
    tracing::info!(share = share.name, snapshot = name, ?keep, "snapshot kept");
    Ok(StatusCode::NO_CONTENT)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest is told as everywhere"
)]
fn snapshot_problem(name: &str, error: VfsError) -> Problem {
    match error {
        VfsError::Exists => Problem::new(
            StatusCode::CONFLICT,
            format!("there is a snapshot named {name} already; choose another name"),
        ),
        VfsError::NotFound => Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no snapshot named {name}; `snapshot list` shows all"),
        ),
        VfsError::CannotDelete => Problem::new(
            StatusCode::CONFLICT,
            format!("the snapshot {name} is held or locked; `snapshot list` says until when"),
        ),
        VfsError::InvalidParameter => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "a lock ends in the future, and is never made shorter",
        ),
        VfsError::InvalidName | VfsError::NameTooLong => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "{name:?} cannot be a snapshot's name: it has 1 to 255 characters, none of them \" / \\ : | < > * ?"
            ),
        ),
        other => Problem::from(other),
    }
}

async fn retention(
    Extracted(state): Extracted<Arc<State>>,
    Path(share): Path<String>,
) -> Answer<Json<types::Retention>> {
    let share = share_named(&state, &share)?;
    let kept = state.vfs.retention(&share)?;
    let oldest = state.vfs.oldest_instant(&share)?;
    Ok(Json(types::Retention {
        every_second_s: kept.every_second.as_secs(),
        every_minute_s: kept.every_minute.as_secs(),
        every_hour_s: kept.every_hour.as_secs(),
        every_day_s: kept.every_day.as_secs(),
        every_month_s: kept.every_month.as_secs(),
        oldest_s: oldest.map(|oldest| oldest.time.seconds()),
    }))
}

async fn set_retention(
    Extracted(state): Extracted<Arc<State>>,
    Path(share): Path<String>,
    Json(new): Json<types::Retention>,
) -> Answer<StatusCode> {
    let share = share_named(&state, &share)?;
    let seconds = std::time::Duration::from_secs;
    let retention = Retention {
        every_second: seconds(new.every_second_s),
        every_minute: seconds(new.every_minute_s),
        every_hour: seconds(new.every_hour_s),
        every_day: seconds(new.every_day_s),
        every_month: seconds(new.every_month_s),
    };
    state.vfs.set_retention(&share, &retention)?;
    state.store.sync_all().await?;
    tracing::info!(share = share.name, ?retention, "retention set");
    Ok(StatusCode::NO_CONTENT)
}

/// The share that a path begins with, and the rest of the path with `\` between its parts.
pub(super) fn split(state: &State, path: &str) -> Answer<(Arc<Share>, String)> {
    let path = path.trim_start_matches('/').replace('\\', "/");
    let (share, rest) = path.split_once('/').unwrap_or((&path, ""));
    let rest = rest.trim_end_matches('/').replace('/', "\\");
    Ok((share_named(state, share)?, rest))
}

/// The view that a question names, and when that was; now without a time.
pub(super) fn view(state: &State, share: &Share, at: Option<u64>) -> Answer<View> {
    let Some(at) = at else { return Ok(View::Now) };
    match state.vfs.view_at(share, from_unix(at)) {
        Err(VfsError::Forgotten) => Err(Problem::new(
            StatusCode::GONE,
            format!("the past of {} does not reach back so far", share.name),
        )),
        view => Ok(view?),
    }
}

/// Opens for reading as the caller; whoever came through the socket reads everything.
async fn open(
    state: &State,
    caller: &Caller,
    (share, path): (&Share, &str),
    view: View,
) -> Answer<Result<Arc<Handle>, VfsError>> {
    let credentials = caller.credentials(state)?;
    if !state.vfs.may_enter(share, &credentials) {
        return Ok(Err(VfsError::AccessDenied));
    }
    let request = OpenRequest {
        view,
        access: AccessMask::FILE_READ,
        options: CreateOptions {
            backup_intent: caller.who == Who::Owner,
            open_reparse_point: true,
            ..CreateOptions::default()
        },
        ..OpenRequest::new(share, path)
    };
    let opened = state.vfs.open(&credentials, request).await;
    Ok(opened.map(|(handle, _)| handle))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest is told as everywhere"
)]
fn not_there(path: &str, error: VfsError) -> Problem {
    match error {
        VfsError::NotFound | VfsError::PathNotFound => {
            Problem::new(StatusCode::NOT_FOUND, format!("{path} was not there then"))
        }
        other => Problem::from(other),
    }
}

async fn list(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Json(wanted): Json<types::Place>,
) -> Answer<Json<types::PastListing>> {
    let (share, path) = split(&state, &wanted.path)?;
    let view = view(&state, &share, wanted.at_s)?;
    let at_s = view.instant().map(|instant| instant.time.seconds());
    let opened = open(&state, &caller, (&share, &path), view).await?;
    let handle = opened.map_err(|error| not_there(&wanted.path, error))?;
    let entries = if handle.is_directory() {
        entries(&state.vfs, &handle)?
    } else {
        let stat = state.vfs.stat(&handle)?;
        let name = path.rsplit('\\').next().unwrap_or_default();
        vec![entry(name, &stat)]
    };
    Ok(Json(types::PastListing { at_s, entries }))
}

fn entries(vfs: &Vfs, directory: &Handle) -> Answer<Vec<types::PastEntry>> {
    let (mut cursor, mut found) = (DirCursor::default(), Vec::new());
    while found.len() < LINES_MAX {
        let page = vfs.list(directory, &mut cursor, "*", 1_000)?;
        if page.is_empty() {
            break;
        }
        let named = page
            .iter()
            .filter(|entry| !matches!(&*entry.name, "." | ".."));
        found.extend(named.map(|found| entry(&found.name, &found.stat)));
    }
    Ok(found)
}

fn entry(name: &str, stat: &strongroom_vfs::Stat) -> types::PastEntry {
    types::PastEntry {
        name: name.to_owned(),
        directory: stat.is_directory,
        size: stat.size,
        modified_s: unix(stat.modified),
    }
}

/// A part of a file as it was; shorter than asked for only at its end.
async fn content(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Json(wanted): Json<types::ContentWanted>,
) -> Answer<Bytes> {
    let (share, path) = split(&state, &wanted.place.path)?;
    let view = view(&state, &share, wanted.place.at_s)?;
    let opened = open(&state, &caller, (&share, &path), view).await?;
    let handle = opened.map_err(|error| not_there(&wanted.place.path, error))?;
    if handle.is_directory() {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("{} was a folder then", wanted.place.path),
        ));
    }
    let mut buffer = vec![0; CONTENT_MAX];
    let read = state.vfs.read(&handle, wanted.offset, &mut buffer)?;
    buffer.truncate(read);
    Ok(Bytes::from(buffer))
}

/// Who changed what, when, from where; the newest first.
async fn log(
    Extracted(state): Extracted<Arc<State>>,
    Json(wanted): Json<types::LogWanted>,
) -> Answer<Json<Vec<types::LogLine>>> {
    let (share, path) = split(&state, &wanted.path)?;
    let filter = strongroom_vfs::LogFilter {
        since: wanted.since_s.map(from_unix),
        until: wanted.until_s.map(from_unix),
        user: wanted.user,
        address: wanted.client,
        session: wanted.session.map(SessionId),
        max: wanted.max.unwrap_or(1_000).min(LINES_MAX),
    };
    let events = state.vfs.history_log(&share, &path, &filter);
    let events = events.map_err(|error| not_there(&wanted.path, error))?;
    let line = |event: strongroom_vfs::HistoryEvent| types::LogLine {
        time_s: unix(event.time),
        what: event.what.to_string(),
        path: event.path,
        session: event.session.0,
        user: event.user,
        client: event.address,
        protocol: event.protocol,
    };
    Ok(Json(events.into_iter().map(line).collect()))
}

/// What differs in a share from one time to another; now without one.
async fn diff(
    Extracted(state): Extracted<Arc<State>>,
    Json(wanted): Json<types::DiffWanted>,
) -> Answer<Json<Vec<types::Difference>>> {
    let (share, path) = split(&state, &wanted.path)?;
    let from = view(&state, &share, Some(wanted.from_s))?;
    let to = view(&state, &share, wanted.to_s)?;
    let found = tokio::task::spawn_blocking(move || {
        state.vfs.differences(&share, &path, &from, &to, LINES_MAX)
    });
    let found = found.await.map_err(Problem::internal)?;
    let found = found.map_err(|error| not_there(&wanted.path, error))?;
    let document = |difference: strongroom_vfs::Difference| types::Difference {
        what: difference.what.to_string(),
        path: difference.path.replace('\\', "/"),
        size_from: difference.sizes().0,
        size_to: difference.sizes().1,
        old_path: difference.old_path.map(|path| path.replace('\\', "/")),
    };
    Ok(Json(found.into_iter().map(document).collect()))
}

/// Runs long work to its end, also when nobody waits for it any more, and on a thread that may look things up for long
/// without keeping clients waiting.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Answer<T> {
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work));
    done.await.map_err(Problem::internal)
}

/// Makes a share, or what is at and below a path, what it was.
async fn rewind(
    Extracted(state): Extracted<Arc<State>>,
    Json(wanted): Json<types::RewindWanted>,
) -> Answer<Json<types::Rewound>> {
    let (share, path) = split(&state, &wanted.path)?;
    let past = view(&state, &share, Some(wanted.to_s))?;
    let (vfs, then, dry_run) = (Arc::clone(&state.vfs), past.clone(), wanted.dry_run);
    let done = to_the_end(async move { vfs.rewind(&share, &path, &then, dry_run).await }).await?;
    let done = done.map_err(|error| not_there(&wanted.path, error))?;
    tracing::info!(
        path = wanted.path,
        to_s = wanted.to_s,
        dry_run = wanted.dry_run,
        "rewound"
    );
    Ok(Json(rewound_document(&past, done)))
}

fn rewound_document(past: &View, done: strongroom_vfs::Rewound) -> types::Rewound {
    let failed = done.failed.iter().map(|(path, error)| types::Failed {
        path: path.replace('\\', "/"),
        reason: error.to_string(),
    });
    types::Rewound {
        to_s: past.instant().map_or(0, |past| past.time.seconds()),
        restored: done.restored,
        removed: done.removed,
        changed: done.changed,
        renamed: done.renamed,
        bytes: done.bytes,
        failed: failed.collect(),
        stopped: done.stopped,
        session: done.session.map(|session| session.0),
    }
}

/// Stops a rewind or undo that runs, named by its session.
async fn stop(
    Extracted(state): Extracted<Arc<State>>,
    Path(session): Path<u64>,
) -> Answer<StatusCode> {
    if state.vfs.stop_work(SessionId(session)) {
        tracing::info!(session, "stopped");
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        format!("no rewind or undo runs in session {session}; `strongroom status` lists them"),
    ))
}

/// Puts back what sessions changed.
async fn undo(
    Extracted(state): Extracted<Arc<State>>,
    Json(wanted): Json<types::UndoWanted>,
) -> Answer<Json<types::Undone>> {
    let share = share_named(&state, &wanted.share)?;
    let since = wanted.since_s.map(from_unix);
    let mut sessions: BTreeSet<SessionId> =
        wanted.sessions.iter().copied().map(SessionId).collect();
    let named = wanted.user.is_some() || !wanted.clients.is_empty();
    let clients: Vec<Option<&str>> = match &wanted.clients[..] {
        [] => vec![None],
        clients => clients.iter().map(|client| Some(&**client)).collect(),
    };
    for client in clients.into_iter().filter(|_| named) {
        let since = since.unwrap_or_default();
        sessions.extend(
            state
                .vfs
                .sessions_of(wanted.user.as_deref(), client, since)?,
        );
    }
    let plan = strongroom_vfs::UndoWanted {
        sessions,
        since,
        keep_both: wanted.keep_both,
        dry_run: wanted.dry_run,
    };
    let (vfs, of, wanted) = (Arc::clone(&state.vfs), Arc::clone(&share), plan.clone());
    let done = to_the_end(async move { vfs.undo(&of, &wanted).await }).await??;
    tracing::info!(share = share.name, sessions = ?plan.sessions, dry_run = plan.dry_run, "undone");
    let slashes = |paths: Vec<String>| paths.iter().map(|path| path.replace('\\', "/")).collect();
    let failed = done.failed.iter().map(|(path, error)| types::Failed {
        path: path.replace('\\', "/"),
        reason: error.to_string(),
    });
    Ok(Json(types::Undone {
        sessions: plan.sessions.iter().map(|session| session.0).collect(),
        restored: done.restored,
        removed: done.removed,
        changed: done.changed,
        renamed: done.renamed,
        bytes: done.bytes,
        failed: failed.collect(),
        kept: slashes(done.kept),
        beside: slashes(done.beside),
        stopped: done.stopped,
        session: done.session.map(|session| session.0),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_go_there_and_back() {
        assert_eq!(unix(from_unix(1_795_529_007)), 1_795_529_007);
        assert_eq!(unix(FileTime(0)), 0);
    }
}
