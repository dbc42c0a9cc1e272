//! Laying a new store on a blank pool, and opening one after a crash or a clean end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use strongroom_device::{DeviceError, Env, Timestamp};
use strongroom_pool::crypt::Cipher;
use strongroom_pool::{Home, Pool, SegmentId, Txg};

use crate::ballast::drop_ballast;
use crate::engine::{Engine, Group, Parts};
use crate::feed::{DeadObject, Version};
use crate::index::{FailureHook, Index, IndexOptions, PageHome, RedbIndex, Snapshot};
use crate::log::recover::{Recovered, recover};
use crate::log::{Log, LogCopy, Tail};
use crate::record::{self, Operation, Record};
use crate::rows::{self, ExtentRow};
use crate::{ObjectId, Result, SessionId, StoreError, StoreOptions};

/// All copies of the log on a disk take this part of it at most, if that is enough for some files.
const LOG_PART: u64 = 16;
const LOG_FILES_MIN: u32 = 3;

/// Everything durable on return.
pub(crate) fn create(
    env: Arc<dyn Env>,
    pool: Arc<Pool>,
    options: StoreOptions,
) -> Result<Arc<Engine>> {
    // What an interrupted creation left holds nothing: no epoch was ever begun.
    for home in pool.homes("index").iter().chain(&pool.homes("log")) {
        remove_files(home)?;
    }
    let (homes, failed) = (index_homes(&pool), failure_hook(&pool));
    let cipher = pool.cipher_if_encrypted()?;
    let index_options = index_options(&options, cipher.as_ref());
    let index = RedbIndex::create(Arc::clone(&env), homes, failed, index_options)?;
    pool.begin_epoch(Txg(0), &[])?;
    let tail = Tail {
        sequence: 0,
        offset: options.log_file,
        previous: 0,
        used: std::collections::VecDeque::new(),
        free: Vec::new(),
        next_slot: 0,
    };
    let log = Log::new(
        &pool,
        cipher,
        log_copies(&pool),
        tail,
        options.log_file,
        log_files(&pool, &options),
    );
    let engine = Engine::new(Parts {
        env,
        pool,
        options,
        index,
        log,
        last_txg: Txg(0),
        last_time: Timestamp(0),
        log_repairs: 0,
    });
    engine.refresh_space();
    engine.cover_first_inodes();
    engine.commit_first()?;
    Ok(Arc::new(engine))
}

