//! A disk of a real pool stops answering in the kernel: its file system is frozen. Clients go on, and when it answers
//! again it is brought up to date.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::Requests;
use crate::disk_image::DiskImage;
use crate::random::content;
use crate::server::Server;

/// How long a disk is waited for, in seconds.
const LIMIT: u64 = 2;
const DISKS: usize = 3;
const DISK_BYTES: u64 = 3 << 30;

/// Needs root. Writes, freezes one of three disks, writes on, thaws it, has another vanish, and reads everything back.
pub async fn run(directory: &Path) -> Result<()> {
    let disks = (0..DISKS)
        .map(|number| DiskImage::create(directory, number, DISK_BYTES))
        .collect::<Result<Vec<_>>>()?;
    let paths: Vec<PathBuf> = disks.iter().map(|disk| disk.pool()).collect();
    let limit = LIMIT.to_string();
    let server = Server::create_on(
        directory,
        &paths,
        &["--layout", "2+1", "--disk-timeout", &limit],
    )?;
    let requests = server.connect().await?.share();
    for number in 0..10 {
        write(&requests, number).await?;
    }
    disks[1].freeze()?;
    let start = Instant::now();
    for number in 10..40 {
        write(&requests, number).await?;
    }
    let took = start.elapsed();
    let status = server.status()?;
    disks[1].thaw()?;
    // A few operations may each have waited for it, one after the other.
    ensure!(
        took < Duration::from_secs(10 * LIMIT),
        "clients waited for {took:?}"
    );
    let disk = &status["pool"]["disks"][1];
    ensure!(disk["state"] == "set_aside", "{status}");
    let reason = disk["reason"].as_str().context("no reason")?;
    ensure!(reason.contains("hangs"), "{reason}");
    for number in 0..40 {
        check(&requests, number).await?;
    }
    wait_until_back(&server).await?;
    // It is as good as the others.
    std::fs::remove_dir_all(&paths[0])?;
    for number in 0..40 {
        check(&requests, number).await?;
    }
    server.stop()?;
    let server = Server::start(directory)?;
    let requests = server.connect().await?.share();
    for number in 0..40 {
        check(&requests, number).await?;
    }
    server.stop()
}

/// The disk comes back without a word, and gets what it missed.
async fn wait_until_back(server: &Server) -> Result<()> {
    let start = Instant::now();
    loop {
        let told = server.admin(&["pool", "status", "--json"])?;
        let status: serde_json::Value = serde_json::from_str(&told)?;
        let lost = status["upkeep"]["lost_disks"].as_array();
        if status["pool"]["disks"][1]["state"] == "member" && lost.is_some_and(Vec::is_empty) {
            return Ok(());
        }
        ensure!(
            start.elapsed() < Duration::from_secs(100),
            "the disk does not come back: {status}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn file(number: u64) -> (String, Vec<u8>) {
    let len = [900, 150_000, 2_500_000][usize::try_from(number % 3).unwrap_or(0)];
    (format!("file-{number}"), content(number, len))
}

async fn write(requests: &Requests, number: u64) -> Result<()> {
    let (name, bytes) = file(number);
    let handle = requests.create_file(&name).await?;
    for (piece, data) in bytes.chunks(1 << 20).enumerate() {
        requests
            .write(handle, (piece as u64) << 20, data.to_vec())
            .await?;
    }
    requests.flush(handle).await?;
    requests.close(handle).await
}

async fn check(requests: &Requests, number: u64) -> Result<()> {
    let (name, bytes) = file(number);
    let (handle, size) = requests.open_file(&name).await?;
    let found = requests.read_all(handle, size).await?;
    requests.close(handle).await?;
    ensure!(found == bytes, "WRONG BYTES in {name}");
    Ok(())
}
