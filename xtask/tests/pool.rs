//! The program's words about its pool: layouts, states, scrubs, checks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use xtask::random::{Random, content};
use xtask::server::{Server, program};

fn strongroom(arguments: &[&str]) -> Output {
    let mut command = Command::new(program().unwrap());
    command.args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs `fsck` on a pool made by [`Server::create`].
fn fsck(place: &Path, more: &[&str]) -> (Option<i32>, String) {
    let data = place.join("data");
    let mut arguments = vec!["--data", text(&data), "--log-level", "error", "fsck"];
    arguments.extend(more);
    let output = strongroom(&arguments);
    let said = said(&output);
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code(), said)
}

const FILES: [(&str, usize); 3] = [("small", 900), ("middle", 200_000), ("large", 6_000_000)];

async fn write_files(server: &Server) {
    let requests = server.connect().await.unwrap().share();
    for (name, len) in FILES {
        let handle = requests.create_file(name).await.unwrap();
        for (piece, data) in content(len as u64, len).chunks(1 << 20).enumerate() {
            let at = (piece as u64) << 20;
            requests.write(handle, at, data.to_vec()).await.unwrap();
        }
        requests.flush(handle).await.unwrap();
        requests.close(handle).await.unwrap();
    }
}

async fn check_files(server: &Server) {
    let requests = server.connect().await.unwrap().share();
    for (name, len) in FILES {
        let (handle, size) = requests.open_file(name).await.unwrap();
        let found = requests.read_all(handle, size).await.unwrap();
        assert!(found == content(len as u64, len), "{name} has other bytes");
        requests.close(handle).await.unwrap();
    }
}

#[test]
fn directories_on_one_device_are_no_redundancy_unless_allowed() {
    let place = tempfile::tempdir().unwrap();
    let (data, disks) = (
        place.path().join("data"),
        ["a", "b"].map(|n| place.path().join(n)),
    );
    let arguments = [
        "--data",
        text(&data),
        "serve",
        "--smb",
        "127.0.0.1:0",
        "--disk",
        text(&disks[0]),
        "--disk",
        text(&disks[1]),
    ];
    let refused = strongroom(&arguments);
    assert_eq!(refused.status.code(), Some(5));
    let why = said(&refused);
    assert!(
        why.contains("--allow-shared-device") && why.contains(text(&disks[1])),
        "{why}"
    );
    for disk in &disks {
        let left = fs::read_dir(disk).unwrap().flatten();
        let left: Vec<_> = left
            .map(|entry| entry.file_name())
            .filter(|name| name != "lock")
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    // The same words with the permission make a pool.
    let server = Server::create(place.path(), 2).unwrap();
    let status = server.admin(&["pool", "status"]).unwrap();
    assert!(
        status.contains("NO DISK FAILURE IS SURVIVED: on one block device lie"),
        "{status}"
    );
    assert!(status.contains("everything is kept twice"), "{status}");
    server.stop().unwrap();
}

#[test]
fn a_layout_that_cannot_be_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let (data, disk) = (place.path().join("data"), place.path().join("disk"));
    let with = |layout: &str| {
        let arguments = [
            "--data",
            text(&data),
            "serve",
            "--disk",
            text(&disk),
            "--layout",
            layout,
        ];
        let output = strongroom(&arguments);
        (output.status.code(), said(&output))
    };
    for layout in ["0+1", "17+1", "4+5", "four", "4", "4+2+1"] {
        let (code, why) = with(layout);
        assert_eq!(code, Some(2), "{layout}: {why}");
        assert!(why.contains("a layout is K+M"), "{why}");
    }
    let (code, why) = with("4+2");
    assert_eq!(code, Some(5));
    assert!(
        why.contains("needs at least 6 disks, 1 were named"),
        "{why}"
    );
}