fn remove_files(home: &Home) -> Result<()> {
    for name in home.device.list(&home.dir)? {
        match home.device.delete(&format!("{}/{name}", home.dir)) {
            Ok(()) | Err(DeviceError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Where the members of the pool have the copies of the index.
pub(crate) fn index_homes(pool: &Pool) -> Vec<PageHome> {
    let homes = pool.homes("index").into_iter();
    homes
        .map(|home| PageHome {
            device: home.device,
            dir: home.dir,
        })
        .collect()
}

fn failure_hook(pool: &Arc<Pool>) -> FailureHook {
    let pool = Arc::downgrade(pool);
    Arc::new(move |device, error| {
        pool.upgrade()
            .is_some_and(|pool| Engine::device_failed(&pool, device, error))
    })
}

fn index_options(options: &StoreOptions, cipher: Option<&Arc<Cipher>>) -> IndexOptions {
    IndexOptions {
        cache: options.index_cache,
        readers: options.index_readers,
        cipher: cipher.cloned(),
    }
}

/// How many files a copy of the log may have: fewer where disks are small, so that writers wait before it takes more than
/// a sixteenth of one.
fn log_files(pool: &Pool, options: &StoreOptions) -> u32 {
    let homes = pool.homes("log");
    let least = homes.iter().filter_map(|home| {
        let same = |other: &&Home| Arc::ptr_eq(&other.device, &home.device);
        let copies = homes.iter().filter(same).count() as u64;
        Some(home.device.space().ok()?.total / LOG_PART / copies.max(1))
    });
    let files = least.min().unwrap_or(u64::MAX) / options.log_file.max(1);
    let files = u32::try_from(files).unwrap_or(u32::MAX);
    files.max(LOG_FILES_MIN).min(options.log_files_max)
}

fn log_copies(pool: &Pool) -> Vec<Arc<LogCopy>> {
    pool.homes("log")
        .into_iter()
        .map(|home| Arc::new(LogCopy::new(home)))
        .collect()
}

/// Recovers what was acknowledged. Everything accepted is durable on every copy on return. Disks that are full give up
/// their ballast for that.
pub(crate) fn open(
    env: Arc<dyn Env>,
    pool: Arc<Pool>,
    options: StoreOptions,
) -> Result<Arc<Engine>> {
    let again = (Arc::clone(&env), Arc::clone(&pool), options.clone());
    match open_once(env, pool, options) {
        Err(StoreError::NoSpace) => {
            let (env, pool, options) = again;
            // The first try may have done so.
            drop_ballast(&pool);
            open_once(env, pool, options)
        }
        opened => opened,
    }
}

fn open_once(env: Arc<dyn Env>, pool: Arc<Pool>, options: StoreOptions) -> Result<Arc<Engine>> {
    let Some(epoch) = pool.last_epoch() else {
        return create(env, pool, options);
    };
    let (homes, failed) = (index_homes(&pool), failure_hook(&pool));
    let cipher = pool.cipher_if_encrypted()?;
    let index_options = index_options(&options, cipher.as_ref());
    let index: Arc<dyn Index> = RedbIndex::open(Arc::clone(&env), homes, failed, index_options)?;
    let held = index.last_txg();
    let known = held.max(epoch.last_txg);
    let copies = log_copies(&pool);
    let planted = options.planted.cut_below_watermark;
    let terms = pool.epoch_terms();
    let recovered = recover(
        &copies,
        &terms,
        options.log_file,
        held,
        known,
        planted,
        cipher.as_deref(),
    )?;
    let Recovered {
        records,
        last_txg,
        tail,
        repairs,
        failed: failed_copies,
    } = recovered;
    let last_txg = last_txg.max(held);
    let decoded = Decoded::read(&records, options.planted.half_group)?;
    let ends = live_ends(&pool, index.snapshot().as_ref(), &decoded)?;
    pool.begin_epoch(last_txg, &ends)?;
    let files = log_files(&pool, &options);
    let log = Log::new(&pool, cipher, copies, tail, options.log_file, files);
    let last_time = records.last().map_or(Timestamp(0), |record| record.time);
    let engine = Engine::new(Parts {
        env,
        pool,
        options,
        index,
        log,
        last_txg,
        last_time,
        log_repairs: repairs,
    });
    for (copy, error) in &failed_copies {
        engine.log_copy_failed(copy, error)?;
    }
    engine.load_moved()?;
    engine.load(decoded)?;
    engine.refresh_space();
    // No id that this opening gives out may be given again, whatever becomes of its own commits.
    engine.cover_first_inodes();
    engine.commit_first()?;
    Ok(Arc::new(engine))
}

/// The records of the tail, taken apart.
struct Decoded {
    groups: Vec<(Txg, Timestamp, Vec<Operation>)>,
    /// The highest stripe that these records name, in each segment.
    stripes: BTreeMap<SegmentId, u32>,
}

impl Decoded {
    /// `halves` is a planted bug: of the last record only half is taken.
    fn read(records: &[Record], halves: bool) -> Result<Self> {
        let mut decoded = Self {
            groups: Vec::with_capacity(records.len()),
            stripes: BTreeMap::new(),
        };
        for record in records {
            let mut operations = Vec::new();
            record::decode(&record.body, &mut |operation| operations.push(operation))
                .map_err(|_| damaged(record.txg))?;
            for operation in &operations {
                decoded.note_stripe(operation)?;
            }
            decoded.groups.push((record.txg, record.time, operations));
        }
        if let Some((_, _, last)) = decoded.groups.last_mut().filter(|_| halves) {
            last.truncate(last.len() / 2);
        }
        Ok(decoded)
    }

    fn note_stripe(&mut self, operation: &Operation) -> Result<()> {
        if let Operation::Row {
            table: rows::EXTENTS,
            value: Some(value),
            ..
        } = operation
        {
            let address = ExtentRow::decode(value)?.address;
            let highest = self.stripes.entry(address.segment).or_insert(0);
            *highest = (*highest).max(address.stripe);
        }
        Ok(())
    }
}

/// A frame's checksum held, so this was written so: a bug or a forged log.
fn damaged(txg: Txg) -> StoreError {
    StoreError::Corrupt {
        what: format!("the log's record of group {} cannot be decoded", txg.0),
    }
}

/// How far the segments that the last opening may have left open reach by the accepted rows.
fn live_ends(
    pool: &Pool,
    snapshot: &dyn Snapshot,
    decoded: &Decoded,
) -> Result<Vec<(SegmentId, u32)>> {
    let mut segments: BTreeSet<SegmentId> = pool.recent_segments().into_iter().collect();
    // The tail of the log knows others to which something was appended of late; earlier openings had their ends recorded.
    let first = segments.first().map_or(u64::MAX, |first| first.0 >> 32);
    let of_last = |segment: &&SegmentId| segment.0 >> 32 >= first;
    segments.extend(decoded.stripes.keys().filter(of_last));
    let mut ends = Vec::new();
    for segment in segments {
        let indexed = last_indexed_stripe(snapshot, segment)?;
        let logged = decoded.stripes.get(&segment).copied();
        match indexed.max(logged) {
            None => ends.push((segment, 0)),
            // If its header cannot be read on any copy, nothing is cut off behind it.
            Some(last) => {
                let stripe = pool.stripe(segment, last);
                ends.extend(stripe.map(|stripe| (segment, stripe.stripe + stripe.blocks)));
            }
        }
    }
    Ok(ends)
}

fn last_indexed_stripe(snapshot: &dyn Snapshot, segment: SegmentId) -> Result<Option<u32>> {
    let after = rows::stripe_key(SegmentId(segment.0.saturating_add(1)), 0);
    let Some((key, _)) = snapshot.last_row(rows::STRIPES, Some(&after))? else {
        return Ok(None);
    };
    let (of, stripe) = rows::decode_stripe_key(&key)?;
    Ok((of == segment).then_some(stripe))
}

/// Payload that no stripe has yet, by object: (group, session, offset, bytes).
type Waiting = BTreeMap<ObjectId, Vec<(Txg, SessionId, u64, Bytes)>>;

impl Engine {
    /// Fills the overlay from the tail of the log.
    fn load(&self, decoded: Decoded) -> Result<()> {
        let mut waiting = Waiting::new();
        for (txg, time, operations) in decoded.groups {
            let group = self.load_group(txg, time, operations, &mut waiting);
            self.add_group(group);
        }
        let mark = self.get(rows::SETTINGS, &crate::inodes::mark_key())?;
        self.inodes.restore(mark.as_deref())?;
        for (object, pieces) in waiting {
            self.restore_payload(object, pieces)?;
        }
        Ok(())
    }

    fn load_group(
        &self,
        txg: Txg,
        time: Timestamp,
        operations: Vec<Operation>,
        waiting: &mut Waiting,
    ) -> Group {
        let mut group = Group {
            txg,
            time,
            rows: 0,
            changes: Vec::new(),
            dead: Vec::new(),
        };
        for operation in operations {
            match operation {
                Operation::Row {
                    session,
                    table,
                    key,
                    value,
                } => {
                    group.rows += 1;
                    let version = Version {
                        txg,
                        session,
                        value,
                    };
                    self.overlay.lock(key.inode()).load(table, key, version);
                }
                Operation::Change(change) => group.changes.push(change),
                Operation::Dead { session, object } => {
                    waiting.remove(&object);
                    group.dead.push(DeadObject {
                        txg,
                        session,
                        object,
                    });
                }
                Operation::Payload {
                    session,
                    object,
                    offset,
                    bytes,
                } => {
                    waiting
                        .entry(object)
                        .or_default()
                        .push((txg, session, offset, bytes));
                }
                Operation::Moved(object) => {
                    waiting.remove(&object);
                }
            }
        }
        group
    }
}
