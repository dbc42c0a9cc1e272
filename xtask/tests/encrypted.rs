//! An encrypted pool as people have it: the words, what a wrong passphrase does, and what the raw disks tell.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xtask::server::{Server, program};

const FILE: &str = "merger with the brewery.txt";
const LINE: &[u8] = b"forty thousand for the left wing of the old boathouse\n";
const OTHER_USER: &str = "wilhelmina.featherstone";
const PASSPHRASE: &str = "seven grey geese over the weir";
const NEW_PASSPHRASE: &str = "eight grey geese over the weir";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn passphrase_file(place: &Path, name: &str, passphrase: &str) -> PathBuf {
    let path = place.join(name);
    fs::write(&path, format!("{passphrase}\n")).unwrap();
    path
}

/// The program without a terminal to ask at.
fn strongroom(arguments: &[&str]) -> Output {
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(program().unwrap());
    command.args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Files below a directory with these bytes.
fn found(directory: &Path, wanted: &[u8]) -> Vec<PathBuf> {
    let mut hits = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            hits.extend(found(&path, wanted));
        } else if contains(&fs::read(&path).unwrap(), wanted) {
            hits.push(path);
        }
    }
    hits
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

async fn write_and_read(server: &Server, write: bool) {
    let requests = server.connect().await.unwrap().share();
    let content = LINE.repeat(20_000);
    if write {
        let handle = requests.create_file(FILE).await.unwrap();
        for (piece, data) in content.chunks(1 << 20).enumerate() {
            let at = (piece as u64) << 20;
            requests.write(handle, at, data.to_vec()).await.unwrap();
        }
        requests.flush(handle).await.unwrap();
        requests.close(handle).await.unwrap();
    }
    let (handle, size) = requests.open_file(FILE).await.unwrap();
    assert!(requests.read_all(handle, size).await.unwrap() == content);
    requests.close(handle).await.unwrap();
}

/// A pool on two disks with a file and a user, in use by nobody.
async fn filled(place: &Path, words: &[&str]) -> [PathBuf; 2] {
    let disks = [place.join("disk-0"), place.join("disk-1")];
    let mut more = vec!["--allow-shared-device"];
    more.extend(words);
    let server = Server::create_on(place, &disks, &more).unwrap();
    write_and_read(&server, true).await;
    let add = ["user", "add", OTHER_USER, "--password-stdin"];
    server
        .admin_with_input(&add, "nine words of a password\n")
        .unwrap();
    let status = server.admin(&["status"]).unwrap();
    assert_eq!(
        status.contains(", encrypted"),
        words.contains(&"--encrypt"),
        "{status}"
    );
    server.stop().unwrap();
    disks
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disks_of_an_encrypted_pool_tell_nothing_and_its_passphrase_opens_it() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let file = passphrase_file(place, "passphrase", PASSPHRASE);
    let words = ["--encrypt", "--passphrase-file", text(&file)];
    let disks = filled(place, &words).await;
    let planted = [
        FILE.as_bytes().to_vec(),
        utf16(FILE),
        LINE[..24].to_vec(),
        OTHER_USER.into(),
        PASSPHRASE.into(),
    ];
    for disk in &disks {
        for wanted in &planted {
            assert_eq!(
                found(disk, wanted),
                Vec::<PathBuf>::new(),
                "{}",
                wanted.escape_ascii()
            );
        }
    }
    assert!(
        !fs::read_to_string(place.join("data.log"))
            .unwrap()
            .contains(PASSPHRASE)
    );
    refuses_to_open(place);
    let server = Server::start_with_words(
        place,
        &["--passphrase-command", &format!("cat {}", text(&file))],
    )
    .unwrap();
    write_and_read(&server, false).await;
    let new = passphrase_file(place, "new", NEW_PASSPHRASE);
    let wrong = passphrase_file(place, "wrong", "not this one");
    let change = |old: &Path| {
        let words = [
            "pool",
            "change-passphrase",
            "--passphrase-file",
            text(old),
            "--new-passphrase-file",
            text(&new),
        ];
        server.try_admin(&words, "").unwrap()
    };
    let refused = change(&wrong);
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    let changed = change(&file);
    assert!(changed.status.success(), "{}", said(&changed));
    server.stop().unwrap();
    assert!(Server::start_with_words(place, &words[1..]).is_err());
    let server = Server::start_with_words(place, &["--passphrase-file", text(&new)]).unwrap();
    write_and_read(&server, false).await;
    server.stop().unwrap();
    checks(place, &new);
}

/// Neither without a passphrase nor with a wrong one; and nothing changes by it.
fn refuses_to_open(place: &Path) {
    let state = || {
        let labels = ["disk-0", "disk-1"].map(|disk| fs::read(place.join(disk).join("label.0")));
        let epochs = ["disk-0", "disk-1"].map(|disk| fs::read(place.join(disk).join("epochs.0")));
        (labels.map(Result::unwrap), epochs.map(Result::unwrap))
    };
    let before = state();
    let data = place.join("data");
    let wrong = passphrase_file(place, "wrong", "not this one");
    let serve = [
        "--data",
        text(&data),
        "--log-level",
        "error",
        "serve",
        "--smb",
        "127.0.0.1:0",
        "--no-discovery",
    ];
    let with_wrong = strongroom(&[&serve[..], &["--passphrase-file", text(&wrong)]].concat());
    assert_eq!(with_wrong.status.code(), Some(5), "{}", said(&with_wrong));
    assert!(
        said(&with_wrong).contains("not the passphrase"),
        "{}",
        said(&with_wrong)
    );
    let without = strongroom(&serve);
    assert_eq!(without.status.code(), Some(3), "{}", said(&without));
    assert!(
        said(&without).contains("--passphrase-file"),
        "{}",
        said(&without)
    );
    assert!(state() == before);
}

/// With the passphrase everything is checked, without it the stripes.
fn checks(place: &Path, passphrase: &Path) {
    let data = place.join("data");
    let fsck = ["--data", text(&data), "--log-level", "error", "fsck"];
    let with = strongroom(&[&fsck[..], &["--passphrase-file", text(passphrase)]].concat());
    assert!(
        said(&with).contains("Everything is right"),
        "{}",
        said(&with)
    );
    let without = strongroom(&fsck);
    assert!(
        said(&without).contains("What was checked is right"),
        "{}",
        said(&without)
    );
    assert!(
        said(&without).contains("names   not checked"),
        "{}",
        said(&without)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_searched_for_is_found_on_disks_that_are_not_encrypted() {
    let place = tempfile::tempdir().unwrap();
    let disks = filled(place.path(), &[]).await;
    for wanted in [FILE.as_bytes(), &LINE[..24], OTHER_USER.as_bytes()] {
        assert!(
            !found(&disks[0], wanted).is_empty(),
            "{}",
            wanted.escape_ascii()
        );
    }
    let data = place.path().join("data");
    let words = [
        "--data",
        text(&data),
        "serve",
        "--smb",
        "127.0.0.1:0",
        "--encrypt",
    ];
    let refused = strongroom(&words);
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    assert!(
        said(&refused).contains("start without --encrypt"),
        "{}",
        said(&refused)
    );
}
