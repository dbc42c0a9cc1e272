//! The machine under the server loses its power: a guest with the pool on a virtual disk is killed under writing
//! clients and booted again. What its kernel had not given to the disk is gone, and so are directories that nobody
//! synced.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::kill::{self, Plan, Victim};
use crate::client::{Client, Target};
use crate::kernel::{DISK_POINT, Disk, Guest, Network, Running};
use crate::server::{PASSWORD, SHARE, USER, program};

const DISK_BYTES: u64 = 8 << 30;
/// From the kernel's start until clients can log on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills the machine as planned; returns how many acknowledged flushes were checked.
pub fn run(directory: &Path, plan: Plan) -> Result<usize> {
    let (directory, program) = (directory.to_owned(), program()?.canonicalize()?);
    // A thread of its own, since what it starts is to live in the guests' network.
    let work = move || {
        let network = Network::enter(&[])?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut machine = Machine::new(&network, &directory, &program)?;
            machine.start().await?;
            kill::run_on(machine, plan).await
        })
    };
    match std::thread::spawn(work).join() {
        Ok(done) => done,
        Err(_) => bail!("the thread panicked"),
    }
}

/// A guest that serves from its virtual disk.
struct Machine<'a> {
    network: &'a Network,
    guest: Guest,
    script: String,
    running: Option<Running>,
}

impl<'a> Machine<'a> {
    fn new(network: &'a Network, directory: &Path, program: &Path) -> Result<Machine<'a>> {
        let image = directory.canonicalize()?.join("disk.img");
        let guest = Guest {
            memory_mib: 1024,
            disk: Some(Disk::create(&image, DISK_BYTES)?),
            ..Guest::new(1)
        };
        let machine = Machine {
            network,
            script: script(program, address_of(&guest)),
            guest,
            running: None,
        };
        Ok(machine)
    }
}

fn address_of(guest: &Guest) -> SocketAddr {
    SocketAddr::from((Network::address_of(guest.number), 445))
}

/// Serves, on the first start with a new pool and the test's account; ends when the file `stop` comes to be.
fn script(program: &Path, address: SocketAddr) -> String {
    let program = program.display();
    format!(
        "set -e
        cd {DISK_POINT}
        [ -e data ] || new='--disk {DISK_POINT}/disk-0'
        {program} --data data serve --smb {address} $new &
        server=$!
        if [ -n \"$new\" ]; then
            until {program} --data data status >/dev/null 2>&1; do sleep 0.1; done
            printf '%s\\n' '{PASSWORD}' | {program} --data data user add {USER} --password-stdin --admin
        fi
        until [ -e /run/job/stop ]; do sleep 0.2; done
        kill -TERM $server
        wait $server"
    )
}

impl Victim for Machine<'_> {
    /// The time is until the first logon, without the kernel's own start.
    async fn start(&mut self) -> Result<Duration> {
        let running = self.guest.boot(self.network, &self.script)?;
        let booted = Instant::now();
        loop {
            if Client::connect(&self.target()).await.is_ok() {
                break;
            }
            if booted.elapsed() > PATIENCE || running.has_ended()? {
                bail!("the machine does not serve: {}", running.console());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.running = Some(running);
        Ok(booted.elapsed())
    }

    fn target(&self) -> Target {
        Target {
            address: address_of(&self.guest),
            share: SHARE.to_owned(),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    fn kill(&mut self) -> Result<()> {
        self.running.take().context("it runs")?.kill();
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        let running = self.running.take().context("it runs")?;
        std::fs::write(running.job().join("stop"), "")?;
        running.wait(PATIENCE)?.succeeded()?;
        Ok(())
    }
}
