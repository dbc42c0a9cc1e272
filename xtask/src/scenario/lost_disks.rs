//! Disks are deleted under clients that work: no operation fails, and every byte is right, then and after a crash.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::client::{Client, Requests, Target};
use crate::random::{Random, content};
use crate::server::Server;

/// How hard to try.
#[derive(Debug, Clone)]
pub struct Plan {
    pub disks: usize,
    /// The numbers of those that are deleted, one after the other.
    pub lost: Vec<usize>,
    pub clients: u64,
    pub seed: u64,
    /// How long clients work before, between and after the losses.
    pub time: Duration,
    /// Whether they are then replaced, and as many others deleted.
    pub replaced: bool,
}

/// What clients did meanwhile.
#[derive(Debug, Default, Clone, Copy)]
pub struct Outcome {
    pub operations: u64,
    pub files: u64,
}

/// Runs the plan on a new pool whose layout the number of disks decides.
pub async fn run(directory: &Path, plan: &Plan) -> Result<Outcome> {
    let server = Server::create(directory, plan.disks)?;
    let mut tasks = JoinSet::new();
    let losses = u32::try_from(plan.lost.len())?;
    let until = Instant::now() + plan.time * (losses + 1);
    for number in 0..plan.clients {
        tasks.spawn(work(server.target(), number, plan.seed, until));
    }
    for lost in &plan.lost {
        tokio::time::sleep(plan.time).await;
        delete(&directory.join(format!("disk-{lost}")))?;
    }
    let mut outcome = Outcome::default();
    let mut diaries = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (diary, operations) = ended?.context("a client's operation failed")?;
        outcome.operations += operations;
        outcome.files += diary.files;
        diaries.push(diary);
    }
    check(&server.target(), &diaries).await?;
    wait_until_set_aside(&server, plan.lost.len()).await?;
    // What nobody flushed is durable after a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.kill()?;
    let server = Server::start(directory)?;
    check(&server.target(), &diaries)
        .await
        .context("after a kill and a start without the lost disks")?;
    if plan.replaced {
        replace(&server, directory, plan).await?;
        let mut others = (0..plan.disks).filter(|disk| !plan.lost.contains(disk));
        for _ in &plan.lost {
            let other = others.next().context("too few disks")?;
            delete(&directory.join(format!("disk-{other}")))?;
        }
        wait_until_set_aside(&server, plan.lost.len()).await?;
        check(&server.target(), &diaries)
            .await
            .context("with two replaced and two others deleted")?;
    }
    server.stop()?;
    Ok(outcome)
}

