//! The past over real SMB and by the program's words.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use xtask::scenario::attack;
use xtask::server::{PASSWORD, SHARE, Server};
use xtask::smbclient::{attempt, run};

fn server() -> (tempfile::TempDir, Server) {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 1).unwrap();
    (place, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_encrypts_an_office_is_stopped_and_undone() {
    let place = tempfile::tempdir().unwrap();
    let plan = attack::Plan {
        files: 600,
        workers: 3,
        alarm: true,
        stopped_within: 60,
        undone_within: Duration::from_secs(20),
        seed: 1,
    };
    println!("{:?}", attack::run(place.path(), plan).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_stopped_is_undone_as_well() {
    let place = tempfile::tempdir().unwrap();
    let plan = attack::Plan {
        files: 600,
        workers: 2,
        alarm: false,
        stopped_within: 0,
        undone_within: Duration::from_secs(20),
        seed: 2,
    };
    println!("{:?}", attack::run(place.path(), plan).await.unwrap());
}

/// Lets pass what it takes until what is there can be gone back to.
fn settle() {
    std::thread::sleep(Duration::from_millis(3_200));
}

fn put(server: &Server, place: &Path, name: &str, content: &str) {
    let local = place.join("put");
    fs::write(&local, content).unwrap();
    run(server, &format!("put {} {name}", local.display())).unwrap();
}

fn fetch(server: &Server, place: &Path, name: &str) -> String {
    let local = place.join("fetched");
    run(server, &format!("get {name} {}", local.display())).unwrap();
    fs::read_to_string(local).unwrap()
}

/// The versions that `allinfo` lists, newest first.
fn versions(server: &Server, name: &str) -> Vec<String> {
    let all = run(server, &format!("allinfo {name}")).unwrap();
    let words = all.split_whitespace();
    words
        .filter(|word| word.starts_with("@GMT-"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn smbclient_lists_and_opens_previous_versions() {
    let (place, server) = server();
    for content in ["first", "second", "third"] {
        put(&server, place.path(), "f", content);
        settle();
    }
    let found = versions(&server, "f");
    assert_eq!(found.len(), 2, "{found:?}");
    for (version, content) in found.iter().zip(["second", "first"]) {
        let path = format!("{version}\\f");
        assert_eq!(fetch(&server, place.path(), &path), content);
        let listing = run(&server, &format!("ls {version}\\*")).unwrap();
        assert!(listing.contains(" f "), "{listing}");
    }
    run(&server, "del f").unwrap();
    settle();
    let path = format!("{}\\f", found[0]);
    assert_eq!(fetch(&server, place.path(), &path), "second");
    let denied = attempt(&server, SHARE, PASSWORD, &format!("del {path}")).unwrap();
    assert!(String::from_utf8_lossy(&denied.stdout).contains("NT_STATUS_"));
    server.stop().unwrap();
}

#[test]
fn the_hidden_directory_holds_the_past_and_stands_in_no_listing() {
    let (place, server) = server();
    put(&server, place.path(), "f", "then");
    settle();
    server
        .admin(&["snapshot", "create", SHARE, "before"])
        .unwrap();
    put(&server, place.path(), "f", "now");
    assert_eq!(fetch(&server, place.path(), ".history\\before\\f"), "then");
    assert!(!run(&server, "ls").unwrap().contains(".history"));
    let listing = run(&server, "ls .history\\*").unwrap();
    assert!(listing.contains("before"), "{listing}");
    server
        .admin(&["snapshot", "hold", SHARE, "before"])
        .unwrap();
    let held = server.admin(&["snapshot", "delete", SHARE, "before"]);
    assert!(held.is_err());
    let release = ["snapshot", "hold", SHARE, "before", "--release"];
    server.admin(&release).unwrap();
    server
        .admin(&["snapshot", "delete", SHARE, "before"])
        .unwrap();
    server.stop().unwrap();
}

#[test]
fn the_words_show_the_past_and_bring_it_back() {
    let (place, server) = server();
    run(&server, "mkdir d").unwrap();
    put(&server, place.path(), "d\\f", "then");
    settle();
    put(&server, place.path(), "d\\f", "now!!");
    put(&server, place.path(), "d\\g", "new");
    settle();
    let ago = "4 seconds ago";
    let path = format!("{SHARE}/d/f");
    let said = server
        .admin(&["history", "cat", &path, "--at", ago])
        .unwrap();
    assert_eq!(said, "then");
    let listed = server.admin(&["history", "ls", &format!("{SHARE}/d"), "--at", ago]);
    assert!(!listed.unwrap().contains('g'));
    let log = server.admin(&["history", "log", &path]).unwrap();
    assert!(
        log.contains("written") && log.contains("127.0.0.1"),
        "{log}"
    );
    let log = server.admin(&["history", "log", SHARE]).unwrap();
    assert!(log.contains("d/g"), "{log}");
    let diff = server
        .admin(&["history", "diff", SHARE, "--from", ago])
        .unwrap();
    assert!(
        diff.contains("added    d/g") && diff.contains("changed  d/f"),
        "{diff}"
    );
    let dry = ["rewind", SHARE, "--to", ago, "--dry-run"];
    assert!(server.admin(&dry).unwrap().contains("1 would be removed"));
    server.admin(&["rewind", SHARE, "--to", ago]).unwrap();
    assert_eq!(fetch(&server, place.path(), "d\\f"), "then");
    assert!(!run(&server, "ls d\\*").unwrap().contains(" g "));
    server.stop().unwrap();
}

#[test]
fn sambas_cases_of_previous_versions_pass() {
    let (place, server) = server();
    run(&server, "mkdir subdir").unwrap();
    put(
        &server,
        place.path(),
        "subdir\\hardlink",
        "there all the time",
    );
    put(&server, place.path(), "twrp", "then, before the change");
    put(&server, place.path(), "twrp:stream", "of the past");
    settle();
    put(&server, place.path(), "twrp", "now");
    put(&server, place.path(), "twrp:stream", "of the present");
    settle();
    let version = versions(&server, "twrp").remove(0);
    let options = [
        format!("torture:twrp_snapshot={version}"),
        "torture:twrp_file=twrp".to_owned(),
        "torture:twrp_stream=stream".to_owned(),
        "torture:twrp_stream_size=11".to_owned(),
    ];
    for case in [
        "smb2.twrp.write",
        "smb2.twrp.stream",
        "smb2.twrp.openroot",
        "smb2.twrp.listdir",
    ] {
        let limit = Duration::from_secs(60);
        let outcome = xtask::torture::case::run_with(&server, case, &options, limit).unwrap();
        let passed = outcome.ending == xtask::torture::case::Ending::Success;
        assert!(passed, "{case}: {}", outcome.said);
    }
    server.stop().unwrap();
}

#[test]
fn a_clone_is_a_share_of_its_own_and_schedules_are_told() {
    let (place, server) = server();
    put(&server, place.path(), "f", "then");
    settle();
    server
        .admin(&["snapshot", "create", SHARE, "before"])
        .unwrap();
    put(&server, place.path(), "f", "now");
    let cloned = ["snapshot", "clone", SHARE, "twin", "--of", "before"];
    let said = server.admin(&cloned).unwrap();
    assert!(said.contains("1 files and folders"), "{said}");
    let fetched = place.path().join("fetched");
    let command = format!("get f {}", fetched.display());
    let done = attempt(&server, "twin", PASSWORD, &command).unwrap();
    assert!(done.status.success());
    assert_eq!(fs::read_to_string(&fetched).unwrap(), "then");
    let twice = server.try_admin(&cloned, "").unwrap();
    assert!(!twice.status.success());
    let schedule = ["snapshot", "schedule", SHARE];
    let none = server.admin(&schedule).unwrap();
    assert!(none.starts_with("no snapshots"), "{none}");
    let hourly = [&schedule[..], &["--every", "1h", "--keep", "5"]].concat();
    server.admin(&hourly).unwrap();
    let told = server.admin(&schedule).unwrap();
    assert!(told.contains("the newest 5"), "{told}");
    server.stop().unwrap();
}