/// Both the index and file data, to the end.
fn is_scrubbed(server: &Server) -> bool {
    let told = server
        .admin(&["pool", "scrub", "status", "--json"])
        .unwrap();
    let scrub: serde_json::Value = serde_json::from_str(&told).unwrap();
    let jobs = scrub["jobs"].as_array().unwrap();
    scrub["ended_s"].is_u64()
        && scrub["failed"].is_null()
        && jobs.iter().all(|job| job["state"] == "done")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_tell_of_the_pool_and_scrub_it() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 6).unwrap();
    assert!(
        server.log().contains("any 4 of them give the file back"),
        "{}",
        server.log()
    );
    write_files(&server).await;
    let layout = server.admin(&["pool", "layout"]).unwrap();
    assert!(layout.starts_with("4+2 on 6 disks"), "{layout}");
    assert!(layout.contains("(4 of 6 parts are data)"), "{layout}");
    let json = server.admin(&["pool", "status", "--json"]).unwrap();
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status["pool"]["disks"].as_array().unwrap().len(), 6);
    assert_eq!(status["pool"]["survives"], 0, "they share a device");
    assert!(status["pool"]["usable_total"].as_u64().unwrap() > 0);
    server.admin(&["pool", "scrub", "start"]).unwrap();
    let start = Instant::now();
    while !is_scrubbed(&server) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the scrub does not end"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let idle = server.try_admin(&["pool", "scrub", "stop"], "").unwrap();
    assert_eq!(idle.status.code(), Some(3));
    assert!(
        said(&idle).contains("no scrub is running"),
        "{}",
        said(&idle)
    );
    server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_on_the_control_socket_harm_nobody() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 1).unwrap();
    let socket = server.data().join("control.sock");
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut random = Random::new(11);
    let mut hostile: Vec<Vec<u8>> = (0..60).map(|n| random.bytes(1 + (n * n) % 5000)).collect();
    let head = "Host: x\r\nContent-Type: application/json\r\n";
    for request in [
        "GET /api/v1/pool HTTP/1.1\r\n".to_owned(),
        "GET /api/v1/pool HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n{head}\r\n", "a/".repeat(40_000)),
        format!(
            "GET /api/v1/pool HTTP/1.1\r\n{}\r\n",
            "X: y\r\n".repeat(3000)
        ),
        format!("POST /api/v1/pool/scrub HTTP/1.1\r\n{head}Content-Length: 99999999999\r\n\r\n"),
        format!("POST /api/v1/users HTTP/1.1\r\n{head}Content-Length: 5\r\n\r\n{{\"na"),
        format!(
            "POST /api/v1/users HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n"
        ),
        format!("DELETE /api/v1/shares/%00%ff%2e%2e HTTP/1.1\r\n{head}\r\n"),
        format!("PATCH /api/v1/pool HTTP/1.1\r\n{head}\r\n"),
    ] {
        hostile.push(request.into_bytes());
    }
    for bytes in &hostile {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        // The server may hang up at any moment, which is its good right.
        stream.write_all(bytes).ok();
        let answered = stream.read(&mut [0; 4096]).unwrap_or(0);
        assert!(answered <= 4096);
    }
    let layout = server.admin(&["pool", "layout"]).unwrap();
    assert!(layout.starts_with("1+0 on 1 disk"), "{layout}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    server.stop().unwrap();
}

/// All files below, with their bytes.
fn snapshot(place: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut left = vec![place.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.file_name().unwrap() != "lock"
                && path.extension().is_none_or(|end| end != "log")
            {
                let bytes = fs::read(&path).unwrap_or_default();
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn fsck_finds_nothing_wrong_after_a_kill_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 3).unwrap();
    write_files(&server).await;
    let data = server.data().to_owned();
    let refused = strongroom(&["--data", text(&data), "fsck"]);
    assert_eq!(refused.status.code(), Some(7), "{}", said(&refused));
    server.kill().unwrap();
    let before = snapshot(place.path());
    let (code, said) = fsck(place.path(), &[]);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "3 files in 1 directories of 1 shares",
        "Nothing was changed.",
        "Everything is right.",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(snapshot(place.path()) == before, "something was changed");
    let server = Server::start(place.path()).unwrap();
    check_files(&server).await;
    server.stop().unwrap();
}

/// The largest shard file of a disk, and an offset in its data.
fn shard(place: &Path, disk: usize) -> PathBuf {
    let segments = place.join(format!("disk-{disk}/segments"));
    let files = fs::read_dir(segments)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

fn flip(path: &Path, offset: u64) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fsck_tells_of_rot_and_repairs_it_when_told() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 2).unwrap();
    write_files(&server).await;
    server.stop().unwrap();
    let rotten = shard(place.path(), 1);
    for offset in [20_000, 150_000] {
        flip(&rotten, offset);
    }
    let before = snapshot(place.path());
    let (code, told) = fsck(place.path(), &[]);
    assert_eq!(code, Some(8), "{told}");
    assert!(
        told.contains("disk-1: segment") && told.contains("is damaged"),
        "{told}"
    );
    assert!(snapshot(place.path()) == before, "something was changed");
    let (code, told) = fsck(place.path(), &["--repair"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("Repaired: "), "{told}");
    let (code, told) = fsck(place.path(), &["--json"]);
    assert_eq!(code, Some(0), "{told}");
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["problems"].as_array().unwrap().len(), 0);
    assert_eq!(report["files"], 3);
    let server = Server::start(place.path()).unwrap();
    check_files(&server).await;
    server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fsck_names_the_files_whose_bytes_are_lost() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 1).unwrap();
    write_files(&server).await;
    server.stop().unwrap();
    let rotten = shard(place.path(), 0);
    let len = fs::metadata(&rotten).unwrap().len();
    flip(&rotten, len - 300_000);
    let (code, told) = fsck(place.path(), &["--repair"]);
    assert_eq!(code, Some(8), "{told}");
    assert!(told.contains("LOST"), "{told}");
    assert!(
        told.contains("/files/large: ") || told.contains("/files/middle: "),
        "{told}"
    );
}