/// Gives the pool an empty directory for each that was lost, and waits until all is whole again.
async fn replace(server: &Server, directory: &Path, plan: &Plan) -> Result<()> {
    for lost in &plan.lost {
        let status = server.status()?;
        let disks = status["pool"]["disks"].as_array().context("no disks")?;
        let mut missing = disks.iter().filter(|disk| disk["state"] == "missing");
        let old = missing.next().context("none is missing")?["id"].clone();
        let new = directory.join(format!("new-{lost}"));
        fs::create_dir(&new)?;
        let words = ["pool", "replace-disk", old.as_str().context("no id")?];
        let new = new.to_str().context("a strange path")?;
        let words = [&words[..], &[new, "--allow-shared-device"]].concat();
        server.admin(&words)?;
    }
    let start = Instant::now();
    loop {
        let told = server.admin(&["pool", "status", "--json"])?;
        let status: serde_json::Value = serde_json::from_str(&told)?;
        let (upkeep, lost) = (&status["upkeep"], &status["upkeep"]["lost_disks"]);
        if lost.as_array().is_some_and(Vec::is_empty) && upkeep["task"] == "idle" {
            return Ok(());
        }
        ensure!(
            start.elapsed() < Duration::from_secs(120),
            "it does not become whole: {status}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// As `rm -rf` does, also while the server makes new files there.
fn delete(disk: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        match fs::remove_dir_all(disk) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !disk.exists() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(error).context("cannot delete a disk"),
        }
        ensure!(
            start.elapsed() < Duration::from_secs(10),
            "a disk cannot be deleted"
        );
    }
}

/// The server notices by itself, also when nobody works any more.
async fn wait_until_set_aside(server: &Server, lost: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        let status = server.status()?;
        let disks = status["pool"]["disks"].as_array().context("no disks")?;
        let away = disks
            .iter()
            .filter(|disk| disk["state"] != "member")
            .count();
        if away == lost {
            ensure!(
                status["pool"]["writable"] == true,
                "nothing can be written: {status}"
            );
            return Ok(());
        }
        ensure!(
            away < lost && start.elapsed() < Duration::from_secs(10),
            "{away} disks are set aside, {lost} were deleted: {status}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What one client wrote: files 0 to `files` of its directory.
#[derive(Debug)]
struct Diary {
    number: u64,
    seed: u64,
    files: u64,
}

/// Inline, in one shard, in one stripe, in several.
const SIZES: [usize; 5] = [700, 9_000, 150_000, 700_000, 3_000_000];
const PIECE: usize = 1 << 20;

impl Diary {
    fn directory(&self) -> String {
        format!("client-{}", self.number)
    }

    fn path(&self, file: u64) -> String {
        format!("{}/file-{file}", self.directory())
    }

    fn content(&self, file: u64) -> Vec<u8> {
        let seed = self.seed ^ (self.number << 40) ^ file;
        let size = usize::try_from((file + self.number) % SIZES.len() as u64).unwrap_or(0);
        content(seed, SIZES[size])
    }
}

/// Writes and reads until the time is over. The first refusal ends it.
async fn work(target: Target, number: u64, seed: u64, until: Instant) -> Result<(Diary, u64)> {
    let client = Client::connect(&target).await?;
    let requests = client.share();
    let mut random = Random::new(seed.wrapping_add(number));
    let mut diary = Diary {
        number,
        seed,
        files: 0,
    };
    requests.create_directory(&diary.directory()).await?;
    let mut operations = 1;
    while Instant::now() < until {
        operations += write(&requests, &diary, random.once_in(3)).await?;
        diary.files += 1;
        let file = random.below(diary.files);
        operations += compare(&requests, &diary, file).await?;
        // Leaves room for the disks of a small machine.
        tokio::time::sleep(Duration::from_millis(random.below(30))).await;
    }
    Ok((diary, operations))
}

async fn write(requests: &Requests, diary: &Diary, flush: bool) -> Result<u64> {
    let path = diary.path(diary.files);
    let told = || path.clone();
    let handle = requests.create_file(&path).await.with_context(told)?;
    let mut operations = 2;
    for (piece, data) in diary.content(diary.files).chunks(PIECE).enumerate() {
        let at = (piece * PIECE) as u64;
        requests
            .write(handle, at, data.to_vec())
            .await
            .with_context(told)?;
        operations += 1;
    }
    if flush {
        requests.flush(handle).await.with_context(told)?;
        operations += 1;
    }
    requests.close(handle).await.with_context(told)?;
    Ok(operations)
}

async fn compare(requests: &Requests, diary: &Diary, file: u64) -> Result<u64> {
    let path = diary.path(file);
    let told = || path.clone();
    let (handle, size) = requests.open_file(&path).await.with_context(told)?;
    let found = requests.read_all(handle, size).await.with_context(told)?;
    requests.close(handle).await.with_context(told)?;
    ensure!(found == diary.content(file), "WRONG BYTES in {path}");
    Ok(2 + found.len().div_ceil(PIECE) as u64)
}

/// Everything is there, byte for byte.
async fn check(target: &Target, diaries: &[Diary]) -> Result<()> {
    let client = Client::connect(target).await?;
    let requests = client.share();
    for diary in diaries {
        let listed = requests.list(&diary.directory()).await?.len() as u64;
        ensure!(
            listed == diary.files,
            "{listed} of {} files are listed",
            diary.files
        );
        for file in 0..diary.files {
            compare(&requests, diary, file).await?;
        }
    }
    Ok(())
}
