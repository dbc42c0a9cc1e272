//! What people do with Samba's command-line client.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;

use xtask::random::content;
use xtask::server::{PASSWORD, SHARE, Server};
use xtask::smbclient::{attempt, attempt_as, run};

fn server() -> (tempfile::TempDir, Server) {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 1).unwrap();
    (place, server)
}

#[test]
fn puts_lists_and_gets_a_file_unchanged() {
    let (place, server) = server();
    let (sent, back) = (place.path().join("sent"), place.path().join("back"));
    fs::write(&sent, content(1, 3_000_000)).unwrap();
    run(&server, &format!("put {} report.bin", sent.display())).unwrap();
    let listing = run(&server, "ls").unwrap();
    assert!(
        listing.contains("report.bin") && listing.contains("3000000"),
        "{listing}"
    );
    run(&server, &format!("get report.bin {}", back.display())).unwrap();
    assert!(fs::read(&sent).unwrap() == fs::read(&back).unwrap());
    server.stop().unwrap();
}

#[test]
fn renames_and_deletes_files_and_directories() {
    let (place, server) = server();
    let sent = place.path().join("sent");
    fs::write(&sent, "hello").unwrap();
    run(
        &server,
        &format!("mkdir a; cd a; put {} one", sent.display()),
    )
    .unwrap();
    run(&server, "rename a\\one a\\two").unwrap();
    assert!(run(&server, "ls a\\*").unwrap().contains("two"));
    let full = attempt(&server, SHARE, PASSWORD, "rmdir a").unwrap();
    let said = String::from_utf8_lossy(&full.stdout).into_owned();
    assert!(said.contains("NT_STATUS_DIRECTORY_NOT_EMPTY"), "{said}");
    run(&server, "del a\\two; rmdir a").unwrap();
    assert!(!run(&server, "ls").unwrap().contains("  a  "));
    server.stop().unwrap();
}

#[test]
fn shows_names_as_they_were_given_and_finds_them_in_any_case() {
    let (place, server) = server();
    let sent = place.path().join("sent");
    fs::write(&sent, "x").unwrap();
    run(
        &server,
        &format!("put {} \"Grüße aus München.txt\"", sent.display()),
    )
    .unwrap();
    assert!(
        run(&server, "ls")
            .unwrap()
            .contains("Grüße aus München.txt")
    );
    let back = place.path().join("back");
    run(
        &server,
        &format!("get \"GRÜßE AUS MÜNCHEN.TXT\" {}", back.display()),
    )
    .unwrap();
    assert_eq!(fs::read(back).unwrap(), b"x");
    server.stop().unwrap();
}

#[test]
fn tells_the_space_of_the_volume_and_all_about_a_file() {
    let (place, server) = server();
    let sent = place.path().join("sent");
    fs::write(&sent, "hello").unwrap();
    run(&server, &format!("put {} one", sent.display())).unwrap();
    assert!(
        run(&server, "du")
            .unwrap()
            .contains("Total number of bytes: 5")
    );
    let all = run(&server, "allinfo one").unwrap();
    assert!(all.contains("stream: [::$DATA], 5 bytes"), "{all}");
    assert!(run(&server, "volume").unwrap().contains("files"));
    server.stop().unwrap();
}

#[test]
fn lists_the_shares() {
    let (_place, server) = server();
    server.admin(&["share", "add", "projects"]).unwrap();
    let address = server.address();
    let output = std::process::Command::new("smbclient")
        .args([
            "--list",
            &format!("//{}", address.ip()),
            "--port",
            &address.port().to_string(),
        ])
        .args([
            "--user",
            &format!("{}%{PASSWORD}", xtask::server::USER),
            "--configfile",
            "/dev/null",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("files") && said.contains("projects") && said.contains("IPC$"),
        "{said}"
    );
    server.stop().unwrap();
}

#[test]
fn sets_and_shows_an_access_control_list() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create_on_standard_port(place.path()).unwrap();
    let sent = place.path().join("sent");
    fs::write(&sent, "hello").unwrap();
    run(&server, &format!("put {} one", sent.display())).unwrap();
    let address = server.address();
    let acls = |arguments: &[&str]| {
        let output = std::process::Command::new("smbcacls")
            .args([&format!("//{}/{SHARE}", address.ip()), "one"])
            .args(["--configfile", "/dev/null"])
            .args(["--user", &format!("{}%{PASSWORD}", xtask::server::USER)])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    };
    acls(&["--numeric", "--add", "ACL:S-1-1-0:0/0x0/0x001200a9"]);
    let shown = acls(&["--numeric"]);
    assert!(shown.contains("S-1-1-0:0/0x0/0x001200a9"), "{shown}");
    let named = acls(&[]);
    assert!(named.contains("Everyone:ALLOWED/0x0/READ"), "{named}");
    server.stop().unwrap();
}

