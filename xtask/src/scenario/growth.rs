//! A directory grows; what one operation costs must not.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use crate::client::{Client, Requests};
use crate::cpu;
use crate::server::Server;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub files: usize,
    /// Operations that are timed in each directory.
    pub sample: usize,
    /// How long creates go on without a pause; their rate must hold.
    pub steady: Option<Duration>,
    pub open_limit: Duration,
    /// The most that an operation in the large directory may cost, compared with one in the small.
    pub cost_limit: f64,
}

const CONNECTIONS: usize = 8;
const SMALL: usize = 1000;
const MEMORY_LIMIT: u64 = 1 << 30;
const STEADY_START: Duration = Duration::from_secs(10);
const STEADY_MIN: f64 = 0.8;

/// Server CPU of an operation, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    pub create: f64,
    pub look_up: f64,
    pub delete: f64,
}

/// What was measured.
#[derive(Debug)]
pub struct Figures {
    pub small: Costs,
    pub large: Costs,
    pub fill_rate: f64,
    pub peak_memory: u64,
    pub opened_in: Duration,
    pub steady: Option<(f64, f64)>,
}

/// Fills the directory, measures, restarts, and checks the limits.
pub async fn run(directory: &Path, plan: Plan) -> Result<Figures> {
    let server = Server::create(directory, 1)?;
    let clients = connect(&server).await?;
    let requests: Vec<Requests> = clients.iter().map(Client::share).collect();
    requests[0].create_directory("small").await?;
    requests[0].create_directory("large").await?;
    fill(&requests, "small", 0, SMALL).await?;
    let start = Instant::now();
    fill(&requests, "large", 0, plan.files).await?;
    let fill_rate = plan.files as f64 / start.elapsed().as_secs_f64();
    println!("{} files made at {fill_rate:.0} a second", plan.files);
    let (small, large) = compare(&server, &requests, plan).await?;
    let steady = match plan.steady {
        Some(duration) => Some(steady(&requests, duration).await?),
        None => None,
    };
    let peak_memory = cpu::peak_memory(server.process())?;
    drop(clients);
    server.stop()?;
    let opened_in = Server::start(directory)?.opened_in();
    let figures = Figures {
        small,
        large,
        fill_rate,
        peak_memory,
        opened_in,
        steady,
    };
    figures.check(plan)?;
    Ok(figures)
}

impl Figures {
    fn check(&self, plan: Plan) -> Result<()> {
        let pairs = [
            ("create", self.small.create, self.large.create),
            ("look-up", self.small.look_up, self.large.look_up),
            ("delete", self.small.delete, self.large.delete),
        ];
        for (what, small, large) in pairs {
            let limit = plan.cost_limit;
            ensure!(
                large <= small * limit,
                "{what}: {large:.1} us, among few {small:.1} us: {self:?}"
            );
        }
        ensure!(
            self.peak_memory < MEMORY_LIMIT,
            "memory went up to {} bytes",
            self.peak_memory
        );
        ensure!(
            self.opened_in < plan.open_limit,
            "opening took {:?}",
            self.opened_in
        );
        if let Some((first, whole)) = self.steady {
            ensure!(
                whole >= first * STEADY_MIN,
                "{first:.0} creates a second became {whole:.0}"
            );
        }
        Ok(())
    }
}

async fn connect(server: &Server) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.connect().await?);
    }
    Ok(clients)
}

/// Makes empty files numbered `from..to`.
async fn fill(requests: &[Requests], directory: &str, from: usize, to: usize) -> Result<()> {
    each(requests, from, to, directory, Operation::Create).await
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Create,
    LookUp,
    Delete,
}

async fn each(
    requests: &[Requests],
    from: usize,
    to: usize,
    directory: &str,
    operation: Operation,
) -> Result<()> {
    let mut tasks = JoinSet::new();
    for (start, requests) in requests.iter().enumerate() {
        let (requests, directory, step) = (requests.clone(), directory.to_owned(), CONNECTIONS);
        tasks.spawn(async move {
            for number in (from + start..to).step_by(step) {
                let path = format!("{directory}/file-{number:07}");
                match operation {
                    Operation::Create => requests.close(requests.create_file(&path).await?).await?,
                    Operation::LookUp => requests.stat(&path).await?,
                    Operation::Delete => requests.delete(&path).await?,
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// The cheaper of three turns, small and large in turn, so that a busy machine does not decide.
async fn compare(server: &Server, requests: &[Requests], plan: Plan) -> Result<(Costs, Costs)> {
    let mut small = Vec::new();
    let mut large = Vec::new();
    for _ in 0..3 {
        small.push(costs(server, requests, "small", SMALL, plan.sample).await?);
        large.push(costs(server, requests, "large", plan.files, plan.sample).await?);
    }
    Ok((cheapest(&small), cheapest(&large)))
}

fn cheapest(turns: &[Costs]) -> Costs {
    let least = |cost: fn(&Costs) -> f64| turns.iter().map(cost).fold(f64::INFINITY, f64::min);
    Costs {
        create: least(|costs| costs.create),
        look_up: least(|costs| costs.look_up),
        delete: least(|costs| costs.delete),
    }
}

/// Background work of what came before is waited for, and that of each operation is part of its cost.
async fn costs(
    server: &Server,
    requests: &[Requests],
    directory: &str,
    files: usize,
    sample: usize,
) -> Result<Costs> {
    let range = (files, files + sample);
    let create = cost(server, requests, directory, range, Operation::Create).await?;
    let look_up = cost(server, requests, directory, range, Operation::LookUp).await?;
    let delete = cost(server, requests, directory, range, Operation::Delete).await?;
    Ok(Costs {
        create,
        look_up,
        delete,
    })
}

async fn cost(
    server: &Server,
    requests: &[Requests],
    directory: &str,
    (from, to): (usize, usize),
    operation: Operation,
) -> Result<f64> {
    settle(server).await?;
    let before = cpu::of_tree(server.process())?;
    each(requests, from, to, directory, operation).await?;
    settle(server).await?;
    let used = cpu::of_tree(server.process())? - before;
    Ok(used.as_secs_f64() * 1e6 / (to - from) as f64)
}

async fn settle(server: &Server) -> Result<()> {
    let start = Instant::now();
    while !server.is_settled()? {
        ensure!(
            start.elapsed() < Duration::from_secs(120),
            "the server does not come to rest"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// The rate of creates in the first ten seconds, and over the whole time.
async fn steady(requests: &[Requests], duration: Duration) -> Result<(f64, f64)> {
    requests[0].create_directory("steady").await?;
    let start = Instant::now();
    let (mut made, mut first) = (0, None);
    while start.elapsed() < duration {
        fill(requests, "steady", made, made + 4000).await?;
        made += 4000;
        if first.is_none() && start.elapsed() >= STEADY_START {
            first = Some(made as f64 / start.elapsed().as_secs_f64());
        }
    }
    let whole = made as f64 / start.elapsed().as_secs_f64();
    Ok((first.unwrap_or(whole), whole))
}
