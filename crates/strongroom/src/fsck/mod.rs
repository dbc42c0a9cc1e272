//! `strongroom fsck`: checks a pool that no server uses, from the labels to the last byte of every file.
//!
//! The pool is opened as a server opens it, with all that recovery does; but on shadows of its disks, which keep what
//! is written in memory. So nothing is changed, and what is checked is what the next server would see. With `--repair`
//! the disks themselves are opened.

mod names;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_device::{Device, DeviceLock, Env, RealDevice, ShadowDevice, TokioEnv};
use strongroom_pool::{OpenOptions, Pool, PoolError, SegmentCheck, SegmentId};
use strongroom_store::{JobState, Store, StoreOptions};
use strongroom_vfs::Vfs;

use crate::cli::FsckOptions;
use crate::commands::{print_json, say};
use crate::data::DataDirectory;
use crate::failure::{Failure, Kind, Result};
use report::Report;
use strongroom_admin::api::pool;

/// Checks the pool of `data` and prints what it found.
///
/// # Errors
/// The pool cannot be opened, or damage was found.
pub(crate) fn run(data: &Path, options: &FsckOptions) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| internal(&error))?;
    let report = runtime.block_on(check(data, options))?;
    if options.json {
        print_json(&report)?;
    } else {
        say(&report.text())?;
    }
    if report.problems.is_empty() {
        return Ok(());
    }
    let count = report.problems.len();
    Err(Failure::new(
        Kind::Damaged,
        format!("{count} problems were found in {}", data.display()),
    ))
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Internal, format!("checking failed: {error}"))
}

/// The disks to look at, locked against a server.
struct Disks {
    devices: Vec<Arc<dyn Device>>,
    locks: Vec<DeviceLock>,
    problems: Vec<String>,
}

async fn check(data: &Path, options: &FsckOptions) -> Result<Report> {
    let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
    // Held to the end, so that no server begins meanwhile.
    let locked = data
        .is_dir()
        .then(|| DataDirectory::lock(data))
        .transpose()?;
    let mut disks = open_disks(&env, locked.as_ref(), options)?;
    // What is lost is told; making it good takes a server, or would fill memory.
    let look = OpenOptions {
        upkeep: false,
        ..OpenOptions::default()
    };
    let devices = std::mem::take(&mut disks.devices);
    let pool = Pool::open_with(Arc::clone(&env), devices, look)?;
    let mut report = Report {
        repaired: options.repair,
        ..Report::default()
    };
    if pool.is_encrypted() {
        if !options.passphrase.is_there() {
            return check_locked(&pool, disks, options, report);
        }
        let passphrase = options.passphrase.get("The pool's passphrase: ")?;
        pool.unlock(passphrase.as_bytes())?;
    }
    let store = Store::open(Arc::clone(&env), Arc::clone(&pool), StoreOptions::default())?;
    let vfs = Vfs::open_store(Arc::clone(&store), env)?;
    check_index(&store, &mut report).await?;
    let damaged = check_segments(&pool, options.repair, &mut report)?;
    names::check(&vfs, damaged, &mut report).await?;
    store.close().await?;
    check_counts(&store, &vfs, damaged, &mut report).await?;
    finish(&pool, disks, report)
}

/// Without the passphrase of an encrypted pool its stripes can be checked and made good, and nothing above them.
fn check_locked(
    pool: &Pool,
    disks: Disks,
    options: &FsckOptions,
    mut report: Report,
) -> Result<Report> {
    check_segments(pool, options.repair, &mut report)?;
    report.locked = true;
    finish(pool, disks, report)
}

fn finish(pool: &Pool, disks: Disks, mut report: Report) -> Result<Report> {
    let document = pool::document(pool)?;
    // Where no disk of the pool is missing, one that is not there was taken out.
    if document.disks.iter().any(|disk| disk.state == "missing") {
        report.problems.extend(disks.problems);
    }
    report.add_pool(document);
    drop(disks.locks);
    Ok(report)
}

