//! What people do wrong: one clear message, the right exit code, and nothing lost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

use xtask::process::is_root;
use xtask::server::{SHARE, Server, program};
use xtask::smbclient::{attempt, attempt_as};

fn serve(arguments: &[&str]) -> Output {
    let mut command = Command::new(program().unwrap());
    command.arg("serve").args(arguments).output().unwrap()
}

/// The exit code and the one message.
#[track_caller]
fn assert_refused(output: &Output, code: i32, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

fn pool() -> (tempfile::TempDir, Server) {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 1).unwrap();
    (place, server)
}

/// Stopped, with one file in it.
fn stopped_pool() -> tempfile::TempDir {
    let (place, server) = pool();
    let kept = place.path().join("kept");
    fs::write(&kept, "kept").unwrap();
    xtask::smbclient::run(&server, &format!("put {} kept", kept.display())).unwrap();
    server.stop().unwrap();
    place
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_directory_without_a_pool_is_not_initialised() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let output = serve(&["--data", text(&data), "--smb", "127.0.0.1:0"]);
    assert_refused(&output, 5, &["there is no pool in", "mount", "--disk"]);
    assert!(!data.exists());
}

#[test]
fn an_unmounted_disk_is_not_initialised() {
    let place = stopped_pool();
    let disk = place.path().join("disk-0");
    fs::rename(&disk, place.path().join("elsewhere")).unwrap();
    let data = place.path().join("data");
    let arguments = ["--data", text(&data), "--smb", "127.0.0.1:0"];
    assert_refused(&serve(&arguments), 5, &["disk-0 is not there", "mount it"]);
    // The mount point of an unmounted disk is an empty directory.
    fs::create_dir(&disk).unwrap();
    assert_refused(&serve(&arguments), 5, &["disk-0", "label"]);
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);
    fs::remove_dir(&disk).unwrap();
    fs::rename(place.path().join("elsewhere"), &disk).unwrap();
    let server = Server::start(place.path()).unwrap();
    assert!(
        xtask::smbclient::run(&server, "ls")
            .unwrap()
            .contains("kept")
    );
}

#[test]
fn a_disk_of_another_pool_is_refused_by_name() {
    let (one, other) = (stopped_pool(), stopped_pool());
    let data = one.path().join("data");
    let disks = [one.path().join("disk-0"), other.path().join("disk-0")];
    let output = serve(&[
        "--data",
        text(&data),
        "--smb",
        "127.0.0.1:0",
        "--disk",
        text(&disks[0]),
        "--disk",
        text(&disks[1]),
    ]);
    assert_refused(&output, 5, &[text(&disks[1]), "belongs to pool"]);
}

#[test]
fn a_damaged_label_is_named_and_nothing_is_overwritten() {
    let place = stopped_pool();
    let disk = place.path().join("disk-0");
    let mut labels = 0;
    for entry in fs::read_dir(&disk).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && name.starts_with("label") {
            let file = fs::File::options().write(true).open(&path).unwrap();
            let length = file.metadata().unwrap().len();
            for at in (0..length).step_by(16) {
                file.write_all_at(&[0xA5], at).unwrap();
            }
            labels += 1;
        }
    }
    assert!(labels > 0, "there is no label in {}", disk.display());
    let data = place.path().join("data");
    let output = serve(&["--data", text(&data), "--smb", "127.0.0.1:0"]);
    assert_refused(&output, 5, &[text(&disk), "label"]);
}

#[test]
fn a_port_in_use_is_said() {
    let place = stopped_pool();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = place.path().join("data");
    let output = serve(&["--data", text(&data), "--smb", &address]);
    assert_refused(&output, 6, &[&address, "another program uses it", "--smb"]);
}

#[test]
fn a_second_server_is_refused() {
    let (place, server) = pool();
    let data = place.path().join("data");
    let output = serve(&["--data", text(&data), "--smb", "127.0.0.1:0"]);
    assert_refused(&output, 7, &["another server is running on", text(&data)]);
    server.stop().unwrap();
}

#[test]
fn a_command_without_a_server_says_so() {
    let place = stopped_pool();
    let data = place.path().join("data");
    let output = Command::new(program().unwrap())
        .args(["--data", text(&data), "status"])
        .output()
        .unwrap();
    assert_refused(&output, 4, &["no server is running on", "strongroom serve"]);
}

#[test]
fn a_wrong_password_is_a_failed_logon() {
    let (_place, server) = pool();
    let output = attempt(&server, SHARE, "not the password", "ls").unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("NT_STATUS_LOGON_FAILURE"), "{said}");
    server.stop().unwrap();
}

#[test]
fn names_that_cannot_be_are_refused() {
    let (_place, server) = pool();
    let user = server
        .try_admin(
            &["user", "add", "a/b", "--password-stdin"],
            "correct horse 7 battery",
        )
        .unwrap();
    assert_refused(&user, 3, &["'/'"]);
    let share = server.try_admin(&["share", "add", "a/b"], "").unwrap();
    assert_refused(&share, 3, &["a/b", "cannot be a share's name"]);
    let short = server
        .try_admin(&["user", "add", "ann", "--password-stdin"], "x")
        .unwrap();
    assert_refused(&short, 3, &["too short"]);
    let made = attempt(&server, SHARE, xtask::server::PASSWORD, "mkdir \"what?\"").unwrap();
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(said.contains("NT_STATUS_OBJECT_NAME_INVALID"), "{said}");
    server.stop().unwrap();
}

