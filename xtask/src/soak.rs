//! `cargo xtask soak`: the long tests, whose last results docs/verification.md records.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::scenario::{growth, kill, real_input, rot};
use crate::server::target_directory;

/// The long tests by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soak {
    /// 100 kills under 8 writing clients.
    Kill,
    /// A directory of 1,000,000 files, then ten minutes of steady creates.
    Growth,
    /// All of Python's library and the documentation, with files of some GiB, by 4 clients at once.
    RealInput,
    /// 300 flipped bytes on one disk and on a mirror.
    Rot,
}

/// Runs one in a directory of its own below the build directory.
pub async fn run(what: Soak) -> Result<()> {
    let parent = target_directory().join("soak");
    std::fs::create_dir_all(&parent)?;
    let place = tempfile::tempdir_in(&parent)?;
    let start = Instant::now();
    match what {
        Soak::Kill => kill_100(place.path()).await?,
        Soak::Growth => growth_1m(place.path()).await?,
        Soak::RealInput => real_input_full(place.path())?,
        Soak::Rot => rot_300(place.path()).await?,
    }
    println!("done in {} s", start.elapsed().as_secs());
    Ok(())
}

/// Differs from run to run; printed, so that a failure can be repeated as far as its timing allows.
fn seed() -> u64 {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    seed
}

async fn kill_100(place: &Path) -> Result<()> {
    let open_limit = Duration::from_secs(1);
    let plan = kill::Plan {
        kills: 100,
        clients: 8,
        seed: seed(),
        open_limit,
    };
    let flushed = kill::run(place, plan).await?;
    println!("100 kills survived; {flushed} acknowledged flushes were all there");
    Ok(())
}

async fn growth_1m(place: &Path) -> Result<()> {
    let plan = growth::Plan {
        files: 1_000_000,
        sample: 5000,
        steady: Some(Duration::from_secs(600)),
        open_limit: Duration::from_secs(5),
        cost_limit: 1.5,
    };
    println!("{:#?}", growth::run(place, plan).await?);
    Ok(())
}

fn real_input_full(place: &Path) -> Result<()> {
    for clients in [1, 4] {
        let directory = place.join(format!("{clients}-clients"));
        let large_files = vec![2 << 30, (1 << 30) + 4097];
        let plan = real_input::Plan {
            sources: real_input::full_sources()?,
            large_files,
            clients,
        };
        real_input::run(&directory, &plan)?;
        std::fs::remove_dir_all(&directory)?;
        println!("{clients} clients: every byte came back");
    }
    Ok(())
}

async fn rot_300(place: &Path) -> Result<()> {
    for disks in [1, 2] {
        for crash in [false, true] {
            let plan = rot::Plan {
                disks,
                flips: 75,
                seed: seed(),
                crash,
            };
            let directory = place.join(format!("rot-{disks}-{crash}"));
            let outcome = rot::run(&directory, plan).await?;
            println!("{disks} disks, crash before: {crash}: {outcome:?}");
            std::fs::remove_dir_all(&directory)?;
        }
    }
    Ok(())
}
