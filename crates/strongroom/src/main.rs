//! Strongroom: network-attached storage in one program.
//!
//! This binary owns what the floors below do not: the command line, the sockets, signals, logs and the administration
//! interface. `serve` wires the floors together; every other command talks to the running server.

mod alarms;
mod cli;
mod commands;
mod control;
mod data;
mod disks;
mod failure;
mod fsck;
mod fullness;
mod logging;
mod passphrase;
mod past;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use cli::{Arguments, Command};
use failure::Result;

/// Rows and pages are made by one thread and freed by another; the C library's allocator kept more than it gave back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(&arguments.logging);
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("strongroom: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let data = arguments.data_directory();
    match arguments.command.unwrap_or_default() {
        Command::Serve(options) => serve::run(&data, &options),
        Command::User { command } => commands::user(&data, command),
        Command::Share { command } => commands::share(&data, command),
        Command::Pool { command } => commands::pool(&data, command),
        Command::Fsck(options) => fsck::run(&data, &options),
        Command::Snapshot { command } => past::snapshot(&data, command),
        Command::History { command } => past::history(&data, command),
        Command::Rewind(options) => past::rewind(&data, &options),
        Command::Undo(options) => past::undo(&data, &options),
        Command::Stop { session } => past::stop(&data, session),
        Command::Alarm { command } => alarms::run(&data, command),
        Command::Status { json } => commands::status(&data, json),
    }
}
