//! `cargo xtask bench pool`: what the pool costs beside doing the same plainly, on the same disk in the same run.
//!
//! Store and pool run in this process, on six directories with layout 4+2, each behind its own threads as in the
//! program. Plain work is one file, written and read in pieces of 1 MiB. Both begin with cold caches where this may be
//! had (root), and writing ends with a sync. Turns alternate, and the median counts.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use strongroom_device::{BoundedDevice, Device, Env, RealDevice, TokioEnv};
use strongroom_pool::reed_solomon::Code;
use strongroom_pool::{DiskOptions, DiskState, Layout, OpenOptions, Planted, Pool};
use strongroom_store::{Inode, ObjectId, SessionId, Store, StoreOptions};

use super::Place;
use super::report::{Line, Report};
use crate::cpu;
use crate::random::content;

const LAYOUT: Layout = Layout { data: 4, parity: 2 };
const STRIPE: usize = 256 * 1024;
const PIECE: usize = 1 << 20;
const SESSION: SessionId = SessionId(1);
/// As the program's default.
const DISK_LIMIT: Duration = Duration::from_secs(20);
const SMALL: usize = 4096;
/// A rebuild that takes longer hangs.
const REBUILD_MAX: Duration = Duration::from_secs(300);
/// Bytes of a shard that one step of a scrub compares, as in the store.
const SCRUB_STEP: u64 = 32 << 20;
/// Synced writes of one turn.
const SYNCS: usize = 200;

/// How much to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes written and read in a turn.
    pub bytes: u64,
    pub turns: usize,
}