#[test]
fn what_exists_or_is_absent_is_said() {
    let (_place, server) = pool();
    let again = server.try_admin(&["share", "add", "FILES"], "").unwrap();
    assert_refused(&again, 3, &["there is a share named FILES already"]);
    let user = server
        .try_admin(
            &["user", "add", "ADMIN", "--password-stdin"],
            "correct horse 7 battery",
        )
        .unwrap();
    assert_refused(&user, 3, &["already"]);
    let gone = server
        .try_admin(&["share", "remove", "nothing"], "")
        .unwrap();
    assert_refused(&gone, 3, &["there is no share named nothing"]);
    let nobody = server.try_admin(&["user", "remove", "nobody"], "").unwrap();
    assert_refused(&nobody, 3, &["nobody"]);
    let stranger = server
        .try_admin(&["share", "add", "x", "--users", "stranger"], "")
        .unwrap();
    assert_refused(&stranger, 3, &["no user or group named stranger"]);
    server.stop().unwrap();
}

#[test]
fn a_share_can_be_read_only_and_for_some_users() {
    let (place, server) = pool();
    server
        .admin_with_input(
            &["user", "add", "ann", "--password-stdin"],
            "ann's own 9 words",
        )
        .unwrap();
    server
        .admin(&["share", "add", "open", "--read-only"])
        .unwrap();
    server
        .admin(&["share", "add", "ann-only", "--users", "ann"])
        .unwrap();
    let sent = place.path().join("sent");
    fs::write(&sent, "x").unwrap();
    let put = format!("put {} x", sent.display());
    let denied = attempt(&server, "open", xtask::server::PASSWORD, &put).unwrap();
    let said = String::from_utf8_lossy(&denied.stdout).into_owned();
    assert!(
        said.contains("NT_STATUS_ACCESS_DENIED")
            || said.contains("NT_STATUS_MEDIA_WRITE_PROTECTED"),
        "{said}"
    );
    server
        .admin_with_input(
            &["user", "add", "bob", "--password-stdin"],
            "bob's own 9 words",
        )
        .unwrap();
    let bob = |share| attempt_as(&server, share, "bob", "bob's own 9 words", "ls").unwrap();
    assert!(bob(SHARE).status.success());
    let denied = bob("ann-only");
    let said = String::from_utf8_lossy(&denied.stdout) + String::from_utf8_lossy(&denied.stderr);
    assert!(said.contains("NT_STATUS_ACCESS_DENIED"), "{said}");
    let ann = attempt_as(&server, "ann-only", "ann", "ann's own 9 words", "ls").unwrap();
    assert!(ann.status.success());
    assert!(
        server
            .admin(&["share", "list"])
            .unwrap()
            .contains("ann-only")
    );
    server.stop().unwrap();
}

#[test]
fn a_read_only_directory_is_said() {
    assert!(is_root(), "this test mounts file systems: run it as root");
    let mount = Mount::new("size=1m,ro");
    let data = mount.path().join("data");
    let disk = data.join("disk-0");
    let output = serve(&[
        "--data",
        text(&data),
        "--disk",
        text(&disk),
        "--smb",
        "127.0.0.1:0",
    ]);
    assert_refused(&output, 5, &[text(&data), "read-only", "another directory"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    assert!(is_root(), "this test mounts file systems: run it as root");
    let mount = Mount::new("size=1400m");
    let server = Server::create(mount.path(), 1).unwrap();
    let requests = server.connect().await.unwrap().share();
    let full = smb2::types::status::NtStatus::DISK_FULL;
    let mut names = Vec::new();
    let refusal = loop {
        let name = format!("fill-{}", names.len());
        match write_file(&requests, &name).await {
            Ok(()) => names.push(name),
            Err(error) => break error,
        }
        assert!(names.len() < 400, "the disk never fills");
    };
    assert!(xtask::client::is_refusal(&refusal, full), "{refusal:#}");
    let (handle, size) = requests.open_file(&names[0]).await.unwrap();
    assert_eq!(requests.read_all(handle, size).await.unwrap(), filling());
    requests.close(handle).await.unwrap();
    for name in &names {
        requests.delete(name).await.unwrap();
    }
    server.stop().unwrap();
    Server::start(mount.path()).unwrap().stop().unwrap();
}

fn filling() -> Vec<u8> {
    xtask::random::content(5, 4 << 20)
}

async fn write_file(requests: &xtask::client::Requests, name: &str) -> anyhow::Result<()> {
    let handle = requests.create_file(name).await?;
    let written = async {
        for (number, piece) in filling().chunks(1 << 20).enumerate() {
            requests
                .write(handle, (number as u64) << 20, piece.to_vec())
                .await?;
        }
        requests.flush(handle).await
    };
    let outcome = written.await;
    requests.close(handle).await.ok();
    outcome
}

/// A file system in memory, unmounted when dropped.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(options: &str) -> Mount {
        let place = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(place.path())
            .status()
            .unwrap();
        assert!(mount.success(), "mount failed");
        Mount(place)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status()
            .ok();
    }
}
