//! The server is killed under writing clients, again and again; or the whole machine that it runs on.
//!
//! Each client works alone in a directory of its own and writes down every change before it asks for it. After the
//! restart the directory must be what it was after some number of those changes, at least as many as the last
//! acknowledged flush covers; a flushed file must be whole; and any other file must hold a beginning of its content.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinSet;

use crate::client::{Client, Requests, Target};
use crate::random::{Random, content};
use crate::server::Server;

/// How hard to try.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub kills: usize,
    pub clients: usize,
    pub seed: u64,
    /// The longest that clients write before a kill, and a tenth of a second.
    pub time: Duration,
    /// Opening must take less.
    pub open_limit: Duration,
}

/// What is killed and started again, always on the same pool.
pub trait Victim {
    /// Starts it and waits until it serves; gives how long opening the pool took.
    fn start(&mut self) -> impl Future<Output = Result<Duration>>;
    fn target(&self) -> Target;
    fn kill(&mut self) -> Result<()>;
    fn stop(&mut self) -> Result<()>;
}

/// The program, as a process of this machine.
#[derive(Debug)]
struct Process<'a> {
    directory: &'a Path,
    server: Option<Server>,
    target: Target,
}

impl Victim for Process<'_> {
    async fn start(&mut self) -> Result<Duration> {
        let server = Server::start(self.directory)?;
        self.target = server.target();
        Ok(self.server.insert(server).opened_in())
    }

    fn target(&self) -> Target {
        self.target.clone()
    }

    fn kill(&mut self) -> Result<()> {
        self.server.take().context("it runs")?.kill()
    }

    fn stop(&mut self) -> Result<()> {
        self.server.take().context("it runs")?.stop()
    }
}

/// Kills and restarts the server as planned; returns how many acknowledged flushes were checked.
pub async fn run(directory: &Path, plan: Plan) -> Result<usize> {
    let server = Server::create(directory, 1)?;
    let victim = Process {
        directory,
        target: server.target(),
        server: Some(server),
    };
    run_on(victim, plan).await
}

/// The same with anything that can be killed and runs already.
pub async fn run_on(mut victim: impl Victim, plan: Plan) -> Result<usize> {
    let mut random = Random::new(plan.seed);
    let mut all = Vec::new();
    for round in 0..plan.kills {
        let diaries = write_until_killed(&mut victim, plan, round, &mut random).await?;
        let opened_in = victim.start().await?;
        ensure!(
            opened_in < plan.open_limit,
            "kill {round}: opening took {opened_in:?}"
        );
        check(&victim.target(), &diaries)
            .await
            .with_context(|| format!("after kill {round}"))?;
        all.extend(diaries);
    }
    victim.stop()?;
    victim.start().await?;
    check_flushed(&victim.target(), &all)
        .await
        .context("after all kills and a clean stop")?;
    Ok(all.iter().map(|diary| diary.flushed.len()).sum())
}

async fn write_until_killed(
    victim: &mut impl Victim,
    plan: Plan,
    round: usize,
    random: &mut Random,
) -> Result<Vec<Diary>> {
    let mut tasks = JoinSet::new();
    let mut diaries = Vec::new();
    for number in 0..plan.clients {
        let client = Client::connect(&victim.target()).await?;
        let diary = Arc::new(Mutex::new(Diary::new(format!("kill-{round}-{number}"))));
        diaries.push(Arc::clone(&diary));
        let random = Random::new(random.number());
        tasks.spawn(async move {
            let mut writer = Writer {
                requests: client.share(),
                diary,
                random,
            };
            writer.run().await
        });
    }
    let time = u64::try_from(plan.time.as_millis())?;
    tokio::time::sleep(Duration::from_millis(100 + random.below(time.max(1)))).await;
    victim.kill()?;
    while let Some(ended) = tasks.join_next().await {
        // Every writer ends by losing its connection, which is what this test is about.
        ensure!(ended?.is_err(), "a writer ended by itself");
    }
    Ok(diaries.iter().map(|diary| lock(diary).clone()).collect())
}

fn lock(diary: &Mutex<Diary>) -> std::sync::MutexGuard<'_, Diary> {
    diary.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A change to one client's directory.
#[derive(Debug, Clone)]
enum Change {
    Create(u64),
    Rename(u64, String),
    Delete(u64),
}

/// What one client asked for, and what it was told.
#[derive(Debug, Clone)]
struct Diary {
    directory: String,
    /// Whether the directory itself may be missing: its making was not covered by a flush.
    changes: Vec<Change>,
    /// So many of the changes are covered by an acknowledged flush.
    durable: usize,
    flushed: HashSet<u64>,
}

impl Diary {
    fn new(directory: String) -> Diary {
        Diary {
            directory,
            changes: Vec::new(),
            durable: 0,
            flushed: HashSet::new(),
        }
    }

    /// The names, and the files they stand for, after the first `count` changes.
    fn state_after(&self, count: usize) -> BTreeMap<String, u64> {
        let mut names: BTreeMap<u64, String> = BTreeMap::new();
        for change in self.changes.iter().take(count) {
            match change {
                Change::Create(file) => names.insert(*file, first_name(*file)),
                Change::Rename(file, name) => names.insert(*file, name.clone()),
                Change::Delete(file) => names.remove(file),
            };
        }
        names.into_iter().map(|(file, name)| (name, file)).collect()
    }

