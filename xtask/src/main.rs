//! `cargo xtask`: what the project does to itself. `cargo xtask --help` lists it.

use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use xtask::bench::{self, Options, Scale};
use xtask::scenario::kernel_smb;
use xtask::sim::{self, Seeds};
use xtask::{checks, soak, torture};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "Checks, benchmarks and long tests of this project"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All checks: format, lints, licences, unit tests, simulations, interoperability
    Test,
    /// One of the long tests
    Soak {
        /// Which one
        name: Soak,
        /// How long, for smb-churn
        minutes: Option<u32>,
    },
    /// Samba's conformance cases against tests/torture-ledger.tsv, to target/torture.tsv
    Torture {
        /// As in smb2.lock; all where none is named
        suites: Vec<String>,
    },
    /// Run the whole stair on simulated disks, against a model, under faults: docs/fault-model.md
    Sim {
        /// A..B, or one seed
        #[arg(long, default_value = "0..200")]
        seeds: Seeds,
        /// End after so many minutes, however many seeds are left
        #[arg(long)]
        minutes: Option<u64>,
        /// Operations of all clients of a run
        #[arg(long)]
        operations: Option<u64>,
        /// Plant a bug, which must be found
        #[arg(long)]
        canary: Option<String>,
        /// Seeds that run side by side
        #[arg(long)]
        threads: Option<usize>,
        /// Show all that happened in the run that failed
        #[arg(long)]
        verbose: bool,
    },
    /// Measure against a peer on this machine
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// A script in a guest that has the share mounted, with the client's counts of requests: for reasons in
    /// xtask/pjdfstest.tsv
    Trace {
        /// What bash runs in the share
        script: String,
        /// More options of the mount
        #[arg(long, value_delimiter = ',')]
        options: Vec<String>,
    },
    /// The bare echo server that benchmarks measure as their floor
    #[command(hide = true)]
    EchoServer { port: u16 },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Soak {
    /// 100 kills under 8 writing clients
    #[value(name = "kill-100")]
    Kill,
    /// A directory of 1,000,000 files, then ten minutes of creates
    #[value(name = "growth-1m")]
    Growth,
    /// Real trees and files of some GiB, by 1 and by 4 clients
    #[value(name = "real-input-full")]
    RealInput,
    /// 300 flipped bytes
    #[value(name = "rot-300")]
    Rot,
    /// 10,000 flipped bytes in three disks' files while clients read
    #[value(name = "flips-10000")]
    Flips,
    /// The machine under the server is killed 30 times
    #[value(name = "kernel-kill")]
    KernelKill,
    /// fsx and pjdfstest over a mount by the Linux kernel
    #[value(name = "kernel-smb")]
    KernelSmb,
    /// The same over NFS
    #[value(name = "kernel-nfs")]
    KernelNfs,
    /// 1,000 idle connections with 10,000 open files
    #[value(name = "idle-1000")]
    Idle,
    /// 8 clients whose connections are cut at random, 30 minutes
    Attack,
    #[value(name = "smb-churn")]
    Churn,
}

impl From<Soak> for soak::Soak {
    fn from(name: Soak) -> soak::Soak {
        match name {
            Soak::Kill => soak::Soak::Kill,
            Soak::Growth => soak::Soak::Growth,
            Soak::RealInput => soak::Soak::RealInput,
            Soak::Rot => soak::Soak::Rot,
            Soak::Flips => soak::Soak::Flips,
            Soak::KernelKill => soak::Soak::KernelKill,
            Soak::KernelSmb => soak::Soak::KernelSmb,
            Soak::KernelNfs => soak::Soak::KernelNfs,
            Soak::Idle => soak::Soak::Idle,
            Soak::Attack => soak::Soak::Attack,
            Soak::Churn => soak::Soak::Churn,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Strongroom and Samba, turn by turn, to target/bench/smb.json
    Smb {
        /// A quarter of the data
        #[arg(long)]
        quick: bool,
        /// Turns of every row; the median counts
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=99))]
        turns: u8,
        /// Only Samba, to check the harness itself
        #[arg(long)]
        peer_only: bool,
        /// Report only rows whose name contains this
        #[arg(long)]
        only: Option<String>,
    },
    /// The pool beside plain files on the same disk, to target/bench/pool.json. With --release
    Pool {
        /// A quarter of the data
        #[arg(long)]
        quick: bool,
        /// Turns of every row; the median counts
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=99))]
        turns: u8,
    },
    /// What keeping the past costs, to target/bench/history.json
    History {
        /// Turns of every row; the median counts
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=99))]
        turns: u8,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Test => checks::run(),
        Command::Soak { name, minutes } => soak::run(name.into(), minutes).await,
        Command::Sim {
            seeds,
            minutes,
            operations,
            canary,
            threads,
            verbose,
        } => {
            let all = std::thread::available_parallelism().map_or(1, usize::from);
            sim::sim(&sim::Plan {
                seeds,
                limit: minutes.map(|minutes| Duration::from_secs(60 * minutes)),
                operations,
                canary,
                verbose,
                threads: threads.unwrap_or(all),
            })
        }
        Command::Bench {
            what:
                Bench::Smb {
                    quick,
                    turns,
                    peer_only,
                    only,
                },
        } => {
            let scale = if quick { QUICK } else { FULL };
            bench::smb(&Options {
                scale,
                turns: turns.into(),
                peer_only,
                only,
            })
            .await
        }
        Command::Bench {
            what: Bench::Pool { quick, turns },
        } => {
            let scale = if quick { QUICK } else { FULL };
            bench::pool::run(bench::pool::Options {
                bytes: scale.sequential_bytes,
                turns: turns.into(),
            })
            .await
        }
        Command::Bench {
            what: Bench::History { turns },
        } => {
            bench::history(&Options {
                scale: FULL,
                turns: turns.into(),
                peer_only: false,
                only: None,
            })
            .await
        }
        Command::Torture { suites } => torture::command(&suites),
        Command::Trace { script, options } => {
            let place = tempfile::tempdir_in(xtask::server::target_directory())?;
            kernel_smb::trace(place.path(), &options, &script)
        }
        Command::EchoServer { port } => bench::echo::serve(port).await,
    }
}

const FULL: Scale = Scale {
    sequential_bytes: 1 << 30,
    files: 5000,
};
const QUICK: Scale = Scale {
    sequential_bytes: 256 << 20,
    files: 1250,
};
