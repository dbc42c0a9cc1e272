//! The past over real SMB and by the program's words.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use xtask::disk_image::DiskImage;
use xtask::random::Random;
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

/// A disk this small is full at once.
const SMALL: u64 = 512 << 20;

#[test]
fn what_is_locked_stays_whatever_an_administrator_does_also_in_a_full_pool() {
    let place = tempfile::tempdir().unwrap();
    let disk = DiskImage::create(place.path(), 0, SMALL).unwrap();
    let server = Server::create_on(place.path(), &[disk.pool()], &[]).unwrap();
    let kept = "what must stay\n".repeat(100_000);
    put(&server, place.path(), "f", &kept);
    put(&server, place.path(), "gone", &kept);
    let words = |words: &[&str]| server.admin(words);
    words(&["snapshot", "create", SHARE, "s"]).unwrap();
    words(&["snapshot", "lock", SHARE, "s", "--until", "2999-01-01"]).unwrap();
    settle();
    let instant = versions(&server, "f");

    // By every word.
    for refused in [
        &["snapshot", "delete", SHARE, "s"][..],
        &["snapshot", "lock", SHARE, "s", "--until", "2998-01-01"],
        &["share", "remove", SHARE],
    ] {
        assert!(words(refused).is_err(), "{refused:?} was done");
    }
    words(&["snapshot", "hold", SHARE, "s"]).unwrap();
    words(&["snapshot", "hold", SHARE, "s", "--release"]).unwrap();
    words(&["history", "keep", SHARE, "--every-second", "1s"]).unwrap();
    words(&[
        "snapshot", "schedule", SHARE, "--every", "1h", "--keep", "1",
    ])
    .unwrap();
    assert!(words(&["snapshot", "delete", SHARE, "s"]).is_err());

    // By the protocol, in the past itself and in what is there now.
    let refused = |commands: &str| {
        let output = attempt(&server, SHARE, PASSWORD, commands).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("NT_STATUS_"), "{commands}: {said}");
    };
    let local = place.path().join("put");
    fs::write(&local, "forged").unwrap();
    for below in [Some(".history\\s".to_owned()), instant.first().cloned()] {
        let Some(below) = below else { continue };
        refused(&format!("del {below}\\f"));
        refused(&format!("put {} {below}\\f", local.display()));
        refused(&format!("rename {below}\\f {below}\\g"));
        refused(&format!("rmdir {below}"));
        refused(&format!("mkdir {below}\\d"));
    }
    run(&server, "del gone").unwrap();
    put(&server, place.path(), "f", "overwritten");

    // Until nothing more goes in, and again after what was there now is deleted: the past takes the room.
    let filling = place.path().join("filling");
    let mut random = Random::new(5);
    for round in 0..2 {
        let mut full = false;
        for n in 0..60 {
            fs::write(&filling, random.bytes(16 << 20)).unwrap();
            let commands = format!("put {} filling-{round}-{n}", filling.display());
            let output = attempt(&server, SHARE, PASSWORD, &commands).unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            if said.contains("NT_STATUS_") {
                assert!(said.contains("DISK_FULL"), "{said}");
                full = true;
                break;
            }
        }
        assert!(full, "round {round}: the disk takes everything");
        assert!(words(&["snapshot", "delete", SHARE, "s"]).is_err());
        let told = words(&["status"]).unwrap();
        assert!(told.contains(" FULL: "), "nobody is told: {told}");
        run(&server, "del filling-*").unwrap();
    }
    for name in ["f", "gone"] {
        let found = fetch(&server, place.path(), &format!(".history\\s\\{name}"));
        assert!(found == kept, "{name} is not what it was");
    }

    // Nor after the machine was off, its clock set forward by whoever: the time that counts is the server's own.
    server.stop().unwrap();
    let server = Server::start(place.path()).unwrap();
    assert!(server.admin(&["snapshot", "delete", SHARE, "s"]).is_err());
    let found = fetch(&server, place.path(), ".history\\s\\gone");
    assert!(found == kept);
    server.stop().unwrap();
}
