//! `cargo xtask bench smb`: Strongroom and Samba on one disk, driven turn by turn by one client. `bench history`:
//! Strongroom that keeps the past and one that does not. `bench pool`: the pool beside plain files.
//!
//! Every row is run on each server in turn, in an order that rotates, and the median of the turns counts. CPU time is
//! the server's own, from the row's start until all dirty data is on disk and every server is idle.

mod cost;
pub mod echo;
mod measure;
pub mod pool;
mod report;
mod subject;
mod work;

use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use crate::samba::{Samba, Setup};
use crate::server::target_directory;
use report::{Report, Samples};
use subject::Subject;
pub use work::Scale;
use work::{Row, history_rows, prepare, smb_rows};

/// How much to run.
#[derive(Debug, Clone)]
pub struct Options {
    pub scale: Scale,
    pub turns: usize,
    /// Only the peer, to prove the harness.
    pub peer_only: bool,
    /// Only rows whose name contains this.
    pub only: Option<String>,
}

/// Runs the whole benchmark and writes `target/bench/smb.json`.
pub async fn smb(options: &Options) -> Result<()> {
    println!("Samba: {}", Samba::version()?);
    let place = Place::new("smb")?;
    let subjects = start(place.path(), options).await?;
    compare(subjects, &smb_rows(&options.scale), options, &place).await
}

/// What the past costs, to `target/bench/history.json`.
pub async fn history(options: &Options) -> Result<()> {
    let place = Place::new("history")?;
    let subjects = vec![
        Subject::strongroom(&place.path().join("with")).await?,
        Subject::without_history(&place.path().join("without")).await?,
    ];
    compare(subjects, &history_rows(&options.scale), options, &place).await
}

/// Where the servers keep their data, and the report comes.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    name: &'static str,
    servers: TempDir,
}

impl Place {
    fn new(name: &'static str) -> Result<Place> {
        let directory = target_directory().join("bench");
        std::fs::create_dir_all(&directory)?;
        let servers = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(&directory)?;
        Ok(Place {
            directory,
            name,
            servers,
        })
    }

    fn path(&self) -> &Path {
        self.servers.path()
    }

    fn report(&self) -> PathBuf {
        self.directory.join(self.name).with_extension("json")
    }
}

async fn compare(
    mut subjects: Vec<Subject>,
    rows: &[Row],
    options: &Options,
    place: &Place,
) -> Result<()> {
    for subject in &subjects {
        println!("{:<20} {}", subject.name(), subject.agreed());
    }
    let samples = run(&mut subjects, rows, options, place.path()).await?;
    let report = Report::new(&samples, options);
    print!("{report}");
    report.write(&place.report())
}

async fn start(place: &Path, options: &Options) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    if !options.peer_only {
        subjects.push(Subject::strongroom(&place.join("strongroom")).await?);
    }
    for setup in [Setup::AsItComes, Setup::Tuned] {
        let share = place.join(setup.name().replace(' ', "-"));
        subjects.push(Subject::samba(setup, &share).await?);
    }
    subjects.push(Subject::floor().await?);
    Ok(subjects)
}

async fn run(
    subjects: &mut [Subject],
    rows: &[Row],
    options: &Options,
    disk: &Path,
) -> Result<Samples> {
    let mut samples = Samples::default();
    for turn in 0..options.turns {
        for subject in subjects.iter_mut() {
            prepare(subject, turn).await?;
        }
        for row in rows {
            one_row(subjects, row, turn, disk, options, &mut samples).await?;
        }
        println!("turn {} of {} done", turn + 1, options.turns);
    }
    Ok(samples)
}

/// Rows build on those before them, so one that is left out of the report is still run.
async fn one_row(
    subjects: &mut [Subject],
    row: &Row,
    turn: usize,
    disk: &Path,
    options: &Options,
    samples: &mut Samples,
) -> Result<()> {
    let wanted = options
        .only
        .as_ref()
        .is_none_or(|only| row.name().contains(only.as_str()));
    for step in 0..subjects.len() {
        let which = (step + turn) % subjects.len();
        if wanted {
            let sample = measure::row(subjects, which, row, turn, disk).await?;
            samples.add(row, subjects[which].kind(), sample);
        } else {
            work::run(&mut subjects[which], row, turn).await?;
        }
    }
    Ok(())
}
