//! The routes about the pool: its state, and long work on it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Extracted};
use axum::http::StatusCode;
use strongroom_device::Timestamp;
use strongroom_pool::crypt::KdfParams;
use strongroom_pool::{DiskOptions, DiskStatus, NewPassphrase, Pool, UpkeepStatus, UpkeepTask};
use strongroom_store::{JobState, JobStatus, Store};
use strongroom_vfs::LostFile;

use super::status::{index_document, space_document};
use crate::endpoint::{Access, Endpoint};
use crate::{Problem, State, types};

type Answer<T> = Result<T, Problem>;

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access as A;
    let accepted = StatusCode::ACCEPTED;
    vec![
        Endpoint::get(
            "/pool",
            "get_pool",
            "The pool, its disks and what it does for them",
            A::WATCHERS,
            report,
        )
        .gives::<types::PoolReport>(),
        Endpoint::post(
            "/pool/disks",
            "add_disk",
            "Adds a disk, or replaces one; gives its id",
            A::OPERATORS,
            add_disk,
        )
        .takes::<types::NewDisk>()
        .gives::<String>()
        .with_status(StatusCode::CREATED),
        Endpoint::delete(
            "/pool/disks/{disk}",
            "remove_disk",
            "Empties a disk and takes it out",
            A::ADMINISTRATORS,
            remove_disk,
        )
        .with_status(accepted),
        Endpoint::post(
            "/pool/disks/{disk}/spare",
            "set_spare",
            "Makes a disk a spare or one that holds data",
            A::ADMINISTRATORS,
            set_spare,
        )
        .takes::<types::Spare>()
        .with_status(accepted),
        Endpoint::post(
            "/pool/passphrase",
            "change_passphrase",
            "Gives an encrypted pool another passphrase",
            A::ADMINISTRATORS,
            change_passphrase,
        )
        .takes::<types::PassphraseChange>(),
        Endpoint::get(
            "/pool/scrub",
            "get_scrub",
            "How the scrub stands",
            A::WATCHERS,
            scrubs,
        )
        .gives::<types::Scrub>(),
        Endpoint::post(
            "/pool/scrub",
            "start_scrub",
            "Begins to read everything and to repair what has rotted",
            A::OPERATORS,
            start_scrub,
        )
        .gives_list::<types::Job>()
        .with_status(accepted),
        Endpoint::delete(
            "/pool/scrub",
            "stop_scrub",
            "Stops the scrub that runs",
            A::OPERATORS,
            stop_scrubs,
        ),
    ]
}

async fn report(Extracted(state): Extracted<Arc<State>>) -> Answer<Json<types::PoolReport>> {
    let store = state.store.status();
    Ok(Json(types::PoolReport {
        offline: store.offline.clone(),
        pool: document(&state.pool)?,
        space: space_document(state.store.space()?),
        index: index_document(store.index),
        log_repairs: store.log_repairs,
        upkeep: upkeep_document(state.pool.upkeep_status()),
        scrub: scrub_document(&state),
        jobs: jobs(&state.store, |_| true),
    }))
}

/// What the pool says of itself.
pub fn document(pool: &Pool) -> strongroom_pool::Result<types::Pool> {
    let status = pool.status();
    let space = pool.space()?;
    let layout = pool.layout();
    let disks = status.disks.into_iter().map(disk_document);
    Ok(types::Pool {
        id: status.id,
        layout: status.layout,
        encrypted: pool.is_encrypted(),
        data: layout.data,
        parity: layout.parity,
        survives: status.survives,
        shared: status.shared,
        usable_total: space.usable_total,
        usable_free: space.usable_free,
        epoch: status.epoch,
        writable: status.writable,
        segments: status.segments,
        bad_fragments: status.bad_fragments,
        repaired_fragments: status.repaired_fragments,
        lost_reads: status.lost_reads,
        disks: disks.collect(),
    })
}

fn disk_document(disk: DiskStatus) -> types::Disk {
    types::Disk {
        name: disk.name,
        id: disk.id,
        state: types::state_word(disk.state).to_owned(),
        errors: disk.errors,
        reason: disk.reason,
        total: disk.space.map_or(0, |space| space.total),
        free: disk.space.map_or(0, |space| space.free),
        usable: disk.space.map_or(0, |space| space.usable),
        spare: disk.spare,
        leaving: disk.leaving,
        domain: disk.domain,
    }
}

pub(super) fn upkeep_document(upkeep: UpkeepStatus) -> types::Upkeep {
    let task = match upkeep.task {
        UpkeepTask::Idle => "idle",
        UpkeepTask::Restoring => "restoring",
        UpkeepTask::Emptying => "emptying",
        UpkeepTask::Balancing => "balancing",
        UpkeepTask::Waiting => "waiting",
    };
    types::Upkeep {
        task: task.to_owned(),
        disk: upkeep.disk,
        lost_disks: upkeep.lost_disks,
        segments_short: upkeep.segments_short,
        bytes_done: upkeep.bytes_done,
        bytes_total: upkeep.bytes_total,
        bytes_per_second: upkeep.bytes_per_second,
        seconds_left: upkeep.seconds_left,
        waiting_for: upkeep.waiting_for,
        rebuilt_shards: upkeep.rebuilt_shards,
        lost_stripes: upkeep.lost_stripes,
    }
}

