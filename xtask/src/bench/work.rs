//! The rows: what the client does in each.

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::echo::Exchange;
use super::subject::{CONNECTIONS, Subject};
use crate::client::Requests;

/// How much each row does.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub sequential_bytes: u64,
    pub files: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    SequentialWrite,
    SequentialRead,
    Create,
    Read,
    Stat,
    List,
    Delete,
    /// Empties a file and writes it anew.
    Overwrite,
}

impl Operation {
    pub(crate) fn is_sequential(self) -> bool {
        matches!(self, Operation::SequentialWrite | Operation::SequentialRead)
    }

    fn word(self) -> &'static str {
        match self {
            Operation::SequentialWrite => "sequential write",
            Operation::SequentialRead => "sequential read",
            Operation::Create => "create",
            Operation::Read => "read",
            Operation::Stat => "stat",
            Operation::List => "list",
            Operation::Delete => "delete",
            Operation::Overwrite => "overwrite",
        }
    }

    /// The sizes of its requests and answers, for the floor: an SMB header (64 bytes), the fixed part, the payload.
    fn exchanges(self) -> Vec<Exchange> {
        let (create, close) = ((160, 152), (88, 124));
        match self {
            Operation::SequentialWrite => vec![(112 + (1 << 20), 80)],
            Operation::SequentialRead => vec![(113, 80 + (1 << 20))],
            Operation::Create | Operation::Overwrite => {
                vec![create, (112 + FILE_BYTES, 80), close]
            }
            Operation::Read => vec![create, (113, 80 + FILE_BYTES), close],
            Operation::Stat => vec![create, (104, 128), close],
            Operation::List => vec![(98, 72 + 65536)],
            Operation::Delete => vec![create, (97, 66), close],
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) operation: Operation,
    pub(crate) connections: usize,
    /// By the share that takes nothing unencrypted.
    pub(crate) sealed: bool,
    amount: u64,
}

impl Row {
    pub(crate) fn name(&self) -> String {
        let sealed = if self.sealed { ", encrypted" } else { "" };
        let (operation, connections) = (self.operation.word(), self.connections);
        format!("{operation} {connections} conn{sealed}")
    }
}

const FILE_BYTES: usize = 4096;
const PIECE: usize = 1 << 20;
const IN_FLIGHT: usize = 8;
/// A listing is so cheap that one alone is lost in the clock's ticks.
const LISTINGS: usize = 8;
/// Entries that one answer of 64 KiB holds (104 bytes and the name of each, aligned to 8).
const ENTRIES_AN_ANSWER: usize = 65536 / 128;

/// In the order in which they build on each other.
pub(crate) fn smb_rows(scale: &Scale) -> Vec<Row> {
    let sequential = [false, true].into_iter().flat_map(|sealed| {
        [Operation::SequentialWrite, Operation::SequentialRead].map(|operation| Row {
            operation,
            connections: 1,
            sealed,
            amount: scale.sequential_bytes,
        })
    });
    let small = [
        Operation::Create,
        Operation::Read,
        Operation::Stat,
        Operation::List,
        Operation::Delete,
    ];
    sequential.chain(small_rows(scale, &small)).collect()
}

/// What history can make dearer: what begins and what ends rows.
pub(crate) fn history_rows(scale: &Scale) -> Vec<Row> {
    let changes = [Operation::Create, Operation::Overwrite, Operation::Delete];
    small_rows(scale, &changes)
}

fn small_rows(scale: &Scale, operations: &[Operation]) -> Vec<Row> {
    let amount = scale.files as u64;
    let with = |connections| {
        operations.iter().map(move |&operation| Row {
            operation,
            connections,
            sealed: false,
            amount,
        })
    };
    [1, CONNECTIONS].into_iter().flat_map(with).collect()
}

/// Makes the directories of one turn.
pub(crate) async fn prepare(subject: &mut Subject, turn: usize) -> Result<()> {
    if subject.floor_connections().is_some() {
        return Ok(());
    }
    let requests = subject.requests(0)?;
    for connections in [1, CONNECTIONS] {
        requests
            .create_directory(&directory(turn, connections))
            .await?;
    }
    Ok(())
}

/// Does the row's work once; returns the operations done, or the bytes carried.
pub(crate) async fn run(subject: &mut Subject, row: &Row, turn: usize) -> Result<f64> {
    let count = usize::try_from(row.amount)?;
    if let Some(floor) = subject.floor_connections() {
        let (times, amount) = floor_amount(row, count);
        floor
            .play(row.connections, times, &row.operation.exchanges())
            .await?;
        return Ok(amount);
    }
    match row.operation {
        Operation::SequentialWrite => {
            sequential_write(sequential(subject, row)?, row, turn).await?
        }
        Operation::SequentialRead => sequential_read(sequential(subject, row)?, row, turn).await?,
        Operation::List => return list(subject, row, turn, count).await,
        Operation::Create
        | Operation::Read
        | Operation::Stat
        | Operation::Delete
        | Operation::Overwrite => small(subject, row, turn, count).await?,
    }
    Ok(row.amount as f64)
}