/// Runs everything and writes `target/bench/pool.json`.
pub async fn run(options: Options) -> Result<()> {
    let place = Place::new("pool")?;
    println!("{}, {} MiB a turn", Code::kernel(), options.bytes >> 20);
    let mut lines = vec![encode(options.turns), rebuild(options.turns)];
    let mut turns = Vec::new();
    for turn in 0..options.turns {
        turns.push(one_turn(place.path(), options, turn).await?);
        println!("turn {} of {} done", turn + 1, options.turns);
    }
    lines.extend(Turn::lines(&turns));
    lines.extend(super::cost::lines(place.path(), options.bytes / 4, options.turns).await?);
    let report = Report::of(lines, options.turns);
    print!("{report}");
    report.write(&place.report())
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(super) fn line(
    name: &str,
    unit: &'static str,
    better: &'static str,
    ours: f64,
    peer: Option<(f64, &'static str)>,
) -> Line {
    Line {
        name: name.to_owned(),
        ours: Some(ours),
        peer: peer.map(|(peer, _)| peer),
        unit,
        better,
        ratio: peer.map(|(peer, _)| ours / peer),
        peer_setup: peer.map(|(_, setup)| setup),
        ..Line::default()
    }
}

/// The shards of one stripe.
fn shards() -> Vec<Vec<u8>> {
    let len = STRIPE / usize::from(LAYOUT.data);
    (0..LAYOUT.width())
        .map(|shard| content(shard as u64, len))
        .collect()
}

/// GB of data a second of a piece of work on one stripe.
fn speed(mut work: impl FnMut()) -> f64 {
    const ROUNDS: usize = 500;
    let start = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    (ROUNDS * STRIPE) as f64 / 1e9 / start.elapsed().as_secs_f64()
}

fn encode(turns: usize) -> Line {
    let code = Code::new(LAYOUT);
    let mut all = shards();
    let (data, parity) = all.split_at_mut(usize::from(LAYOUT.data));
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    let speeds = (0..turns.max(5)).map(|_| speed(|| code.encode(black_box(&data), &mut parity)));
    line(
        "encode 4+2",
        "GB/s a core",
        "higher",
        median(speeds.collect()),
        None,
    )
}

/// Both of two lost data shards.
fn rebuild(turns: usize) -> Line {
    let code = Code::new(LAYOUT);
    let all = shards();
    let (present, lost) = ([2, 3, 4, 5], [0, 1]);
    let sources: Vec<&[u8]> = present
        .iter()
        .map(|shard| all[usize::from(*shard)].as_slice())
        .collect();
    let mut targets = vec![vec![0; all[0].len()]; lost.len()];
    let mut targets: Vec<&mut [u8]> = targets.iter_mut().map(Vec::as_mut_slice).collect();
    let mut work = || {
        code.plan(&present, &lost)
            .apply(black_box(&sources), &mut targets)
    };
    let speeds = (0..turns.max(5)).map(|_| speed(&mut work));
    line(
        "rebuild two at 4+2",
        "GB/s a core",
        "higher",
        median(speeds.collect()),
        None,
    )
}

/// What one turn measured. Rates are bytes a second, times seconds.
#[derive(Debug, Default)]
struct Turn {
    write: f64,
    plain_write: f64,
    read: f64,
    scrub: f64,
    plain_read: f64,
    sync_alone: f64,
    sync_beside_bulk: f64,
    /// Bytes read and written a second.
    rebuild: f64,
    plain_copy: f64,
    /// CPU seconds a GiB, with checksums and without.
    write_cpu: [f64; 2],
    read_cpu: [f64; 2],
}

impl Turn {
    fn lines(turns: &[Turn]) -> Vec<Line> {
        let of = |pick: fn(&Turn) -> f64| median(turns.iter().map(pick).collect());
        let (read, written) = (
            of(|turn| turn.plain_read) / 1e6,
            of(|turn| turn.plain_write) / 1e6,
        );
        let alone = of(|turn| turn.sync_alone) * 1e3;
        vec![
            line(
                "sequential write 4+2",
                "MB/s",
                "higher",
                of(|turn| turn.write) / 1e6,
                Some((written, "plain file")),
            ),
            line(
                "sequential read 4+2",
                "MB/s",
                "higher",
                of(|turn| turn.read) / 1e6,
                Some((read, "plain file")),
            ),
            line(
                "scrub 4+2",
                "MB/s",
                "higher",
                of(|turn| turn.scrub) / 1e6,
                Some((read, "plain file")),
            ),
            line(
                "rebuild of one disk 4+2",
                "MB/s read and written",
                "higher",
                of(|turn| turn.rebuild) / 1e6,
                Some((of(|turn| turn.plain_copy) / 1e6, "plain copy")),
            ),
            line(
                "write with checksums",
                "CPU s/GiB",
                "lower",
                of(|turn| turn.write_cpu[0]),
                Some((of(|turn| turn.write_cpu[1]), "without")),
            ),
            line(
                "read with checksums",
                "CPU s/GiB",
                "lower",
                of(|turn| turn.read_cpu[0]),
                Some((of(|turn| turn.read_cpu[1]), "without")),
            ),
            line(
                "synced 4 KiB beside a bulk writer",
                "ms, median",
                "lower",
                of(|turn| turn.sync_beside_bulk) * 1e3,
                Some((alone, "alone")),
            ),
        ]
    }
}

async fn one_turn(place: &Path, options: Options, turn: usize) -> Result<Turn> {
    let mut result = Turn::default();
    let mut setup = Setup::new(&place.join("pool"))?;
    let plain = place.join("plain");
    // Who comes first changes, as a disk may be faster where it is empty.
    for step in 0..2 {
        if (step + turn).is_multiple_of(2) {
            result.write = setup.write(options.bytes).await?;
        } else {
            result.plain_write = write_plain(&plain, options.bytes)?;
        }
    }
    for step in 0..3 {
        match (step + turn) % 3 {
            0 => result.plain_read = read_plain(&plain)?,
            1 => result.read = setup.read(options.bytes)?,
            _ => result.scrub = setup.scrub()?,
        }
    }
    result.sync_alone = setup.synced_writes().await?;
    result.sync_beside_bulk = setup.synced_beside_bulk().await?;
    setup.store.close().await?;
    drop(setup);
    for step in 0..2 {
        if (step + turn).is_multiple_of(2) {
            result.rebuild = rebuild_disk(&place.join("pool")).await?;
        } else {
            result.plain_copy = copy_plain(&plain)?;
        }
    }
    fs::remove_dir_all(place.join("pool"))?;
    fs::remove_file(&plain)?;
    for step in 0..2 {
        let off = (step + turn) % 2;
        let directory = place.join("checksums");
        let (write, read) = cpu_costs(&directory, options.bytes / 2, off == 1).await?;
        (result.write_cpu[off], result.read_cpu[off]) = (write, read);
        fs::remove_dir_all(&directory)?;
    }
    Ok(result)
}

/// CPU seconds of this process a GiB, of writing until all is durable and of reading from the page cache.
async fn cpu_costs(place: &Path, bytes: u64, without: bool) -> Result<(f64, f64)> {
    let planted = Planted {
        forget_checksums: without,
        trust_checksums: without,
        ..Planted::default()
    };
    let mut setup = Setup::with(place, planted)?;
    let gib = bytes as f64 / f64::from(1 << 30);
    let used = || cpu::of_tree(std::process::id());
    let before = used()?;
    setup.write(bytes).await?;
    let written = used()?;
    // The first round warms up.
    setup.read_warm(bytes)?;
    let warm = used()?;
    setup.read_warm(bytes)?;
    let read = used()?;
    setup.store.close().await?;
    let cost = |from: Duration, to: Duration| (to - from).as_secs_f64() / gib;
    Ok((cost(before, written), cost(warm, read)))
}

/// A disk is gone, a new one takes its place: bytes read and written a second until all is whole and synced.
async fn rebuild_disk(place: &Path) -> Result<f64> {
    let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
    let lost = LAYOUT.width() - 1;
    let old = disk_path(place, lost);
    fs::remove_dir_all(&old)?;
    let devices = (0..lost).map(|disk| device(&env, &disk_path(place, disk)));
    let pool = Pool::open(Arc::clone(&env), devices.collect::<Result<_>>()?)?;
    let store = Store::open(Arc::clone(&env), Arc::clone(&pool), StoreOptions::default())?;
    let status = pool.status();
    let missing = status
        .disks
        .iter()
        .find(|disk| disk.state != DiskState::Member);
    let missing = pool.find_disk(&missing.context("no disk is missing")?.id)?;
    let new = disk_path(place, lost + 1);
    cool();
    let start = Instant::now();
    let options = DiskOptions {
        allow_shared_device: true,
        ..DiskOptions::default()
    };
    pool.replace_disk(missing, device(&env, &new)?, options)?;
    store.disks_changed();
    loop {
        let status = pool.upkeep_status();
        if status.lost_disks.is_empty() && status.segments_short == 0 {
            break;
        }
        ensure!(
            start.elapsed() < REBUILD_MAX,
            "the rebuild does not end: {status:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rustix::fs::sync();
    let elapsed = start.elapsed().as_secs_f64();
    let mut shards = 0;
    for entry in fs::read_dir(new.join("segments"))? {
        shards += entry?.metadata()?.blocks() * 512;
    }
    store.close().await?;
    let read = u64::from(LAYOUT.data) * shards;
    Ok((read + shards) as f64 / elapsed)
}

fn copy_plain(path: &Path) -> Result<f64> {
    let copy = path.with_extension("copy");
    cool();
    let start = Instant::now();
    let (from, to) = (File::open(path)?, File::create(&copy)?);
    let (len, mut buffer) = (from.metadata()?.len(), vec![0; PIECE]);
    for number in 0..len / PIECE as u64 {
        let at = number * PIECE as u64;
        from.read_exact_at(&mut buffer, at)?;
        to.write_all_at(&buffer, at)?;
    }
    rustix::fs::sync();
    let elapsed = start.elapsed().as_secs_f64();
    fs::remove_file(&copy)?;
    Ok(2.0 * len as f64 / elapsed)
}

/// Forgets what the kernel has cached; without the right to, all rows of a run are warm alike.
pub(super) fn cool() {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").ok();
}

fn piece(number: u64) -> Vec<u8> {
    content(number % 16, PIECE)
}

fn write_plain(path: &Path, bytes: u64) -> Result<f64> {
    let pieces: Vec<Vec<u8>> = (0..16).map(piece).collect();
    cool();
    let file = File::create(path)?;
    let start = Instant::now();
    for number in 0..bytes / PIECE as u64 {
        let data = &pieces[usize::try_from(number % 16)?];
        file.write_all_at(data, number * PIECE as u64)?;
    }
    file.sync_data()?;
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

fn read_plain(path: &Path) -> Result<f64> {
    cool();
    let file = File::open(path)?;
    let (len, mut buffer) = (file.metadata()?.len(), vec![0; PIECE]);
    let start = Instant::now();
    for number in 0..len / PIECE as u64 {
        file.read_exact_at(&mut buffer, number * PIECE as u64)?;
    }
    black_box(&buffer);
    Ok(len as f64 / start.elapsed().as_secs_f64())
}

/// A store on six directories.
struct Setup {
    pool: Arc<Pool>,
    store: Arc<Store>,
    object: ObjectId,
    next_small: u64,
}

impl Setup {
    fn new(place: &Path) -> Result<Setup> {
        Self::with(place, Planted::default())
    }

    fn with(place: &Path, planted: Planted) -> Result<Setup> {
        let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
        let devices = || {
            let disks = 0..LAYOUT.width();
            let devices = disks.map(|disk| device(&env, &disk_path(place, disk)));
            devices.collect::<Result<Vec<_>>>()
        };
        drop(Pool::create(Arc::clone(&env), devices()?, LAYOUT)?);
        let options = OpenOptions {
            planted,
            ..OpenOptions::default()
        };
        let pool = Pool::open_with(Arc::clone(&env), devices()?, options)?;
        let store = Store::create(env, Arc::clone(&pool), StoreOptions::default())?;
        let object = ObjectId::data(store.allocate_inode(Inode(1)));
        Ok(Setup {
            pool,
            store,
            object,
            next_small: 0,
        })
    }

    async fn write(&mut self, bytes: u64) -> Result<f64> {
        let pieces: Vec<Vec<u8>> = (0..16).map(piece).collect();
        cool();
        let start = Instant::now();
        for number in 0..bytes / PIECE as u64 {
            let data = &pieces[usize::try_from(number % 16)?];
            let at = number * PIECE as u64;
            self.store
                .write(SESSION, self.object, at, data, None)
                .await?;
        }
        self.store.sync(&[self.object]).await?;
        Ok(bytes as f64 / start.elapsed().as_secs_f64())
    }

    fn read(&self, bytes: u64) -> Result<f64> {
        cool();
        self.read_warm(bytes)
    }

    fn read_warm(&self, bytes: u64) -> Result<f64> {
        let mut buffer = vec![0; PIECE];
        let start = Instant::now();
        for number in 0..bytes / PIECE as u64 {
            let read = self
                .store
                .read(self.object, number * PIECE as u64, &mut buffer)?;
            ensure!(read == PIECE, "the object ends early");
        }
        let elapsed = start.elapsed();
        ensure!(
            buffer == piece(bytes / PIECE as u64 - 1),
            "other bytes were read"
        );
        Ok(bytes as f64 / elapsed.as_secs_f64())
    }

    /// All bytes of all shards, as each is read and compared.
    fn scrub(&self) -> Result<f64> {
        cool();
        let start = Instant::now();
        let mut bytes = 0;
        for segment in self.pool.segment_ids() {
            let mut from = Some(0);
            while let Some(block) = from {
                let part = self.pool.scrub_segment(segment, block, SCRUB_STEP)?;
                ensure!(part.bad == 0, "the pool is damaged: {part:?}");
                bytes += part.bytes;
                from = part.next;
            }
        }
        Ok(bytes as f64 / start.elapsed().as_secs_f64())
    }

    /// The median time of a small write and the sync of its file.
    async fn synced_writes(&mut self) -> Result<f64> {
        let data = content(3, SMALL);
        let object = ObjectId::data(self.store.allocate_inode(Inode(1)));
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let at = self.next_small * SMALL as u64;
            self.next_small += 1;
            let start = Instant::now();
            self.store.write(SESSION, object, at, &data, None).await?;
            self.store.sync(&[object]).await?;
            times.push(start.elapsed().as_secs_f64());
        }
        Ok(median(times))
    }

    async fn synced_beside_bulk(&mut self) -> Result<f64> {
        let stop = Arc::new(AtomicBool::new(false));
        let bulk = tokio::spawn(write_until(Arc::clone(&self.store), Arc::clone(&stop)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let median = self.synced_writes().await;
        stop.store(true, Ordering::Release);
        bulk.await.context("the bulk writer")??;
        median
    }
}

fn disk_path(place: &Path, disk: usize) -> PathBuf {
    place.join(format!("disk-{disk}"))
}

fn device(env: &Arc<dyn Env>, path: &Path) -> Result<Arc<dyn Device>> {
    fs::create_dir_all(path)?;
    let real = RealDevice::open(Arc::clone(env), path)?;
    Ok(BoundedDevice::new(Arc::clone(env), real, DISK_LIMIT))
}

/// One file after the other, as fast as the store takes it; the one before goes, so that the disk does not fill up.
async fn write_until(store: Arc<Store>, stop: Arc<AtomicBool>) -> Result<()> {
    const FILE: u64 = 256;
    let data = piece(1);
    while !stop.load(Ordering::Acquire) {
        let object = ObjectId::data(store.allocate_inode(Inode(1)));
        for number in 0..FILE {
            if stop.load(Ordering::Acquire) {
                break;
            }
            store
                .write(SESSION, object, number * PIECE as u64, &data, None)
                .await?;
        }
        store.truncate(SESSION, object, 0, None).await?;
    }
    Ok(())
}
