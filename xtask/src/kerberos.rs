//! A realm of its own for a test: MIT krb5's key distribution centre, from Debian, on a loopback port.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::process::{Guarded, free_address};
use crate::samba::tool;

pub const REALM: &str = "STRONGROOM.TEST";
/// The name that clients ask the server by, and its principal is made of. Samba's client asks no ticket for localhost.
pub const HOST: &str = "files.strongroom.test";

/// A realm with a running key distribution centre; stopped when dropped.
#[derive(Debug)]
pub struct Realm {
    directory: PathBuf,
    _centre: Guarded,
}

impl Realm {
    /// Makes a realm in a directory, with these users and passwords and the server's principal.
    pub fn create(directory: &Path, users: &[(&str, &str)]) -> Result<Realm> {
        let address = free_address()?;
        let shown = directory.display();
        let client = format!(
            "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
             dns_canonicalize_hostname = false\n rdns = false\n[realms]\n {REALM} = {{\n  kdc = {address}\n }}\n\
             [domain_realm]\n {HOST} = {REALM}\n"
        );
        let centre = format!(
            "[kdcdefaults]\n kdc_listen = {address}\n kdc_tcp_listen = {address}\n[realms]\n {REALM} = {{\n  \
             database_name = {shown}/principal\n  key_stash_file = {shown}/stash\n  acl_file = {shown}/acl\n }}\n"
        );
        fs::write(directory.join("krb5.conf"), client)?;
        fs::write(directory.join("kdc.conf"), centre)?;
        let run = |program: &str, words: &[&str]| {
            succeed(in_realm(&tool(program), directory).args(words), "")
        };
        run("kdb5_util", &["create", "-s", "-P", "master", "-r", REALM])?;
        for (user, password) in users {
            let words = format!("addprinc -pw \"{password}\" {user}");
            run("kadmin.local", &["-q", &words])?;
        }
        let service = format!("cifs/{HOST}");
        run(
            "kadmin.local",
            &["-q", &format!("addprinc -randkey {service}")],
        )?;
        let keytab = directory.join("keytab");
        let words = format!("ktadd -k {} {service}", keytab.display());
        run("kadmin.local", &["-q", &words])?;
        let child = in_realm(&tool("krb5kdc"), directory)
            .arg("-n")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run krb5kdc (apt install krb5-kdc)")?;
        let realm = Realm {
            directory: directory.to_owned(),
            _centre: Guarded::new(child),
        };
        realm.wait(address)
    }

    fn wait(self, address: std::net::SocketAddr) -> Result<Realm> {
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(20), "no centre");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }

    pub fn keytab(&self) -> PathBuf {
        self.directory.join("keytab")
    }

    fn tickets(&self, user: &str) -> PathBuf {
        self.directory.join(format!("tickets-{user}"))
    }

    /// Gets a user a ticket for getting tickets.
    pub fn sign_in(&self, user: &str, password: &str) -> Result<()> {
        let mut kinit = in_realm(&tool("kinit"), &self.directory);
        kinit.env("KRB5CCNAME", self.tickets(user)).arg(user);
        succeed(&mut kinit, password)
    }

    /// Runs one command of `smbclient` with a user's tickets and nothing else to prove who it is.
    pub fn smbclient(&self, user: &str, port: u16, share: &str, words: &str) -> Result<Output> {
        let mut client = in_realm(&tool("smbclient"), &self.directory);
        let cache = self.tickets(user);
        client
            .env("KRB5CCNAME", &cache)
            .arg(format!("//{HOST}/{share}"))
            .args(["--ip-address", "127.0.0.1", "--port", &port.to_string()])
            .args(["--configfile", "/dev/null"])
            .args(["--use-kerberos=required", "--no-pass"])
            .arg(format!("--use-krb5-ccache={}", cache.display()))
            .args(["--command", words]);
        Ok(client.stdin(Stdio::null()).output()?)
    }
}

fn in_realm(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("KRB5_CONFIG", directory.join("krb5.conf"))
        .env("KRB5_KDC_PROFILE", directory.join("kdc.conf"));
    command
}

fn succeed(command: &mut Command, input: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{input}")?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