/// How many times the row's exchanges are played, and how much that stands for.
fn floor_amount(row: &Row, count: usize) -> (usize, f64) {
    match row.operation {
        Operation::SequentialWrite | Operation::SequentialRead => {
            (count / PIECE, row.amount as f64)
        }
        Operation::List => {
            let answers = count.div_ceil(ENTRIES_AN_ANSWER) * LISTINGS * row.connections;
            (answers, (count * LISTINGS * row.connections) as f64)
        }
        Operation::Create
        | Operation::Read
        | Operation::Stat
        | Operation::Delete
        | Operation::Overwrite => (count, row.amount as f64),
    }
}

fn directory(turn: usize, connections: usize) -> String {
    format!("turn-{turn}-{connections}")
}

fn big_file(row: &Row, turn: usize) -> String {
    let sealed = if row.sealed { "-sealed" } else { "" };
    format!("big-{turn}{sealed}.bin")
}

fn sequential(subject: &Subject, row: &Row) -> Result<Requests> {
    if row.sealed {
        subject.sealed_requests()
    } else {
        subject.requests(0)
    }
}

async fn sequential_write(requests: Requests, row: &Row, turn: usize) -> Result<()> {
    let file = requests.create_file(&big_file(row, turn)).await?;
    let pieces = row.amount / PIECE as u64;
    in_flight(pieces, |piece| {
        let requests = requests.clone();
        async move {
            requests
                .write(file, piece * PIECE as u64, filling(piece))
                .await
        }
    })
    .await?;
    requests.close(file).await
}

async fn sequential_read(requests: Requests, row: &Row, turn: usize) -> Result<()> {
    let (file, size) = requests.open_file(&big_file(row, turn)).await?;
    ensure!(size == row.amount, "the file has {size} bytes");
    in_flight(row.amount / PIECE as u64, |piece| {
        let requests = requests.clone();
        async move {
            let length = u32::try_from(PIECE)?;
            let data = requests.read(file, piece * PIECE as u64, length).await?;
            ensure!(
                data.len() == PIECE && data[..8] == piece.to_le_bytes(),
                "wrong bytes"
            );
            Ok(())
        }
    })
    .await?;
    requests.close(file).await
}

/// Bytes that no compression helps with and that tell where they belong.
fn filling(piece: u64) -> Vec<u8> {
    let mut state = piece.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut data = Vec::with_capacity(PIECE);
    data.extend_from_slice(&piece.to_le_bytes());
    while data.len() < PIECE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data
}

/// Runs `work` for each piece, [`IN_FLIGHT`] at a time.
async fn in_flight<F>(pieces: u64, work: impl Fn(u64) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for piece in 0..pieces {
        if tasks.len() == IN_FLIGHT {
            tasks.join_next().await.context("a task is running")???;
        }
        tasks.spawn(work(piece));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn list(subject: &Subject, row: &Row, turn: usize, count: usize) -> Result<f64> {
    let mut tasks = JoinSet::new();
    for connection in 0..row.connections {
        let requests = subject.requests(connection)?;
        let directory = directory(turn, row.connections);
        tasks.spawn(async move {
            let mut seen = 0;
            for _ in 0..LISTINGS {
                let names = requests.list(&directory).await?;
                ensure!(names.len() == count, "{} entries, not {count}", names.len());
                seen += names.len();
            }
            anyhow::Ok(seen)
        });
    }
    let mut seen = 0;
    while let Some(done) = tasks.join_next().await {
        seen += done??;
    }
    Ok(seen as f64)
}

/// Each connection works through its part of the files, one request at a time.
async fn small(subject: &Subject, row: &Row, turn: usize, count: usize) -> Result<()> {
    let mut tasks = JoinSet::new();
    for connection in 0..row.connections {
        let requests = subject.requests(connection)?;
        let (row, directory) = (*row, directory(turn, row.connections));
        tasks.spawn(async move {
            for number in (connection..count).step_by(row.connections) {
                let path = format!("{directory}/file-{number:05}");
                one_file(&requests, row.operation, &path, number).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn one_file(
    requests: &Requests,
    operation: Operation,
    path: &str,
    number: usize,
) -> Result<()> {
    let content = vec![u8::try_from(number % 251)?; FILE_BYTES];
    match operation {
        Operation::Create => {
            let file = requests.create_file(path).await?;
            requests.write(file, 0, content).await?;
            requests.close(file).await
        }
        Operation::Read => {
            let (file, _) = requests.open_file(path).await?;
            let length = u32::try_from(FILE_BYTES)?;
            ensure!(
                requests.read(file, 0, length).await? == content,
                "wrong bytes in {path}"
            );
            requests.close(file).await
        }
        Operation::Stat => requests.stat(path).await,
        Operation::Delete => requests.delete(path).await,
        Operation::Overwrite => {
            let file = requests.overwrite_file(path).await?;
            requests.write(file, 0, content).await?;
            requests.close(file).await
        }
        Operation::SequentialWrite | Operation::SequentialRead | Operation::List => {
            anyhow::bail!("{operation:?} is not a row of small files")
        }
    }
}