#[test]
fn fsck_of_what_is_no_pool_says_so() {
    let place = tempfile::tempdir().unwrap();
    let (code, told) = fsck(place.path(), &[]);
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("no pool is known here"), "{told}");
    assert!(!place.path().join("data").exists());
}

fn report(server: &Server) -> serde_json::Value {
    serde_json::from_str(&server.admin(&["pool", "status", "--json"]).unwrap()).unwrap()
}

async fn wait_for(server: &Server, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
    let start = Instant::now();
    while !is_so(&report(server)) {
        let report = report(server);
        assert!(
            start.elapsed() < Duration::from_secs(90),
            "{what}: {report:#}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_whole(report: &serde_json::Value) -> bool {
    let (upkeep, disks) = (&report["upkeep"], report["pool"]["disks"].as_array());
    let lost = upkeep["lost_disks"].as_array().is_some_and(Vec::is_empty);
    disks.is_some() && lost && upkeep["task"] == "idle"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_is_replaced_and_the_next_loss_survived() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 4).unwrap();
    write_files(&server).await;
    fs::remove_dir_all(place.path().join("disk-1")).unwrap();
    wait_for(&server, "the loss", |report| {
        report["pool"]["disks"][1]["state"] == "set_aside"
    })
    .await;
    let (lost, new) = (place.path().join("disk-1"), place.path().join("disk-new"));
    let absent = server
        .try_admin(&["pool", "replace-disk", text(&lost), text(&new)], "")
        .unwrap();
    assert_eq!(absent.status.code(), Some(3), "{}", said(&absent));
    fs::create_dir(&new).unwrap();
    let words = [
        "pool",
        "replace-disk",
        text(&lost),
        text(&new),
        "--allow-shared-device",
    ];
    server.admin(&words).unwrap();
    wait_for(&server, "the rebuild", is_whole).await;
    for lost in ["disk-0", "disk-2"] {
        fs::remove_dir_all(place.path().join(lost)).unwrap();
    }
    check_files(&server).await;
    server.stop().unwrap();
    // The new disk is remembered.
    let server = Server::start(place.path()).unwrap();
    check_files(&server).await;
    server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_come_and_go_by_their_words() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 2).unwrap();
    write_files(&server).await;
    let refused = |words: &[&str], part: &str| {
        let output = server.try_admin(words, "").unwrap();
        assert_eq!(
            output.status.code(),
            Some(3),
            "{words:?}: {}",
            said(&output)
        );
        assert!(said(&output).contains(part), "{words:?}: {}", said(&output));
    };
    refused(&["pool", "remove-disk", "ffff"], "ffff");
    let first = place.path().join("disk-0");
    refused(&["pool", "remove-disk", text(&first)], "disk");
    let (new, other) = (place.path().join("new"), tempfile::tempdir().unwrap());
    fs::create_dir(&new).unwrap();
    refused(&["pool", "add-disk", text(&new)], "--allow-shared-device");
    assert_eq!(
        fs::read_dir(&new).unwrap().count(),
        0,
        "nothing is left there"
    );
    let stranger = Server::create(other.path(), 1).unwrap();
    stranger.stop().unwrap();
    let foreign = other.path().join("disk-0");
    refused(
        &["pool", "add-disk", text(&foreign), "--allow-shared-device"],
        text(&foreign),
    );
    server
        .admin(&["pool", "add-disk", text(&new), "--allow-shared-device"])
        .unwrap();
    wait_for(&server, "the new disk", |report| {
        report["pool"]["disks"].as_array().unwrap().len() == 3 && is_whole(report)
    })
    .await;
    server
        .admin(&["pool", "remove-disk", text(&first)])
        .unwrap();
    wait_for(&server, "the emptying", |report| {
        let disks = report["pool"]["disks"].as_array().unwrap();
        let members = disks
            .iter()
            .filter(|disk| disk["state"] == "member")
            .count();
        members == 2 && is_whole(report)
    })
    .await;
    fs::remove_dir_all(&first).unwrap();
    check_files(&server).await;
    server.stop().unwrap();
    let server = Server::start(place.path()).unwrap();
    check_files(&server).await;
    server.stop().unwrap();
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_vanished_comes_back_by_itself() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 3).unwrap();
    let before = server.connect().await.unwrap().share();
    before.create_file("before").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (disk, kept) = (place.path().join("disk-1"), place.path().join("kept"));
    copy(&disk, &kept);
    fs::remove_dir_all(&disk).unwrap();
    wait_for(&server, "the loss", |report| {
        report["pool"]["disks"][1]["state"] == "set_aside"
    })
    .await;
    write_files(&server).await;
    // An empty mount point is left as it is.
    fs::create_dir(&disk).unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);
    fs::remove_dir(&disk).unwrap();
    fs::rename(&kept, &disk).unwrap();
    wait_for(&server, "the return", |report| {
        report["pool"]["disks"][1]["state"] == "member" && is_whole(report)
    })
    .await;
    for lost in ["disk-0", "disk-2"] {
        fs::remove_dir_all(place.path().join(lost)).unwrap();
    }
    check_files(&server).await;
    server.stop().unwrap();
}

