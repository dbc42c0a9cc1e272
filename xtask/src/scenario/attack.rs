//! The story that the alarm is for: people work on an office's files, a machine among them encrypts what it can reach, is
//! stopped, and all that it did is undone while everybody else's work of the same minutes stays.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use smb2::types::status::NtStatus;
use tokio::task::JoinSet;

use crate::client::{Client, Requests, Target, is_refusal};
use crate::cut::Wire;
use crate::random::{Random, content};
use crate::server::Server;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Files of the office.
    pub files: usize,
    /// People who go on working.
    pub workers: usize,
    /// Without it, nobody looks, and every file is encrypted.
    pub alarm: bool,
    /// Files after which the attacker must have been stopped.
    pub stopped_within: usize,
    /// The longest that putting all back may take.
    pub undone_within: Duration,
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Files that were encrypted.
    pub encrypted: usize,
    /// Files that others saved meanwhile.
    pub saved: usize,
    pub undone_in: Duration,
}

/// STATUS_MEDIA_WRITE_PROTECTED (MS-ERREF 2.3.1).
const BLOCKED: NtStatus = NtStatus(0xC000_00A2);
const FOLDER: usize = 200;
const OFFICE: &str = "office";
const ATTACKER: (&str, &str) = ("mallory", "quite a Long one 77");
const WORKER: (&str, &str) = ("ann", "another Long one 78");
const ATTACKER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
/// Until then what was done is an instant that can be gone back to.
const KEPT: Duration = Duration::from_millis(3_200);

/// Runs as planned, and checks every byte.
pub async fn run(directory: &Path, plan: Plan) -> Result<Figures> {
    let server = Server::create(directory, 1)?;
    for (name, password) in [ATTACKER, WORKER] {
        server.admin_with_input(&["user", "add", name, "--password-stdin"], password)?;
    }
    let users = format!("{},{}", ATTACKER.0, WORKER.0);
    server.admin(&["share", "add", OFFICE, "--users", &users])?;
    if !plan.alarm {
        server.admin(&["alarm", "set", OFFICE, "off"])?;
    }
    furnish(&server, plan).await?;
    tokio::time::sleep(KEPT).await;
    let wire = Wire::from(ATTACKER_ADDRESS, server.address()).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let work = begin_work(&server, plan, &stop);
    let attacker = target(wire.address(), ATTACKER);
    let encrypted = attack(&attacker, plan).await?;
    if plan.alarm {
        stays_blocked(&server, &attacker, &wire).await?;
    }
    stop.store(true, Ordering::Relaxed);
    let saved = finish(work).await?;
    let undone_in = undo(&server, plan).await?;
    let figures = Figures {
        encrypted,
        saved: saved.len(),
        undone_in,
    };
    check(&server, plan, &saved).await?;
    ensure!(undone_in <= plan.undone_within, "{figures:?}");
    server.stop()?;
    Ok(figures)
}