/// Labels and epochs are written to all disks, so this runs where it holds nobody up.
async fn add_disk(
    Extracted(state): Extracted<Arc<State>>,
    Json(new): Json<types::NewDisk>,
) -> Answer<(StatusCode, Json<String>)> {
    let (path, store) = (new.path.clone(), Arc::clone(&state.store));
    let added = tokio::task::spawn_blocking(move || {
        let options = DiskOptions {
            spare: new.spare,
            domain: new.domain,
            allow_shared_device: new.allow_shared_device,
        };
        let replaces = new.replaces.as_deref();
        state
            .directories
            .add(&state.pool, &new.path, replaces, options)
    });
    let added = added.await.map_err(Problem::internal)?;
    let id = added.map_err(Problem::wrong)?;
    store.disks_changed();
    tracing::info!(disk = %id, path = %path.display(), "disk added");
    Ok((StatusCode::CREATED, Json(id.to_string())))
}

/// Stretching passphrases takes a while on purpose, and labels are written to all disks.
async fn change_passphrase(
    Extracted(state): Extracted<Arc<State>>,
    Json(change): Json<types::PassphraseChange>,
) -> Answer<StatusCode> {
    let pool = Arc::clone(&state.pool);
    let changed = tokio::task::spawn_blocking(move || {
        let new = NewPassphrase::new(change.new.as_bytes(), KdfParams::default())?;
        pool.change_passphrase(change.old.as_bytes(), &new)
    });
    changed.await.map_err(Problem::internal)??;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_disk(
    Extracted(state): Extracted<Arc<State>>,
    Path(disk): Path<String>,
) -> Answer<StatusCode> {
    let pool = Arc::clone(&state.pool);
    let removed = tokio::task::spawn_blocking(move || {
        let id = pool.find_disk(&disk)?;
        pool.remove_disk(id).map(|()| disk)
    });
    let disk = removed.await.map_err(Problem::internal)??;
    state.store.disks_changed();
    tracing::info!(disk, "disk is emptied, to be taken out");
    Ok(StatusCode::ACCEPTED)
}

async fn set_spare(
    Extracted(state): Extracted<Arc<State>>,
    Path(disk): Path<String>,
    Json(wanted): Json<types::Spare>,
) -> Answer<StatusCode> {
    let pool = Arc::clone(&state.pool);
    let spare = wanted.spare;
    let set = tokio::task::spawn_blocking(move || {
        let id = pool.find_disk(&disk)?;
        pool.set_spare(id, spare).map(|()| disk)
    });
    let disk = set.await.map_err(Problem::internal)??;
    state.store.disks_changed();
    tracing::info!(disk, spare, "disk's part in the pool changed");
    Ok(StatusCode::ACCEPTED)
}

/// Jobs that run, and the last that ended.
pub(super) fn jobs(store: &Store, wanted: impl Fn(&JobStatus) -> bool) -> Vec<types::Job> {
    let all = store.jobs().list().into_iter();
    all.filter(wanted).map(job_document).collect()
}

fn job_document(job: JobStatus) -> types::Job {
    let (state, reason) = match job.state {
        JobState::Running => ("running", None),
        JobState::Done => ("done", None),
        JobState::Cancelled => ("stopped", None),
        JobState::Failed(why) => ("failed", Some(why)),
    };
    types::Job {
        id: job.id.0,
        kind: job.kind,
        state: state.to_owned(),
        reason,
        done: job.done,
        total: job.total,
    }
}

fn is_scrub(job: &JobStatus) -> bool {
    job.kind.ends_with("scrub")
}

fn is_running(job: &JobStatus) -> bool {
    job.state == JobState::Running
}

async fn scrubs(Extracted(state): Extracted<Arc<State>>) -> Json<types::Scrub> {
    Json(scrub_document(&state))
}

fn scrub_document(state: &State) -> types::Scrub {
    let status = state.store.scrub_status();
    let lost = state.vfs.lost_files().into_iter();
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::seconds);
    types::Scrub {
        running: status.running,
        began_s: seconds(status.began),
        ended_s: seconds(status.ended),
        stopped: status.stopped,
        failed: status.failed,
        segments_done: status.segments_done,
        segments: status.segments,
        bytes: status.bytes,
        bad: status.bad,
        repaired: status.repaired,
        lost: lost.map(lost_document).collect(),
        lost_ranges: status.lost_ranges,
        jobs: jobs(&state.store, is_scrub),
    }
}

fn lost_document(lost: LostFile) -> types::Lost {
    types::Lost {
        path: lost.path,
        offset: lost.offset,
        len: lost.len,
        past: lost.past,
    }
}

/// One at a time: a second would read the same again.
async fn start_scrub(
    Extracted(state): Extracted<Arc<State>>,
) -> Answer<(StatusCode, Json<Vec<types::Job>>)> {
    let running = |job: &JobStatus| is_scrub(job) && is_running(job);
    if state.store.jobs().list().iter().any(running) {
        let why = "a scrub is running already; `pool scrub status` shows how far it is";
        return Err(Problem::new(StatusCode::CONFLICT, why));
    }
    // The index, and all file data.
    state.store.scrub_index()?;
    state.store.start_scrub()?;
    tracing::info!("scrub started");
    Ok((StatusCode::ACCEPTED, Json(jobs(&state.store, running))))
}

async fn stop_scrubs(Extracted(state): Extracted<Arc<State>>) -> Answer<StatusCode> {
    let all = state.store.jobs().list();
    let running = all.iter().filter(|job| is_scrub(job) && is_running(job));
    let stopped = running
        .filter(|job| state.store.jobs().cancel(job.id))
        .count();
    if stopped == 0 {
        return Err(Problem::new(StatusCode::CONFLICT, "no scrub is running"));
    }
    tracing::info!("scrub stopped");
    Ok(StatusCode::NO_CONTENT)
}