/// Each flush is a transaction group of its own.
async fn flush_often(server: &Server, times: u64) {
    let requests = server.connect().await.unwrap().share();
    let handle = requests.create_file("often").await.unwrap();
    for time in 0..times {
        let bytes = time.to_le_bytes().to_vec();
        requests.write(handle, time * 8, bytes).await.unwrap();
        requests.flush(handle).await.unwrap();
    }
    requests.close(handle).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_away_for_a_thousand_groups_is_believed_in_nothing() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 3).unwrap();
    flush_often(&server, 3).await;
    server.kill().unwrap();
    let (disk, away) = (place.path().join("disk-0"), place.path().join("away"));
    fs::rename(&disk, &away).unwrap();
    let server = Server::start(place.path()).unwrap();
    let requests = server.connect().await.unwrap().share();
    requests.delete("often").await.unwrap();
    flush_often(&server, 1000).await;
    write_files(&server).await;
    server.kill().unwrap();
    fs::rename(&away, &disk).unwrap();
    let server = Server::start(place.path()).unwrap();
    check_files(&server).await;
    wait_for(&server, "the return", |report| {
        report["pool"]["disks"][0]["state"] == "member" && is_whole(report)
    })
    .await;
    // It alone has everything now, and nothing of what it had.
    for lost in ["disk-1", "disk-2"] {
        fs::remove_dir_all(place.path().join(lost)).unwrap();
    }
    check_files(&server).await;
    let requests = server.connect().await.unwrap().share();
    let (handle, size) = requests.open_file("often").await.unwrap();
    let found = requests.read_all(handle, size).await.unwrap();
    let told: Vec<u8> = (0..1000u64).flat_map(u64::to_le_bytes).collect();
    assert!(found == told);
    server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_of_a_mirror_that_were_used_apart_refuse_each_other_by_name() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 2).unwrap();
    write_files(&server).await;
    server.stop().unwrap();
    let disks = ["disk-0", "disk-1"].map(|name| place.path().join(name));
    let away = place.path().join("away");
    for disk in [&disks[1], &disks[0]] {
        fs::rename(disk, &away).unwrap();
        let server = Server::start(place.path()).unwrap();
        flush_often(&server, 2).await;
        server.kill().unwrap();
        fs::rename(&away, disk).unwrap();
    }
    let before = snapshot(place.path());
    let data = place.path().join("data");
    let refused = strongroom(&["--data", text(&data), "serve", "--smb", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    for part in [text(&disks[0]), text(&disks[1]), "used apart"] {
        assert!(said(&refused).contains(part), "{}", said(&refused));
    }
    assert!(snapshot(place.path()) == before, "something was changed");
}

/// Bare disks, put into another machine in another order: another data directory, other paths, nothing remembered.
#[tokio::test(flavor = "multi_thread")]
async fn bare_disks_open_in_another_machine_in_any_order_with_all_that_is_on_them() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 3).unwrap();
    write_files(&server).await;
    server.admin(&["share", "add", "moved"]).unwrap();
    let users = server.admin(&["user", "list"]).unwrap();
    let shares = server.admin(&["share", "list"]).unwrap();
    let snapshot = ["snapshot", "create", "files", "before the move"];
    let (files, _) = shares.split_once(' ').unwrap();
    let snapshot = [snapshot[0], snapshot[1], files, snapshot[3]];
    server.admin(&snapshot).unwrap();
    let past = server.admin(&["snapshot", "list", files]).unwrap();
    server.stop().unwrap();
    let other = tempfile::tempdir().unwrap();
    let order = [2, 0, 1].map(|disk| format!("disk-{disk}"));
    for (number, disk) in order.iter().enumerate() {
        let new = other.path().join(format!("disk-{number}"));
        fs::rename(place.path().join(disk), new).unwrap();
    }
    let server = Server::start_moved(other.path(), 3).unwrap();
    check_files(&server).await;
    assert_eq!(server.admin(&["user", "list"]).unwrap(), users);
    assert_eq!(server.admin(&["share", "list"]).unwrap(), shares);
    assert_eq!(server.admin(&["snapshot", "list", files]).unwrap(), past);
    server.stop().unwrap();
}
