//! Clients do a random mix while their connections are cut at random.
//!
//! Each client works alone in a directory of its own and knows what must be there. An operation that a cut interrupts
//! happened or did not, or, where it wrote, happened up to some byte; after the client has connected again it looks
//! which, and goes on from there. In the end no handle is left on the server, its memory has not grown, and every file
//! is right.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::client::{Client, Refusal, Requests, Target};
use crate::cpu;
use crate::cut::Wire;
use crate::random::{Random, content};
use crate::server::Server;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub clients: usize,
    pub duration: Duration,
    /// A client's connection is cut once in this time, on average.
    pub cut_every: Duration,
    pub seed: u64,
    /// The most that memory may grow from the middle third of the time to the last.
    pub growth_limit: f64,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub operations: u64,
    pub cuts: u64,
    /// Operations that a cut interrupted.
    pub interrupted: u64,
    pub memory_middle: u64,
    pub memory_end: u64,
}

/// Files of one client at most.
const FILES_MAX: usize = 40;
/// Bytes of a file at most.
const SIZE_MAX: u64 = 300_000;
/// Memory for the server's index.
const INDEX_CACHE: &str = "16M";
/// How long a server may take to notice that its clients are gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs as planned, and checks what is left.
pub async fn run(directory: &Path, plan: Plan) -> Result<Figures> {
    // Caches that are full by the middle third, so that what grows afterwards is a leak.
    let disk = directory.join("disk-0");
    let server = Server::create_on(directory, &[disk], &["--index-cache", INDEX_CACHE])?;
    let mut random = Random::new(plan.seed);
    let until = Instant::now() + plan.duration;
    let mut tasks = JoinSet::new();
    for number in 0..plan.clients {
        let target = server.target();
        let random = Random::new(random.number());
        tasks.spawn(async move { Worker::new(number, target, random).run(plan, until).await });
    }
    let memory = watch_memory(&server, until).await?;
    let mut figures = Figures::default();
    let mut workers = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let worker = ended??;
        figures.operations += worker.operations;
        figures.cuts += worker.cuts;
        figures.interrupted += worker.interrupted;
        workers.push(worker);
    }
    nothing_is_held(&server).await?;
    check_all(&server, workers).await?;
    (figures.memory_middle, figures.memory_end) = thirds(&memory);
    let growth = figures.memory_end as f64 / figures.memory_middle.max(1) as f64;
    ensure!(
        growth <= plan.growth_limit,
        "memory grew {growth:.2} times: {figures:?}"
    );
    server.stop()?;
    Ok(figures)
}

async fn watch_memory(server: &Server, until: Instant) -> Result<Vec<u64>> {
    let mut samples = Vec::new();
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(500)).await;
        samples.push(cpu::memory(server.process())?);
    }
    Ok(samples)
}

/// The medians of the middle and the last third.
fn thirds(samples: &[u64]) -> (u64, u64) {
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or_default()
    };
    let third = samples.len() / 3;
    (
        median(&samples[third..2 * third]),
        median(&samples[2 * third..]),
    )
}

