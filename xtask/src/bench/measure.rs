//! One row on one server: the clock while the client works, the CPU until nothing is left to do.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::subject::Subject;
use super::work::{self, Row};

/// What one turn of one row cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// While the client worked.
    pub(crate) elapsed: Duration,
    /// Server CPU while the client worked.
    pub(crate) foreground: Duration,
    /// Server CPU after that, until its dirty data was on disk and it was idle.
    pub(crate) deferred: Duration,
    /// Operations, or bytes for the sequential rows.
    pub(crate) amount: f64,
}

pub(crate) async fn row(
    subjects: &mut [Subject],
    which: usize,
    row: &Row,
    turn: usize,
    disk: &Path,
) -> Result<Sample> {
    settle(subjects, disk).await?;
    let before = subjects[which].cpu()?;
    let start = Instant::now();
    let amount = work::run(&mut subjects[which], row, turn).await?;
    let elapsed = start.elapsed();
    let worked = subjects[which].cpu()?;
    settle(subjects, disk).await?;
    let settled = subjects[which].cpu()?;
    let (foreground, deferred) = (worked - before, settled - worked);
    Ok(Sample {
        elapsed,
        foreground,
        deferred,
        amount,
    })
}

const STEP: Duration = Duration::from_millis(250);
/// So long must all servers together have used no more than two clock ticks.
const QUIET_STEPS: usize = 4;
const QUIET_CPU: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until dirty data is on disk and every server is idle.
async fn settle(subjects: &[Subject], disk: &Path) -> Result<()> {
    rustix::fs::syncfs(File::open(disk)?)?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let before = total_cpu(subjects)?;
        tokio::time::sleep(STEP * u32::try_from(QUIET_STEPS)?).await;
        if total_cpu(subjects)? - before <= QUIET_CPU && all_settled(subjects)? {
            rustix::fs::syncfs(File::open(disk)?)?;
            return Ok(());
        }
    }
    println!("note: a server was still busy after {PATIENCE:?}; its row counts what it had used");
    Ok(())
}

fn total_cpu(subjects: &[Subject]) -> Result<Duration> {
    subjects.iter().map(Subject::cpu).sum()
}

fn all_settled(subjects: &[Subject]) -> Result<bool> {
    for subject in subjects {
        if !subject.is_settled()? {
            return Ok(false);
        }
    }
    Ok(true)
}