fn open_disks(
    env: &Arc<dyn Env>,
    data: Option<&DataDirectory>,
    options: &FsckOptions,
) -> Result<Disks> {
    let remembered = data.map(DataDirectory::disks).transpose()?.flatten();
    let paths: Vec<PathBuf> = match remembered {
        _ if !options.disks.is_empty() => options.disks.clone(),
        Some(paths) => paths,
        None => return Err(nothing_to_check()),
    };
    let mut disks = Disks {
        devices: Vec::new(),
        locks: Vec::new(),
        problems: Vec::new(),
    };
    for path in paths {
        disks.add(env, &path, options.repair)?;
    }
    Ok(disks)
}

fn nothing_to_check() -> Failure {
    Failure::new(
        Kind::Storage,
        "no pool is known here: name the right --data directory, or the pool's disks with --disk",
    )
}

impl Disks {
    /// One that is not there is a problem, and the others may do without it.
    fn add(&mut self, env: &Arc<dyn Env>, path: &Path, repair: bool) -> Result<()> {
        let name = path.display();
        if !path.is_dir() {
            self.problems.push(format!("the disk {name} is not there"));
            return Ok(());
        }
        let device = RealDevice::open(Arc::clone(env), path)?;
        if Pool::is_blank(device.as_ref())? {
            self.problems.push(format!("the disk {name} holds no pool"));
            return Ok(());
        }
        self.locks.push(device.lock()?);
        self.devices.push(if repair {
            device
        } else {
            ShadowDevice::new(device)
        });
        Ok(())
    }
}

/// Every page of every copy of the index.
async fn check_index(store: &Store, report: &mut Report) -> Result<()> {
    let job = store.scrub_index()?;
    loop {
        match store.jobs().status(job).map(|job| job.state) {
            Some(JobState::Running) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Some(JobState::Failed(why)) => {
                report
                    .problems
                    .push(format!("the index cannot be checked: {why}"));
                break;
            }
            Some(JobState::Done | JobState::Cancelled) | None => break,
        }
    }
    report.add_store(store.status());
    Ok(())
}

/// Every part of every stripe. True if bytes are lost.
fn check_segments(pool: &Pool, repair: bool, report: &mut Report) -> Result<bool> {
    let mut damaged = false;
    for segment in pool.segment_ids() {
        let check = match pool.check_segment(segment, repair) {
            Ok(check) => check,
            // What was empty is tidied away meanwhile.
            Err(PoolError::NoSegment { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        damaged |= check.nameless || !check.lost.is_empty();
        let left = if repair && !check.bad.is_empty() {
            pool.check_segment(segment, false)?
        } else {
            check.clone()
        };
        add_segment(segment, &check, &left, report);
    }
    Ok(damaged)
}

/// `left` is what was still wrong after a repair.
fn add_segment(segment: SegmentId, found: &SegmentCheck, left: &SegmentCheck, report: &mut Report) {
    report.segments += 1;
    report.stripes += found.stripes;
    report.bytes += found.bytes;
    report.mended += (found.bad.len() - left.bad.len().min(found.bad.len())) as u64;
    report.missing_parts += found.missing as u64 * found.stripes;
    for part in &left.bad {
        let (stripe, shard, disk, why) = (part.stripe, part.shard, &part.disk, &part.why);
        report.problems.push(format!(
            "{disk}: segment {segment}, stripe {stripe}, part {shard} is damaged: {why}"
        ));
    }
    for stripe in &left.lost {
        report.problems.push(format!(
            "segment {segment}, stripe {stripe}: too few good parts are left, its bytes are LOST"
        ));
    }
    if left.nameless {
        report.problems.push(format!(
            "segment {segment} has blocks that no readable header describes"
        ));
    }
}

/// What the index counts, against what it holds and what the pool has.
async fn check_counts(store: &Store, vfs: &Vfs, damaged: bool, report: &mut Report) -> Result<()> {
    let audit = store.audit()?;
    report.unnamed_stripes = audit.leaked.len() as u64;
    report.problems.extend(audit.problems);
    for address in &audit.missing {
        let (segment, stripe) = (address.segment, address.stripe);
        report.problems.push(format!(
            "segment {segment}, stripe {stripe} is named by a file and is not there"
        ));
    }
    if !audit.missing.is_empty() && !damaged {
        names::read_files(vfs, report).await?;
    }
    Ok(())
}
