//! Logons by Kerberos: a private realm of MIT krb5, Samba's client, and tickets that are good or not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Output;

use xtask::features::program;
use xtask::kerberos::{REALM, Realm};
use xtask::server::{PASSWORD, SHARE, Server, USER};
use xtask::smbclient::attempt;

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

fn start(place: &std::path::Path, realm: &Realm, more: &[&str]) -> Server {
    let keytab = realm.keytab();
    let mut words = vec![
        "--kerberos-keytab",
        keytab.to_str().unwrap(),
        "--kerberos-realm",
        REALM,
    ];
    words.extend(more);
    let disk = place.join("disk");
    Server::create_by(&program().unwrap(), place, &[disk], &words).unwrap()
}

#[test]
fn samba_s_client_comes_in_with_a_ticket() {
    let place = tempfile::tempdir().unwrap();
    let users = [(USER, "ticket-1"), ("stranger", "ticket-2")];
    let realm = Realm::create(place.path(), &users).unwrap();
    for (user, password) in users {
        realm.sign_in(user, password).unwrap();
    }
    assert!(realm.sign_in(USER, "wrong").is_err());
    let server = start(place.path(), &realm, &["--no-ntlm"]);
    let port = server.address().port();
    let sent = place.path().join("sent");
    std::fs::write(&sent, "by ticket").unwrap();
    let put = format!("put {} sent; ls", sent.display());
    let listed = realm.smbclient(USER, port, SHARE, &put).unwrap();
    assert!(listed.status.success(), "{}", said(&listed));
    assert!(said(&listed).contains("sent"), "{}", said(&listed));
    let stranger = realm.smbclient("stranger", port, SHARE, "ls").unwrap();
    assert!(
        said(&stranger).contains("NT_STATUS_LOGON_FAILURE"),
        "{}",
        said(&stranger)
    );
    let ntlm = attempt(&server, SHARE, PASSWORD, "ls").unwrap();
    assert!(!ntlm.status.success(), "NTLM is off: {}", said(&ntlm));
    server.stop().unwrap();
}

#[test]
fn keys_of_another_server_are_worth_nothing_and_ntlm_stays() {
    let place = tempfile::tempdir().unwrap();
    let other = place.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let realm = Realm::create(place.path(), &[(USER, "ticket-1")]).unwrap();
    let elsewhere = Realm::create(&other, &[(USER, "ticket-1")]).unwrap();
    elsewhere.sign_in(USER, "ticket-1").unwrap();
    let server = start(place.path(), &realm, &[]);
    let port = server.address().port();
    let forged = elsewhere.smbclient(USER, port, SHARE, "ls").unwrap();
    assert!(
        said(&forged).contains("NT_STATUS_LOGON_FAILURE"),
        "{}",
        said(&forged)
    );
    let ntlm = attempt(&server, SHARE, PASSWORD, "ls").unwrap();
    assert!(ntlm.status.success(), "{}", said(&ntlm));
    server.stop().unwrap();
}
