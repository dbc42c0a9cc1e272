//! `cargo xtask soak`: the long tests, whose last results docs/verification.md records.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::kernel::suites::{FSX, PJDFSTEST};
use crate::kernel::{Network, Security};
use crate::scenario::{
    attack, churn, flips, growth, idle, kernel_kill, kernel_nfs, kernel_smb, kill, real_input, rot,
};
use crate::server::{Server, target_directory};

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
    /// 10,000 flipped bytes while clients read.
    Flips,
    /// The machine under the server is killed 30 times.
    KernelKill,
    /// The suites of POSIX semantics and of data integrity over a mount by the Linux kernel.
    KernelSmb,
    /// The same over NFS.
    KernelNfs,
    /// 1,000 idle connections with 10,000 open files.
    Idle,
    /// 8 clients whose connections are cut at random.
    Churn,
    /// A client that encrypts an office of 20,000 files, with the alarm and without it.
    Attack,
}

/// Runs one in a directory of its own below the build directory.
///
/// `minutes` is for the one whose length can be chosen.
pub async fn run(what: Soak, minutes: Option<u32>) -> Result<()> {
    let parent = target_directory().join("soak");
    std::fs::create_dir_all(&parent)?;
    let place = tempfile::tempdir_in(&parent)?;
    let start = Instant::now();
    match what {
        Soak::Kill => kill_100(place.path()).await?,
        Soak::Growth => growth_1m(place.path()).await?,
        Soak::RealInput => real_input_full(place.path())?,
        Soak::Rot => rot_300(place.path()).await?,
        Soak::Flips => flips_10000(place.path()).await?,
        Soak::KernelKill => kernel_kill(place.path())?,
        Soak::KernelSmb => kernel_smb(place.path())?,
        Soak::KernelNfs => kernel_nfs(place.path())?,
        Soak::Idle => idle_1000(place.path()).await?,
        Soak::Attack => attack(place.path()).await?,
        Soak::Churn => smb_churn(place.path(), minutes.unwrap_or(30)).await?,
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
        time: Duration::from_millis(500),
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

async fn flips_10000(place: &Path) -> Result<()> {
    let plan = flips::Plan {
        files: 1200,
        flips: 10_000,
        readers: 4,
        seed: seed(),
    };
    flips::run(place, plan).await?;
    println!("10,000 flips: no wrong byte, all found and repaired by one scrub");
    Ok(())
}

fn kernel_kill(place: &Path) -> Result<()> {
    let plan = kill::Plan {
        kills: 30,
        clients: 8,
        seed: seed(),
        time: Duration::from_secs(3),
        open_limit: Duration::from_secs(10),
    };
    let flushed = kernel_kill::run(place, plan)?;
    println!("30 killed machines; {flushed} acknowledged flushes were all there");
    Ok(())
}

fn kernel_smb(place: &Path) -> Result<()> {
    let network = Network::enter(&[FSX, PJDFSTEST])?;
    let server = Server::create_for_guests(place)?;
    let guest = kernel_smb::guest(1, Security::Signed, &kernel_smb::NUMBERS);
    let cases = kernel_smb::pjdfstest(
        &network,
        &guest,
        &[],
        kernel_smb::NUMBERS_SETTINGS,
        Duration::from_secs(3600),
    )?;
    println!(
        "pjdfstest: {} of {} cases passed, {} skipped",
        cases.passed.len(),
        cases.total(),
        cases.skipped.len()
    );
    for (case, said) in &cases.failed {
        println!("failed: {case}: {said}");
    }
    for (security, options) in [
        (Security::Signed, &kernel_smb::POSIX[..]),
        (Security::Encrypted, &[]),
    ] {
        let guest = kernel_smb::guest(1, security, options);
        kernel_smb::fsx(&network, &guest, &[1, 2, 3, 4], 20_000)?;
        println!("{security:?}, {options:?}: fsx found no wrong byte in 4 times 20,000 operations");
    }
    kernel_smb::check(&cases, kernel_smb::LEDGER)?;
    server.stop()
}

fn kernel_nfs(place: &Path) -> Result<()> {
    let network = Network::enter(&[FSX, PJDFSTEST])?;
    let server = Server::create_for_nfs_guests(place)?;
    for version in kernel_nfs::VERSIONS {
        let guest = kernel_nfs::guest(1, version);
        kernel_smb::fsx(&network, &guest, &[1, 2, 3, 4], 20_000)?;
        println!("{version:?}: fsx found no wrong byte in 4 times 20,000 operations");
        let cases = kernel_smb::pjdfstest(
            &network,
            &guest,
            &[],
            kernel_nfs::SETTINGS,
            Duration::from_secs(3600),
        )?;
        println!(
            "{version:?}: pjdfstest: {} of {} cases passed, {} skipped",
            cases.passed.len(),
            cases.total(),
            cases.skipped.len()
        );
        for (case, said) in &cases.failed {
            println!("failed: {case}: {said}");
        }
        kernel_smb::check(&cases, kernel_nfs::ledger(version))?;
    }
    server.stop()
}

async fn idle_1000(place: &Path) -> Result<()> {
    let plan = idle::Plan {
        connections: 1000,
        files_each: 10,
        measured: Duration::from_secs(20),
        memory_limit: 200 << 20,
        slowdown_limit: 1.2,
    };
    println!("{:#?}", idle::run(place, plan).await?);
    Ok(())
}

async fn attack(place: &Path) -> Result<()> {
    let plan = attack::Plan {
        files: 20_000,
        workers: 3,
        alarm: true,
        stopped_within: 200,
        undone_within: Duration::from_secs(60),
        seed: seed(),
    };
    println!("{:?}", attack::run(&place.join("alarm"), plan).await?);
    let plan = attack::Plan {
        files: 10_000,
        alarm: false,
        ..plan
    };
    println!("{:?}", attack::run(&place.join("none"), plan).await?);
    Ok(())
}

async fn smb_churn(place: &Path, minutes: u32) -> Result<()> {
    let plan = churn::Plan {
        clients: 8,
        duration: Duration::from_secs(60 * u64::from(minutes)),
        cut_every: Duration::from_secs(3),
        seed: seed(),
        growth_limit: 1.1,
    };
    println!("{:#?}", churn::run(place, plan).await?);
    Ok(())
}
