//! SMB clients written in Python: they log in, list, copy, and are refused what they should be.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use xtask::python;
use xtask::server::{PASSWORD, Server, USER};

fn passes(script: &str) {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 1).unwrap();
    server
        .admin(&["share", "add", "archive", "--read-only"])
        .unwrap();
    // Somebody whose files are not everybody's.
    let words = ["user", "add", "second", "--password-stdin"];
    server.admin_with_input(&words, PASSWORD).unwrap();
    println!("{}", python::run(&server, script, "archive").unwrap());
    server.stop().unwrap();
}

#[test]
fn smbprotocol_copies_and_is_refused() {
    passes("with_smbprotocol.py");
}

#[test]
fn impacket_copies_and_is_refused() {
    passes("with_impacket.py");
}

#[test]
fn persistent_handles_outlive_a_server_that_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 1).unwrap();
    let add = ["share", "add", "kept", "--continuously-available"];
    server.admin(&add).unwrap();
    let state = place.path().join("state.json");
    let state = state.to_str().unwrap();
    let phase = |server: &Server, phase: &str| {
        let arguments = ["kept", USER, PASSWORD, phase, state];
        let said = python::run_with(server, "with_persistent.py", &arguments);
        println!("{}", said.unwrap());
    };
    phase(&server, "hold");
    server.kill().unwrap();
    let server = Server::start(place.path()).unwrap();
    phase(&server, "back");
    server.stop().unwrap();
}
