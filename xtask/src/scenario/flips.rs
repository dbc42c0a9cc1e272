//! Thousands of bytes flip in the files of a pool of three disks while clients read: no byte that they get is wrong, and
//! one scrub finds and repairs all that flipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use strongroom_device::{Device, Env, RealDevice, TokioEnv};
use strongroom_pool::Pool;
use tokio::task::JoinSet;

use crate::client::{Client, Target};
use crate::random::{Random, content};
use crate::server::Server;

const DISKS: usize = 3;
/// Blocks of the pool's files.
const BLOCK: u64 = 4096;
/// Flips this near to each other on different disks may hit the same checksum.
const NEAR: u64 = 32 << 10;
/// What a stripe's header and a mirror's part of a stripe take at most, here.
const HEADER_MAX: u64 = 16 << 10;
const STRIPE_MAX: u64 = (1 << 20) + HEADER_MAX;
const SIZES: [usize; 6] = [100, 4096, 20_000, 200_000, 700_000, 3_000_000];
const PIECE: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub files: u64,
    pub flips: usize,
    pub readers: u64,
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Outcome {
    /// Files that clients read while bytes flipped.
    pub reads: u64,
    /// Fragments of stripes in which a byte flipped.
    pub hit_fragments: u64,
    /// Flips in files of the index.
    pub hit_index: u64,
    /// Flips elsewhere: log, labels, epochs.
    pub hit_others: u64,
    /// What reads and the scrub met and repaired.
    pub bad_fragments: u64,
    pub bad_pages: u64,
}

/// Makes a pool with files, flips, scrubs, and judges. Every fault stays in the budget: of the three copies of a place
/// two are hit at most.
pub async fn run(directory: &Path, plan: Plan) -> Result<Outcome> {
    let server = Server::create(directory, DISKS)?;
    store_files(&server, plan).await?;
    server.stop()?;
    let disks: Vec<PathBuf> = (0..DISKS)
        .map(|n| directory.join(format!("disk-{n}")))
        .collect();
    let stripes = Stripes::of(&disks)?;
    let server = Server::start(directory)?;
    let stop = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for number in 0..plan.readers {
        let (stop, reads) = (Arc::clone(&stop), Arc::clone(&reads));
        readers.spawn(read_on(server.target(), plan, number, stop, reads));
    }
    let mut outcome = flip_all(&disks, &stripes, plan)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scrub(&server).await?;
    stop.store(true, Ordering::Release);
    while let Some(ended) = readers.join_next().await {
        ended?.context("a reader failed")?;
    }
    outcome.reads = reads.load(Ordering::Relaxed);
    judge(&server, &mut outcome).await?;
    // What only an opening reads was repaired from its other copies or did not matter.
    server.stop()?;
    let server = Server::start(directory).context("after the flips")?;
    check_all(&server.target(), plan).await?;
    server.stop()?;
    Ok(outcome)
}

fn name(number: u64) -> String {
    format!("file-{number}.bin")
}

fn bytes_of(plan: Plan, number: u64) -> Vec<u8> {
    let size = usize::try_from(number % SIZES.len() as u64).unwrap_or(0);
    content(plan.seed ^ number, SIZES[size])
}

