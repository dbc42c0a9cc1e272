//! Computers of the same network find the server by themselves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use xtask::kernel::Network;
use xtask::python;
use xtask::server::Server;

#[test]
fn the_server_is_found_tells_what_it_is_and_says_goodbye() {
    // Nothing can be downloaded in there.
    python::prepare().unwrap();
    let parent = xtask::server::target_directory().join("tests");
    std::fs::create_dir_all(&parent).unwrap();
    let place = tempfile::tempdir_in(parent).unwrap();
    let network = Network::enter(&[]).unwrap();
    let server = Server::create_for_guests(place.path()).unwrap();
    let backups = ["share", "add", "backups", "--time-machine"];
    server.admin(&backups).unwrap();
    let found = place.path().join("found");
    std::thread::scope(|scope| {
        let script = || python::run(&server, "with_discovery.py", found.to_str().unwrap());
        let running = scope.spawn(script);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !found.exists() && !running.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let process = Pid::from_raw(i32::try_from(server.process()).unwrap()).unwrap();
        kill_process(process, Signal::TERM).unwrap();
        println!("{}", running.join().unwrap().unwrap());
    });
    drop(server);
    drop(network);
}