fn target(address: std::net::SocketAddr, (user, password): (&str, &str)) -> Target {
    Target {
        address,
        share: OFFICE.to_owned(),
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

fn folder(n: usize) -> String {
    format!("folder {}", n / FOLDER)
}

fn path(n: usize) -> String {
    let ending = ["docx", "txt", "jpg", "csv", "xlsx", "pdf"][n % 6];
    format!("{}/file {n}.{ending}", folder(n))
}

/// What an office's file holds: text, or something dense that says what it is.
fn document(seed: u64, n: usize) -> Vec<u8> {
    let mut random = Random::new(seed ^ n as u64);
    let len = 2_000 + usize::try_from(random.below(30_000)).unwrap_or(0);
    let magic: &[u8] = match n % 6 {
        0 | 4 => b"PK\x03\x04",
        2 => b"\xFF\xD8\xFF\xE0",
        5 => b"%PDF-1.7",
        _ => {
            let line = format!("{n}; {}; screws, 12 a box\r\n", random.below(1_000));
            return line.bytes().cycle().take(len).collect();
        }
    };
    let mut bytes = random.bytes(len);
    bytes.splice(..magic.len(), magic.iter().copied());
    bytes
}

/// Fills the office, by several requests at once.
async fn furnish(server: &Server, plan: Plan) -> Result<()> {
    let client = Client::connect(&target(server.address(), WORKER)).await?;
    let share = client.share();
    for n in (0..plan.files).step_by(FOLDER) {
        share.create_directory(&folder(n)).await?;
    }
    each(8, plan.files, &share, move |share, n| async move {
        save(&share, &path(n), &document(plan.seed, n)).await
    })
    .await?;
    client.disconnect().await
}

/// Does something for each number, by several tasks at once.
async fn each<F>(
    tasks: usize,
    count: usize,
    share: &Requests,
    one: impl Fn(Requests, usize) -> F + Copy + Send + 'static,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send,
{
    let mut set = JoinSet::new();
    for task in 0..tasks {
        let share = share.clone();
        set.spawn(async move {
            for n in (task..count).step_by(tasks) {
                one(share.clone(), n).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(done) = set.join_next().await {
        done??;
    }
    Ok(())
}

async fn save(share: &Requests, path: &str, data: &[u8]) -> Result<()> {
    let file = share.overwrite_file(path).await?;
    let written = share.write(file, 0, data.to_vec()).await;
    share.close(file).await?;
    written
}

type Saved = BTreeMap<String, Vec<u8>>;

/// Each worker saves files of its own and goes over some of the office's, which the attacker has not come to yet.
fn begin_work(server: &Server, plan: Plan, stop: &Arc<AtomicBool>) -> JoinSet<Result<Saved>> {
    let mut set = JoinSet::new();
    for worker in 0..plan.workers {
        let (target, stop) = (target(server.address(), WORKER), Arc::clone(stop));
        set.spawn(async move {
            let client = Client::connect(&target).await?;
            let share = client.share();
            let home = format!("worker {worker}");
            share.create_directory(&home).await?;
            let mut saved = Saved::new();
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let path = format!("{home}/note {number}.txt");
                let data = document(plan.seed, number * 6 + 1 + worker);
                save(&share, &path, &data).await?;
                saved.insert(path, data);
                number += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            client.disconnect().await?;
            Ok(saved)
        });
    }
    set
}

async fn finish(mut work: JoinSet<Result<Saved>>) -> Result<Saved> {
    let mut saved = Saved::new();
    while let Some(worker) = work.join_next().await {
        saved.extend(worker??);
    }
    Ok(saved)
}

/// Encrypts in place and renames, one file after the other, until it is refused; tells how many it got.
async fn attack(target: &Target, plan: Plan) -> Result<usize> {
    let client = Client::connect(target).await?;
    let share = client.share();
    for n in 0..plan.files {
        match encrypt(&share, plan.seed, n).await {
            Ok(()) => {}
            Err(error) if plan.alarm && is_refusal(&error, BLOCKED) => {
                ensure!(n <= plan.stopped_within, "stopped after {n} files");
                return Ok(n);
            }
            Err(error) => return Err(error.context(path(n))),
        }
    }
    ensure!(!plan.alarm, "nobody stopped it");
    client.disconnect().await?;
    Ok(plan.files)
}

async fn encrypt(share: &Requests, seed: u64, n: usize) -> Result<()> {
    let path = path(n);
    let (file, size) = share.open_file(&path).await?;
    let read = share.read_all(file, size).await;
    share.close(file).await?;
    let noise = content(seed ^ 0xBAD ^ n as u64, read?.len());
    let file = share.open_to_write(&path).await?;
    let written = share.write(file, 0, noise).await;
    share.close(file).await?;
    written?;
    share.rename(&path, &format!("{path}.locked"), false).await
}

/// Neither another connection nor, from the same machine, another name helps.
async fn stays_blocked(server: &Server, attacker: &Target, wire: &Wire) -> Result<()> {
    let elsewhere = target(server.address(), ATTACKER);
    let other_name = target(wire.address(), WORKER);
    for who in [attacker, &elsewhere, &other_name] {
        let client = Client::connect(who).await?;
        match client.share().create_file("more.txt").await {
            Err(error) if is_refusal(&error, BLOCKED) => {}
            Err(error) => return Err(error.context("another refusal")),
            Ok(_) => bail!("{} may write again", who.user),
        }
        client.disconnect().await?;
    }
    Ok(())
}

/// Puts back what the attacker did, by its session, or by its address where no alarm names one.
async fn undo(server: &Server, plan: Plan) -> Result<Duration> {
    tokio::time::sleep(KEPT).await;
    let session;
    let chosen: Vec<&str> = if plan.alarm {
        let alarms: Vec<serde_json::Value> =
            serde_json::from_str(&server.admin(&["alarm", "list", "--json"])?)?;
        let alarm = alarms.first().context("no alarm")?;
        ensure!(
            alarm["user"] == ATTACKER.0 && alarm["action"] == "block",
            "{alarm}"
        );
        ensure!(alarm["snapshot"].is_string(), "{alarm}");
        session = alarm["session"].to_string();
        vec!["--session", &session]
    } else {
        vec!["--client", "127.0.0.66", "--since", "1 day ago"]
    };
    let started = Instant::now();
    let command: Vec<&str> = ["undo", OFFICE].into_iter().chain(chosen).collect();
    let said = server.admin(&command)?;
    println!("{}", said.lines().next().unwrap_or_default());
    Ok(started.elapsed())
}

async fn check(server: &Server, plan: Plan, saved: &Saved) -> Result<()> {
    let client = Client::connect(&target(server.address(), WORKER)).await?;
    let share = client.share();
    each(8, plan.files, &share, move |share, n| async move {
        same(&share, &path(n), &document(plan.seed, n)).await
    })
    .await?;
    for (path, data) in saved {
        same(&share, path, data).await?;
    }
    for n in (0..plan.files).step_by(FOLDER) {
        let names = share.list(&folder(n)).await?;
        let expected = FOLDER.min(plan.files - n);
        ensure!(
            names.len() == expected,
            "{} names in {}",
            names.len(),
            folder(n)
        );
    }
    client.disconnect().await
}

async fn same(share: &Requests, path: &str, data: &[u8]) -> Result<()> {
    let opened = share.open_file(path).await;
    let (file, size) = opened.with_context(|| path.to_owned())?;
    let found = share.read_all(file, size).await;
    share.close(file).await?;
    ensure!(found? == data, "{path} has other bytes");
    Ok(())
}
