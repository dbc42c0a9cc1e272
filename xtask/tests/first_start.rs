//! The first five minutes: the program started with nothing said.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xtask::client::{Client, Target};
use xtask::process::Guarded;
use xtask::server::program;

struct Started {
    process: Guarded,
    text: String,
}

/// Starts the program as a person does, in an empty directory, and waits for what it prints.
fn start(place: &std::path::Path) -> Started {
    let output = place.join("output");
    let child = Command::new(program().unwrap())
        .current_dir(place)
        .stdin(Stdio::null())
        .stdout(File::create(&output).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut process = Guarded::new(child);
    let begin = Instant::now();
    loop {
        let text = std::fs::read_to_string(&output).unwrap();
        if text.contains("Ctrl-C") {
            return Started { process, text };
        }
        assert!(
            process.has_ended().unwrap().is_none(),
            "the server ended: {text}"
        );
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "nothing is printed"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Started {
    fn word_after(&self, label: &str) -> String {
        let after = self.text.split_once(label).unwrap().1;
        after.split_whitespace().next().unwrap().to_owned()
    }

    fn target(&self, password: &str) -> Target {
        let port = self.word_after("on port ").parse().unwrap();
        Target {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            share: "files".to_owned(),
            user: "admin".to_owned(),
            password: password.to_owned(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_arguments_is_a_working_nas() {
    let place = tempfile::tempdir().unwrap();
    let mut first = start(place.path());
    for system in [
        "Windows  net use",
        "macOS    open smb://",
        "Linux    sudo mount -t cifs",
    ] {
        assert!(first.text.contains(system), "{}", first.text);
    }
    let password = first.word_after("password");
    let client = Client::connect(&first.target(&password)).await.unwrap();
    let requests = client.share();
    let file = requests.create_file("hello.txt").await.unwrap();
    requests.write(file, 0, b"hello".to_vec()).await.unwrap();
    requests.close(file).await.unwrap();
    assert!(
        first
            .process
            .terminate(Duration::from_secs(30))
            .unwrap()
            .success()
    );

    let mut second = start(place.path());
    assert!(!second.text.contains("password"), "{}", second.text);
    let client = Client::connect(&second.target(&password)).await.unwrap();
    assert_eq!(client.share().list("").await.unwrap(), ["hello.txt"]);
    second.process.signal(rustix::process::Signal::INT).unwrap();
    assert!(
        second
            .process
            .wait(Duration::from_secs(30))
            .unwrap()
            .success()
    );
}

#[test]
fn what_it_makes_is_for_its_owner_only() {
    let place = tempfile::tempdir().unwrap();
    let mut started = start(place.path());
    let mode = |name: &str| {
        let path = place.path().join("strongroom-data").join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("control.sock"), 0o600);
    assert!(
        started
            .process
            .terminate(Duration::from_secs(30))
            .unwrap()
            .success()
    );
}

#[test]
fn secrets_are_in_no_log() {
    let place = tempfile::tempdir().unwrap();
    let server = xtask::server::Server::create(place.path(), 1).unwrap();
    xtask::smbclient::run(&server, "ls").unwrap();
    // The output holds the administrator's generated password once, the log no password at all.
    assert!(!server.log().contains(xtask::server::PASSWORD));
    server.stop().unwrap();
}
