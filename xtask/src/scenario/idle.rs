//! Many connections that do nothing, with many open files, beside one client that works.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::{Client, Requests};
use crate::cpu;
use crate::random::content;
use crate::server::Server;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub connections: usize,
    pub files_each: usize,
    /// How long the busy client is measured, before and among the idle ones; both in turns.
    pub measured: Duration,
    /// The most memory that the idle ones may take.
    pub memory_limit: u64,
    /// The most that the busy client may be slowed down.
    pub slowdown_limit: f64,
}

#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Bytes more with all of them than without.
    pub memory: u64,
    /// Operations a second of the busy client, without and with the idle ones.
    pub alone: f64,
    pub among: f64,
}

/// Connects, opens, measures, and checks the limits.
pub async fn run(directory: &Path, plan: Plan) -> Result<Figures> {
    let server = Server::create(directory, 1)?;
    let client = server.connect().await?;
    let busy = client.share();
    // Whatever is allocated once is allocated before anything is measured.
    work(&busy, plan.measured / 2).await?;
    let before = cpu::memory(server.process())?;
    let alone = work(&busy, plan.measured).await?;
    let idle = connect_all(&server, plan).await?;
    let memory = cpu::memory(server.process())?.saturating_sub(before);
    let smb = server.status()?["smb"].clone();
    let opens = u64::try_from(plan.connections * plan.files_each)?;
    ensure!(
        smb["opens"].as_u64() >= Some(opens),
        "not all files are open: {smb}"
    );
    let among = work(&busy, plan.measured).await?;
    drop(idle);
    let figures = Figures {
        memory,
        alone,
        among,
    };
    figures.check(plan)?;
    server.stop()?;
    Ok(figures)
}

impl Figures {
    fn check(&self, plan: Plan) -> Result<()> {
        ensure!(
            self.memory <= plan.memory_limit,
            "the idle clients take too much memory: {self:?}"
        );
        ensure!(
            self.alone / self.among <= plan.slowdown_limit,
            "the busy client is slowed down too much: {self:?}"
        );
        Ok(())
    }
}

async fn connect_all(server: &Server, plan: Plan) -> Result<Vec<Client>> {
    let mut idle = Vec::with_capacity(plan.connections);
    for number in 0..plan.connections {
        let client = server
            .connect()
            .await
            .with_context(|| format!("connection {number}"))?;
        let requests = client.share();
        for file in 0..plan.files_each {
            requests
                .create_file(&format!("idle-{number}-{file}"))
                .await?;
        }
        idle.push(client);
    }
    Ok(idle)
}

/// Operations a second: make, write, read, ask, list now and then, delete.
async fn work(requests: &Requests, duration: Duration) -> Result<f64> {
    let bytes = content(7, 16_384);
    let start = Instant::now();
    let mut operations = 0u32;
    while start.elapsed() < duration {
        let file = requests.create_file("busy").await?;
        requests.write(file, 0, bytes.clone()).await?;
        let back = requests.read(file, 0, 16_384).await?;
        ensure!(back == bytes, "a wrong byte");
        requests.query(file).await?;
        requests.close(file).await?;
        requests.delete("busy").await?;
        operations += 8;
    }
    Ok(f64::from(operations) / start.elapsed().as_secs_f64())
}
