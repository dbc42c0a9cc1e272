//! SMB clients written in Python: they log in, list, copy, and are refused what they should be.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use xtask::python;
use xtask::server::Server;

fn passes(script: &str) {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 1).unwrap();
    server
        .admin(&["share", "add", "archive", "--read-only"])
        .unwrap();
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