async fn store_files(server: &Server, plan: Plan) -> Result<()> {
    let requests = server.connect().await?.share();
    for number in 0..plan.files {
        let handle = requests.create_file(&name(number)).await?;
        for (piece, data) in bytes_of(plan, number).chunks(PIECE).enumerate() {
            let at = (piece * PIECE) as u64;
            requests.write(handle, at, data.to_vec()).await?;
        }
        requests.flush(handle).await?;
        requests.close(handle).await?;
    }
    let start = Instant::now();
    while !server.is_settled()? {
        ensure!(start.elapsed() < PATIENCE, "the server does not settle");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Reads files at random and compares every byte.
async fn read_on(
    target: Target,
    plan: Plan,
    number: u64,
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
) -> Result<()> {
    let requests = Client::connect(&target).await?.share();
    let mut random = Random::new(plan.seed ^ (number << 32));
    while !stop.load(Ordering::Acquire) {
        compare(&requests, plan, random.below(plan.files)).await?;
        reads.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn compare(requests: &crate::client::Requests, plan: Plan, number: u64) -> Result<()> {
    let name = name(number);
    let told = || name.clone();
    let (handle, size) = requests.open_file(&name).await.with_context(told)?;
    let found = requests.read_all(handle, size).await.with_context(told)?;
    requests.close(handle).await.with_context(told)?;
    ensure!(found == bytes_of(plan, number), "WRONG BYTES in {name}");
    Ok(())
}

async fn check_all(target: &Target, plan: Plan) -> Result<()> {
    let requests = Client::connect(target).await?.share();
    for number in 0..plan.files {
        compare(&requests, plan, number).await?;
    }
    Ok(())
}

/// Where the stripes of each segment begin, in bytes of its shards.
struct Stripes(BTreeMap<String, Vec<u64>>);

impl Stripes {
    fn of(disks: &[PathBuf]) -> Result<Stripes> {
        let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
        let device = |path: &PathBuf| -> Result<Arc<dyn Device>> {
            Ok(RealDevice::open(Arc::clone(&env), path)?)
        };
        let devices = disks.iter().map(device).collect::<Result<_>>()?;
        let pool = Pool::open(Arc::clone(&env), devices)?;
        let mut stripes = BTreeMap::new();
        for segment in pool.segment_ids() {
            let contents = pool.contents(segment)?;
            let begin = contents
                .stripes
                .iter()
                .map(|info| u64::from(info.stripe) * BLOCK);
            stripes.insert(segment.to_string(), begin.collect());
        }
        Ok(Stripes(stripes))
    }

    /// All of the stripe whose header has a byte; None where the byte is in no header.
    fn whole_by(&self, segment: &str, offset: u64) -> Option<std::ops::Range<u64>> {
        let begin = self.find(segment, offset)?;
        if offset - begin >= HEADER_MAX {
            return None;
        }
        let all = self.0.get(segment)?;
        let next = all.iter().copied().find(|other| *other > begin);
        Some(begin..next.unwrap_or(begin + STRIPE_MAX))
    }

    /// The stripe of a byte of a shard file; None if it lies in none.
    fn find(&self, segment: &str, offset: u64) -> Option<u64> {
        let begin = self.0.get(segment)?;
        let after = begin.partition_point(|begin| *begin <= offset);
        after.checked_sub(1).map(|place| begin[place])
    }
}

/// One file of a disk.
struct Place {
    disk: usize,
    path: PathBuf,
    /// From the disk's directory on, without what tells copies apart.
    place: String,
    len: u64,
}

fn targets(disks: &[PathBuf]) -> Result<Vec<Place>> {
    let mut found = Vec::new();
    for (disk, root) in disks.iter().enumerate() {
        for path in super::rot::files_below(root)? {
            let len = fs::metadata(&path)?.len();
            let relative = path.strip_prefix(root)?.to_string_lossy().into_owned();
            let place = same_place(&relative);
            if len > 0 {
                found.push(Place {
                    disk,
                    path,
                    place,
                    len,
                });
            }
        }
    }
    Ok(found)
}

/// Shards of one segment, and copies of one file of log or index, are one place.
fn same_place(relative: &str) -> String {
    if let Some(shard) = relative.strip_prefix("segments/") {
        return shard.split('.').next().unwrap_or_default().to_owned();
    }
    let mut parts: Vec<&str> = relative.split('/').collect();
    if parts.len() == 3 {
        parts.remove(1);
    }
    parts.join("/")
}

fn flip_all(disks: &[PathBuf], stripes: &Stripes, plan: Plan) -> Result<Outcome> {
    let targets = targets(disks)?;
    let all: u64 = targets.iter().map(|target| target.len).sum();
    let mut random = Random::new(plan.seed);
    let mut hits: BTreeMap<(String, u64), BTreeSet<usize>> = BTreeMap::new();
    let mut fragments = BTreeSet::new();
    let mut outcome = Outcome::default();
    let mut flipped = 0;
    while flipped < plan.flips {
        let mut at = random.below(all);
        let target = targets.iter().find(|target| {
            let here = at < target.len;
            at -= if here { 0 } else { target.len };
            here
        });
        let target = target.context("a byte of all of them")?;
        // The neighbourhood and the next one, as checksums may span both.
        let around = |at: u64| [at / NEAR, (at + NEAR / 2) / NEAR + (1 << 40)];
        // Without its header nothing of a copy can be told from rot.
        let reach = stripes.whole_by(&target.place, at).unwrap_or(at..at + 1);
        let places = reach.step_by(usize::try_from(NEAR / 2)?).flat_map(around);
        let keys: BTreeSet<_> = places.map(|near| (target.place.clone(), near)).collect();
        let beyond = keys.iter().any(|key| {
            let disks = hits.get(key);
            disks.is_some_and(|disks| disks.len() >= 2 && !disks.contains(&target.disk))
        });
        if beyond || !flip(&target.path, at, &mut random)? {
            continue;
        }
        for key in keys {
            hits.entry(key).or_default().insert(target.disk);
        }
        flipped += 1;
        match stripes.find(&target.place, at) {
            Some(stripe) => drop(fragments.insert((target.place.clone(), target.disk, stripe))),
            None if target.place.starts_with("index") => outcome.hit_index += 1,
            None => outcome.hit_others += 1,
        }
    }
    outcome.hit_fragments = fragments.len() as u64;
    Ok(outcome)
}

/// Flips a bit; false where the block is empty, and so not in use. Sparse files are mostly that.
fn flip(path: &Path, offset: u64, random: &mut Random) -> Result<bool> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut block = [0; 512];
    let read = file.read_at(&mut block, offset & !511)?;
    let within = usize::try_from(offset & 511)?;
    if within >= read || block.iter().all(|byte| *byte == 0) {
        return Ok(false);
    }
    file.write_all_at(&[block[within] ^ 1 << random.below(8)], offset)?;
    Ok(true)
}

async fn scrub(server: &Server) -> Result<serde_json::Value> {
    server.admin(&["pool", "scrub", "start"])?;
    let start = Instant::now();
    loop {
        let told = server.admin(&["pool", "scrub", "status", "--json"])?;
        let scrub: serde_json::Value = serde_json::from_str(&told)?;
        let jobs = scrub["jobs"].as_array().context("jobs")?;
        let running = jobs.iter().any(|job| job["state"] == "running");
        if !running && scrub["running"] == false {
            ensure!(scrub["failed"].is_null(), "the scrub failed: {scrub}");
            return Ok(scrub);
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "the scrub does not end: {scrub}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// All was found, counted and repaired: a second scrub finds nothing.
async fn judge(server: &Server, outcome: &mut Outcome) -> Result<()> {
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or(u64::MAX);
    let status = server.status()?;
    let (pool, index) = (&status["pool"], &status["store"]["index"]);
    outcome.bad_fragments = number(&pool["bad_fragments"]);
    outcome.bad_pages = number(&index["bad_pages"]);
    println!("{outcome:?}");
    // A reader and the scrub may meet a bad fragment at once; one of them repairs it. That all are repaired is what the second
    // scrub says.
    let repaired = number(&pool["repaired_fragments"]);
    ensure!(
        (1..=outcome.bad_fragments).contains(&repaired)
            && number(&index["repaired_pages"]) == outcome.bad_pages,
        "not all that was met was repaired: {status}"
    );
    ensure!(
        number(&pool["lost_reads"]) == 0 && number(&index["lost_pages"]) == 0,
        "something was lost: {status}"
    );
    ensure!(
        outcome.bad_fragments >= outcome.hit_fragments,
        "of {} fragments hit, {} were met",
        outcome.hit_fragments,
        outcome.bad_fragments
    );
    let again = scrub(server).await?;
    ensure!(
        again["bad"] == 0 && again["lost_ranges"] == 0,
        "a second scrub found something: {again}"
    );
    let status = server.status()?;
    let pages = number(&status["store"]["index"]["bad_pages"]);
    ensure!(
        pages == outcome.bad_pages,
        "a second scrub of the index found pages: {status}"
    );
    Ok(())
}