/// An administrator limits a user, who is held to it and may look at his own quota only.
#[test]
fn quotas_are_set_listed_and_kept() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create_on_standard_port(place.path()).unwrap();
    server
        .admin_with_input(&["user", "add", "bob", "--password-stdin"], PASSWORD)
        .unwrap();
    let share = format!("//{}/{SHARE}", server.address().ip());
    let sent = place.path().join("sent");
    fs::write(&sent, vec![7; 300_000]).unwrap();
    let put = |name: &str| {
        let commands = format!("put {} {name}", sent.display());
        attempt_as(&server, SHARE, "bob", PASSWORD, &commands).unwrap()
    };
    let quotas = |user: &str, arguments: &[&str]| {
        let output = std::process::Command::new("smbcquotas")
            .args(["--configfile", "/dev/null"])
            .args(["--user", &format!("{user}%{PASSWORD}")])
            .args(arguments)
            .arg(&share)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let admin = xtask::server::USER;
    assert!(put("one").status.success());
    quotas(admin, &["-S", "UQLIM:bob:400000/500000"]);
    let listed = quotas(admin, &["-L"]);
    assert!(listed.contains("\\bob"), "{listed}");
    assert!(listed.contains("303104/         500000"), "{listed}");
    let refused = put("two");
    let said = String::from_utf8_lossy(&refused.stdout).into_owned()
        + &String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("NT_STATUS_QUOTA_EXCEEDED"), "{said}");
    assert!(quotas("bob", &["-u", "bob"]).contains("303104"));
    for (user, arguments) in [
        ("bob", ["-u", admin]),
        ("bob", ["-S", "UQLIM:bob:40000000/50000000"]),
    ] {
        let said = quotas(user, &arguments);
        assert!(said.contains("NT_STATUS_ACCESS_DENIED"), "{said}");
    }
    server.stop().unwrap();
}

/// What Windows's security tab asks for.
#[test]
fn names_of_users_and_groups_are_looked_up_and_listed() {
    let (_place, server) = server();
    let ask = |question: &str| {
        let address = server.address();
        let output = std::process::Command::new("rpcclient")
            .arg(address.ip().to_string())
            .args(["--port", &address.port().to_string()])
            .args(["--configfile", "/dev/null"])
            .args(["--user", &format!("{}%{PASSWORD}", xtask::server::USER)])
            .args(["--command", question])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let user = ask(&format!("lookupnames {}", xtask::server::USER));
    let sid = user.split_whitespace().nth(1).unwrap();
    assert!(user.contains("(User: 1)"), "{user}");
    let back = ask(&format!("lookupsids {sid} S-1-5-32-544"));
    assert!(
        back.contains(&format!("\\{} (1)", xtask::server::USER)),
        "{back}"
    );
    assert!(back.contains("BUILTIN\\Administrators (4)"), "{back}");
    let listed = ask("enumdomusers; enumalsgroups builtin; getusername");
    let user = format!("user:[{}] rid:[", xtask::server::USER);
    assert!(listed.contains(&user), "{listed}");
    assert!(
        listed.contains("group:[Administrators] rid:[0x220]"),
        "{listed}"
    );
    server.stop().unwrap();
}

#[test]
fn a_stream_is_stored_beside_the_file() {
    let (place, server) = server();
    let sent = place.path().join("sent");
    fs::write(&sent, "note").unwrap();
    run(
        &server,
        &format!("put {0} one; put {0} one:note", sent.display()),
    )
    .unwrap();
    assert!(
        run(&server, "allinfo one")
            .unwrap()
            .contains("stream: [:note:$DATA], 4 bytes")
    );
    let back = place.path().join("back");
    run(&server, &format!("get one:note {}", back.display())).unwrap();
    assert_eq!(fs::read(back).unwrap(), b"note");
    server.stop().unwrap();
}
