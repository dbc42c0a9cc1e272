//! Bytes flip on the disks while the server is down.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::client::Requests;
use crate::random::{Random, content};
use crate::server::Server;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// One disk, or a mirror.
    pub disks: usize,
    pub flips: usize,
    pub seed: u64,
    /// Crash right after the last flush, so that the log is ahead of the index.
    pub crash: bool,
}

/// What came of the flips.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Every file was read whole.
    pub harmless: usize,
    /// Some file could not be read, and the log says which.
    pub reported: usize,
    /// The server refused to open the pool, and said why.
    pub refused: usize,
}

/// The sizes stored: inline, one extent, several.
const SIZES: [usize; 6] = [0, 100, 4096, 20_000, 200_000, 3_000_000];

/// Flips one byte at a time in a copy of one and the same pool, and reads everything back.
pub async fn run(directory: &Path, plan: Plan) -> Result<Outcome> {
    let original = directory.join("original");
    fs::create_dir_all(&original)?;
    store_files(&original, plan).await?;
    let mut random = Random::new(plan.seed);
    let mut outcome = Outcome::default();
    for number in 0..plan.flips {
        let copy = directory.join("copy");
        copy_tree(&original, &copy)?;
        let flip = Flip::choose(&copy, &mut random)?;
        flip.apply()?;
        one_flip(&copy, plan, &mut outcome)
            .await
            .with_context(|| format!("flip {number}: {flip:?}"))?;
        fs::remove_dir_all(&copy)?;
    }
    Ok(outcome)
}

async fn store_files(directory: &Path, plan: Plan) -> Result<()> {
    let server = Server::create(directory, plan.disks)?;
    let requests = server.connect().await?.share();
    for (number, size) in SIZES.into_iter().enumerate() {
        let handle = requests.create_file(&name(number)).await?;
        for (piece, data) in content(number as u64, size).chunks(1 << 20).enumerate() {
            requests
                .write(handle, (piece as u64) << 20, data.to_vec())
                .await?;
        }
        requests.flush(handle).await?;
        requests.close(handle).await?;
    }
    if plan.crash {
        server.kill()
    } else {
        server.stop()
    }
}

fn name(number: usize) -> String {
    format!("file-{number}.bin")
}

async fn one_flip(copy: &Path, plan: Plan, outcome: &mut Outcome) -> Result<()> {
    let server = match Server::start_moved(copy, plan.disks) {
        Ok(server) => server,
        Err(error) => {
            ensure!(
                plan.disks == 1,
                "a mirror must open with one bad byte: {error}"
            );
            ensure!(
                error.to_string().contains("disk-0"),
                "the refusal names no disk: {error}"
            );
            outcome.refused += 1;
            return Ok(());
        }
    };
    let requests = server.connect().await?.share();
    let mut names = requests.list("").await?;
    names.sort();
    let expected: Vec<String> = (0..SIZES.len()).map(name).collect();
    ensure!(names == expected, "the directory lists {names:?}");
    let mut lost = Vec::new();
    for (number, size) in SIZES.into_iter().enumerate() {
        match read(&requests, &name(number)).await {
            Ok(found) => {
                let right = found == content(number as u64, size);
                ensure!(right, "WRONG BYTES in {}", name(number));
            }
            Err(error) => lost.push(format!("{}: {error:#}", name(number))),
        }
    }
    judge(&server, plan, &lost, outcome)
}

fn judge(server: &Server, plan: Plan, lost: &[String], outcome: &mut Outcome) -> Result<()> {
    if lost.is_empty() {
        outcome.harmless += 1;
        return Ok(());
    }
    ensure!(
        plan.disks == 1,
        "a mirror must give every file back: {lost:?}"
    );
    // Small neighbours lie in one checksummed block, so several may be lost at once; the log names each.
    let log = server.log();
    for line in lost {
        let file = line.split(':').next().unwrap_or_default();
        ensure!(log.contains(file), "{line:?} is not in the log:\n{log}");
    }
    outcome.reported += 1;
    Ok(())
}

async fn read(requests: &Requests, path: &str) -> Result<Vec<u8>> {
    let (handle, size) = requests.open_file(path).await?;
    let found = requests.read_all(handle, size).await?;
    requests.close(handle).await?;
    Ok(found)
}

/// One byte of one file of the pool.
#[derive(Debug)]
struct Flip {
    path: PathBuf,
    offset: u64,
    mask: u8,
}

impl Flip {
    /// Any file of the first disk with the same chance, so that small ones (labels, epochs) are hit too; in it any
    /// byte that is not part of a long run of zeroes, which are mostly space not used yet.
    fn choose(copy: &Path, random: &mut Random) -> Result<Flip> {
        let files = files_below(&copy.join("disk-0"))?;
        loop {
            let path = &files[usize::try_from(random.below(files.len() as u64))?];
            let file = fs::File::open(path)?;
            let length = file.metadata()?.len();
            if length == 0 {
                continue;
            }
            let offset = random.below(length);
            if random.once_in(8) || is_used(&file, offset)? {
                let mask = 1 << random.below(8);
                return Ok(Flip {
                    path: path.clone(),
                    offset,
                    mask,
                });
            }
        }
    }

    fn apply(&self) -> Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, self.offset)?;
        file.write_all_at(&[byte[0] ^ self.mask], self.offset)?;
        Ok(())
    }
}

fn is_used(file: &fs::File, offset: u64) -> Result<bool> {
    let mut around = [0; 256];
    let read = file.read_at(&mut around, offset & !255)?;
    Ok(around[..read].iter().any(|byte| *byte != 0))
}

pub(super) fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp")
        .args(["--recursive", "--sparse=always", "--reflink=auto"])
        .args([from, to])
        .status()?;
    ensure!(status.success(), "cp failed");
    Ok(())
}