    fn seed(&self, file: u64) -> u64 {
        let place: u64 = self
            .directory
            .bytes()
            .fold(7, |seed, byte| seed * 31 + u64::from(byte));
        place.wrapping_add(file << 20)
    }

    /// The whole content of a file: up to some 200 KiB, so that both inline and striped data occur.
    fn content(&self, file: u64) -> Vec<u8> {
        let length = match self.seed(file) % 4 {
            0 => 1 + file % 4096,
            1 => 5_000 + file % 60_000,
            2 => 70_000 + file % 130_000,
            _ => 0,
        };
        content(self.seed(file), usize::try_from(length).unwrap_or_default())
    }
}

fn first_name(file: u64) -> String {
    format!("f-{file}")
}

struct Writer {
    requests: Requests,
    diary: Arc<Mutex<Diary>>,
    random: Random,
}

impl Writer {
    /// Goes on until the server is gone.
    async fn run(&mut self) -> Result<()> {
        let directory = lock(&self.diary).directory.clone();
        self.requests.create_directory(&directory).await?;
        for file in 0.. {
            self.write_file(&directory, file).await?;
            if file > 0 && self.random.once_in(3) {
                let other = self.random.below(file);
                self.change_other(&directory, other).await?;
            }
        }
        Ok(())
    }

    async fn write_file(&mut self, directory: &str, file: u64) -> Result<()> {
        let content = lock(&self.diary).content(file);
        self.note(Change::Create(file));
        let handle = self
            .requests
            .create_file(&format!("{directory}/{}", first_name(file)))
            .await?;
        let mut at = 0;
        while at < content.len() {
            let end = content
                .len()
                .min(at + 1 + usize::try_from(self.random.below(65_536))?);
            self.requests
                .write(handle, at as u64, content[at..end].to_vec())
                .await?;
            at = end;
        }
        if self.random.once_in(2) {
            let covered = lock(&self.diary).changes.len();
            self.requests.flush(handle).await?;
            let mut diary = lock(&self.diary);
            diary.durable = covered;
            diary.flushed.insert(file);
        }
        self.requests.close(handle).await
    }

    async fn change_other(&mut self, directory: &str, file: u64) -> Result<()> {
        let now = {
            let diary = lock(&self.diary);
            diary.state_after(diary.changes.len())
        };
        let Some((name, _)) = now.into_iter().find(|(_, other)| *other == file) else {
            return Ok(());
        };
        let path = format!("{directory}/{name}");
        if self.random.once_in(2) {
            self.note(Change::Delete(file));
            return self.requests.delete(&path).await;
        }
        let name = format!("r-{file}-{}", self.random.below(1000));
        self.note(Change::Rename(file, name.clone()));
        self.requests
            .rename(&path, &format!("{directory}/{name}"), false)
            .await
    }

    fn note(&self, change: Change) {
        lock(&self.diary).changes.push(change);
    }
}

async fn check(target: &Target, diaries: &[Diary]) -> Result<()> {
    let client = Client::connect(target).await?;
    let requests = client.share();
    let present = requests.list("").await?;
    for diary in diaries {
        if !present.contains(&diary.directory) {
            ensure!(diary.durable == 0, "{} is gone", diary.directory);
            continue;
        }
        let state = state_found(&requests, diary).await?;
        for (name, file) in state {
            check_file(&requests, diary, &name, file).await?;
        }
    }
    Ok(())
}

/// Finds the number of changes after which the directory was as it is now.
async fn state_found(requests: &Requests, diary: &Diary) -> Result<BTreeMap<String, u64>> {
    let mut listed = requests.list(&diary.directory).await?;
    listed.sort();
    for count in diary.durable..=diary.changes.len() {
        let state = diary.state_after(count);
        if state.keys().eq(listed.iter()) {
            return Ok(state);
        }
    }
    let expected = diary.state_after(diary.durable);
    bail!(
        "{} is in no state that existed.\nlisted: {listed:?}\nat the last flush: {:?}\nafter it: {:?}",
        diary.directory,
        expected.keys(),
        &diary.changes[diary.durable..]
    )
}

async fn check_file(requests: &Requests, diary: &Diary, name: &str, file: u64) -> Result<()> {
    let path = format!("{}/{name}", diary.directory);
    let found = read(requests, &path).await.with_context(|| path.clone())?;
    let whole = diary.content(file);
    ensure!(
        whole.starts_with(&found),
        "{path} has bytes that were never written there"
    );
    let is_whole = found.len() == whole.len();
    ensure!(
        is_whole || !diary.flushed.contains(&file),
        "{path} was flushed and has {} of {} bytes",
        found.len(),
        whole.len()
    );
    Ok(())
}

async fn read(requests: &Requests, path: &str) -> Result<Vec<u8>> {
    let (handle, size) = requests.open_file(path).await?;
    let found = requests.read_all(handle, size).await?;
    requests.close(handle).await?;
    Ok(found)
}

/// What was whole once stays whole through all later crashes.
async fn check_flushed(target: &Target, diaries: &[Diary]) -> Result<()> {
    check(target, diaries).await
}