async fn nothing_is_held(server: &Server) -> Result<()> {
    let start = Instant::now();
    loop {
        let smb = server.status()?["smb"].clone();
        let left = ["connections", "sessions", "opens"].map(|name| smb[name].as_u64());
        if left == [Some(0); 3] {
            return Ok(());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "the clients are gone, and the server holds {smb}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every file is what its client knows, and nothing keeps it from being deleted.
async fn check_all(server: &Server, workers: Vec<Worker>) -> Result<()> {
    let client = server.connect().await?;
    let requests = client.share();
    for worker in workers {
        let mut listed = requests.list(&worker.directory).await?;
        listed.sort();
        let known: Vec<&String> = worker.files.keys().collect();
        ensure!(
            listed.iter().eq(known.iter().copied()),
            "{}: {listed:?} are there, {known:?} should be",
            worker.directory
        );
        for (name, bytes) in &worker.files {
            let path = worker.path(name);
            let found = read(&requests, &path).await?;
            ensure!(found == *bytes, "{path}: {}", difference(&found, bytes));
            requests.delete(&path).await?;
        }
        let left = requests.list(&worker.directory).await?;
        ensure!(
            left.is_empty(),
            "{left:?} were deleted and are still listed"
        );
    }
    Ok(())
}

fn difference(found: &[u8], known: &[u8]) -> String {
    let at = found.iter().zip(known).position(|(a, b)| a != b);
    format!(
        "{} bytes, {} known, first difference at {at:?}",
        found.len(),
        known.len()
    )
}

async fn read(requests: &Requests, path: &str) -> Result<Vec<u8>> {
    let (file, size) = requests.open_file(path).await?;
    let bytes = requests.read_all(file, size).await?;
    requests.close(file).await?;
    Ok(bytes)
}

/// One operation, as it can be judged afterwards.
#[derive(Debug, Clone)]
enum Step {
    /// Makes a file that is not there.
    Create {
        name: String,
        bytes: Vec<u8>,
    },
    /// Writes in the middle of a file or past its end.
    Write {
        name: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Rename {
        from: String,
        to: String,
    },
    Delete {
        name: String,
    },
    Read {
        name: String,
    },
    List,
}

struct Worker {
    directory: String,
    target: Target,
    random: Random,
    files: BTreeMap<String, Vec<u8>>,
    made: u64,
    operations: u64,
    cuts: u64,
    interrupted: u64,
}

impl Worker {
    fn new(number: usize, target: Target, random: Random) -> Worker {
        Worker {
            directory: format!("churn-{number}"),
            target,
            random,
            files: BTreeMap::new(),
            made: 0,
            operations: 0,
            cuts: 0,
            interrupted: 0,
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    async fn run(mut self, plan: Plan, until: Instant) -> Result<Worker> {
        let client = Client::connect(&self.target).await?;
        client.share().create_directory(&self.directory).await?;
        client.disconnect().await?;
        while Instant::now() < until {
            self.one_connection(plan.cut_every)
                .await
                .with_context(|| self.directory.clone())?;
        }
        Ok(self)
    }

    /// Works over one connection until it is cut.
    async fn one_connection(&mut self, cut_every: Duration) -> Result<()> {
        let wire = Wire::to(self.target.address).await?;
        let target = Target {
            address: wire.address(),
            ..self.target.clone()
        };
        let client = Client::connect(&target).await?;
        let requests = client.share();
        let milliseconds = u64::try_from(2 * cut_every.as_millis())?.max(1);
        let lasts = Duration::from_millis(self.random.below(milliseconds));
        let cut = tokio::time::sleep(lasts);
        tokio::pin!(cut);
        loop {
            let step = self.choose();
            let interrupted = tokio::select! {
                biased;
                () = &mut cut => true,
                done = self.perform(&requests, &step) => { done?; false }
            };
            if interrupted {
                break self.settle_cut(wire, client, step).await;
            }
            self.apply(&step);
            self.operations += 1;
        }
    }

    /// The cut happens with the request on its way; then the truth is looked up over a new connection.
    async fn settle_cut(&mut self, wire: Wire, client: Client, step: Step) -> Result<()> {
        wire.cut(PATIENCE).await?;
        self.cuts += 1;
        self.interrupted += 1;
        drop(client);
        let client = Client::connect(&self.target).await?;
        let requests = client.share();
        self.settle(&requests, step).await?;
        client.disconnect().await
    }

    fn choose(&mut self) -> Step {
        let full = self.files.len() >= FILES_MAX;
        match (self.any_name(), self.random.below(10)) {
            (None, _) => self.new_file(),
            (Some(_), 0..=2) if !full => self.new_file(),
            (Some(name), 3..=4) => {
                let size = self.files.get(&name).map_or(0, Vec::len) as u64;
                let at = self.random.below(size + 10_000);
                let len = 1 + self.random.below(60_000);
                let bytes = self.content(len);
                let at = usize::try_from(at).unwrap_or_default();
                Step::Write { name, at, bytes }
            }
            (Some(from), 5) => {
                self.made += 1;
                let to = format!("renamed-{}", self.made);
                Step::Rename { from, to }
            }
            (Some(name), 6) => Step::Delete { name },
            (Some(_), 7) => Step::List,
            (Some(name), _) => Step::Read { name },
        }
    }

    fn any_name(&mut self) -> Option<String> {
        let count = self.files.len() as u64;
        let at = (count > 0).then(|| self.random.below(count))?;
        self.files.keys().nth(usize::try_from(at).ok()?).cloned()
    }

    fn new_file(&mut self) -> Step {
        self.made += 1;
        let name = format!("file-{}", self.made);
        let len = self.random.below(SIZE_MAX);
        let bytes = self.content(len);
        Step::Create { name, bytes }
    }

    fn content(&mut self, len: u64) -> Vec<u8> {
        content(
            self.random.number(),
            usize::try_from(len).unwrap_or_default(),
        )
    }

    async fn perform(&self, requests: &Requests, step: &Step) -> Result<()> {
        match step {
            Step::Create { name, bytes } => self.create(requests, name, bytes).await,
            Step::Write { name, at, bytes } => {
                let file = requests.open_to_write(&self.path(name)).await?;
                requests.write(file, *at as u64, bytes.clone()).await?;
                requests.close(file).await
            }
            Step::Rename { from, to } => {
                requests
                    .rename(&self.path(from), &self.path(to), false)
                    .await
            }
            Step::Delete { name } => requests.delete(&self.path(name)).await,
            Step::Read { name } => {
                let found = read(requests, &self.path(name)).await?;
                let known = self.files.get(name).context("a known file")?;
                ensure!(found == *known, "{name}: {}", difference(&found, known));
                Ok(())
            }
            Step::List => {
                let mut listed = requests.list(&self.directory).await?;
                listed.sort();
                ensure!(
                    listed.iter().eq(self.files.keys()),
                    "a wrong list: {listed:?}"
                );
                Ok(())
            }
        }
    }

    async fn create(&self, requests: &Requests, name: &str, bytes: &[u8]) -> Result<()> {
        let file = requests.create_file(&self.path(name)).await?;
        let mut at = 0;
        for piece in bytes.chunks(65_536) {
            requests.write(file, at, piece.to_vec()).await?;
            at += piece.len() as u64;
        }
        requests.close(file).await
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Create { name, bytes } => {
                self.files.insert(name.clone(), bytes.clone());
            }
            Step::Write { name, at, bytes } => {
                if let Some(file) = self.files.get_mut(name) {
                    write_into(file, *at, bytes);
                }
            }
            Step::Rename { from, to } => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            Step::Delete { name } => {
                self.files.remove(name);
            }
            Step::Read { .. } | Step::List => {}
        }
    }

    /// Finds out what became of an interrupted step.
    async fn settle(&mut self, requests: &Requests, step: Step) -> Result<()> {
        match &step {
            Step::Create { name, bytes } => {
                if let Some(found) = self.look(requests, name).await? {
                    ensure!(
                        bytes.starts_with(&found),
                        "{name}: {}",
                        difference(&found, bytes)
                    );
                    self.files.insert(name.clone(), found);
                }
            }
            Step::Write { name, at, bytes } => {
                let found = self.look(requests, name).await?;
                let found = found.with_context(|| format!("{name} is gone"))?;
                let before = self.files.get(name).context("a known file")?.clone();
                let mut after = before.clone();
                write_into(&mut after, *at, bytes);
                ensure!(
                    found == before || found == after,
                    "{name} was half written: {} before, {} after",
                    difference(&found, &before),
                    difference(&found, &after)
                );
                self.files.insert(name.clone(), found);
            }
            Step::Rename { to: name, .. } => {
                if self.look(requests, name).await?.is_some() {
                    self.apply(&step);
                }
            }
            Step::Delete { name } => {
                if self.look(requests, name).await?.is_none() {
                    self.apply(&step);
                }
            }
            Step::Read { .. } | Step::List => {}
        }
        Ok(())
    }

    /// What is there under a name. The server may not have noticed yet that the old connection is gone, so a name that
    /// is about to go, and a request that is still at work, are waited for.
    async fn look(&self, requests: &Requests, name: &str) -> Result<Option<Vec<u8>>> {
        let start = Instant::now();
        self.old_handles_are_gone(requests, name, start).await?;
        match read(requests, &self.path(name)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.downcast_ref::<Refusal>().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An open that shares nothing succeeds only when nobody else has the file.
    async fn old_handles_are_gone(
        &self,
        requests: &Requests,
        name: &str,
        start: Instant,
    ) -> Result<()> {
        use smb2::types::status::NtStatus;
        loop {
            let status = match requests.open_alone(&self.path(name)).await {
                Ok(file) => return requests.close(file).await,
                Err(error) => match error.downcast_ref::<Refusal>() {
                    Some(refusal) => refusal.status,
                    None => return Err(error),
                },
            };
            let waits = [NtStatus::SHARING_VIOLATION, NtStatus::DELETE_PENDING];
            if !waits.contains(&status) {
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "{name} is held: {status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn write_into(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_past_the_end_leaves_zeroes_between() {
        let mut file = vec![1, 2];
        write_into(&mut file, 4, &[9]);
        assert_eq!(file, [1, 2, 0, 0, 9]);
    }

    #[test]
    fn memory_is_compared_between_the_later_thirds() {
        assert_eq!(thirds(&[1, 1, 1, 5, 6, 7, 8, 9, 9]), (6, 9));
    }
}
