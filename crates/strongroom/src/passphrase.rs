//! Where the passphrase of an encrypted pool comes from: a file, a command, or a person at the terminal. It is never an
//! argument, which other users of the machine could see, and never logged.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use strongroom_pool::NewPassphrase;
use strongroom_pool::crypt::KdfParams;
use zeroize::Zeroizing;

use crate::failure::{Failure, Kind, Result};

/// More is no passphrase but a wrong file.
const LENGTH_MAX: usize = 4096;

/// Where to look.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PassphraseSource {
    /// Read the passphrase of an encrypted pool from a file: its first line
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_command")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Run this by a shell and take the first line that it writes for the passphrase of an encrypted pool
    #[arg(long, value_name = "COMMAND")]
    pub(crate) passphrase_command: Option<String>,
}

/// Wiped when dropped.
pub(crate) type Passphrase = Zeroizing<String>;

impl PassphraseSource {
    /// Whether there is one: else somebody would have to be asked who is not there.
    pub(crate) fn is_there(&self) -> bool {
        self.passphrase_file.is_some() || self.passphrase_command.is_some() || terminal().is_ok()
    }

    /// The passphrase of a pool that has one.
    pub(crate) fn get(&self, prompt: &str) -> Result<Passphrase> {
        match (&self.passphrase_file, &self.passphrase_command) {
            (Some(file), _) => from_file(file),
            (None, Some(command)) => from_command(command),
            (None, None) => ask(prompt),
        }
    }

    /// The passphrase that a pool is to have.
    pub(crate) fn get_new(&self, prompt: &str) -> Result<NewPassphrase> {
        let passphrase = self.get_twice(prompt)?;
        let kdf = KdfParams::default();
        Ok(NewPassphrase::new(passphrase.as_bytes(), kdf)?)
    }

    /// A new passphrase. A person says it twice.
    pub(crate) fn get_twice(&self, prompt: &str) -> Result<Passphrase> {
        let passphrase = self.get(prompt)?;
        if self.passphrase_file.is_none() && self.passphrase_command.is_none() {
            let again = ask("The same once more: ")?;
            if *again != *passphrase {
                return Err(refused("these are not the same; nothing was changed"));
            }
        }
        Ok(passphrase)
    }
}

fn refused(what: impl Into<String>) -> Failure {
    Failure::new(Kind::Refused, what)
}

fn from_file(path: &Path) -> Result<Passphrase> {
    let file =
        File::open(path).map_err(|error| Failure::path("read the passphrase", path, &error))?;
    first_line(file, &format!("the file {}", path.display()))
}

fn from_command(command: &str) -> Result<Passphrase> {
    let failed = |what: &str| refused(format!("the passphrase command {what}"));
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&format!("cannot be run: {error}")))?;
    let output = child.stdout.take();
    let output = output.ok_or_else(|| failed("writes nothing"))?;
    let line = first_line(output, "the passphrase command");
    let status = child.wait();
    let status = status.map_err(|error| failed(&format!("cannot be waited for: {error}")))?;
    let line = line?;
    // One that goes on writing is ended by the closed pipe, which is no failure.
    if !status.success() && status.code().is_some() {
        return Err(failed(&format!("failed: {status}")));
    }
    Ok(line)
}

/// The first line without its end.
fn first_line(source: impl Read, what: &str) -> Result<Passphrase> {
    let mut line = Zeroizing::new(String::with_capacity(LENGTH_MAX));
    let read = BufReader::new(source.take(LENGTH_MAX as u64)).read_line(&mut line);
    read.map_err(|error| refused(format!("cannot read a passphrase from {what}: {error}")))?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    if line.is_empty() {
        return Err(refused(format!("{what} gives no passphrase")));
    }
    Ok(line)
}

/// The terminal of this program, whatever its standard streams are.
fn terminal() -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/tty");
    opened.map_err(|_| {
        refused(
            "the pool is encrypted and there is no terminal to ask for its passphrase: give it by \
             --passphrase-file or --passphrase-command",
        )
    })
}

/// The terminal shows again what is typed once this is dropped.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(terminal: &'a File) -> std::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(self.terminal, OptionalActions::Flush, &self.before) {
            tracing::warn!(%error, "the terminal does not show what is typed");
        }
    }
}

fn ask(prompt: &str) -> Result<Passphrase> {
    let terminal = terminal()?;
    let failed = |error: std::io::Error| refused(format!("cannot ask at the terminal: {error}"));
    (&terminal).write_all(prompt.as_bytes()).map_err(failed)?;
    let hidden = Hidden::new(&terminal).map_err(failed)?;
    let line = first_line(&terminal, "the terminal");
    drop(hidden);
    (&terminal).write_all(b"\n").map_err(failed)?;
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, PassphraseSource) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("passphrase");
        std::fs::write(&path, content).unwrap();
        let source = PassphraseSource {
            passphrase_file: Some(path),
            ..PassphraseSource::default()
        };
        (place, source)
    }

    fn command(text: &str) -> PassphraseSource {
        PassphraseSource {
            passphrase_command: Some(text.to_owned()),
            ..PassphraseSource::default()
        }
    }

    #[test]
    fn the_first_line_of_a_file_or_of_a_command_counts() {
        for content in [
            &b"open sesame"[..],
            b"open sesame\n",
            b"open sesame\r\nmore\n",
        ] {
            assert_eq!(*file(content).1.get("").unwrap(), "open sesame");
        }
        let said = command("echo open sesame; echo more").get("").unwrap();
        assert_eq!(*said, "open sesame");
    }

    #[test]
    fn what_gives_none_is_refused() {
        for content in [&b""[..], b"\n", b"\xff\xfe\n"] {
            assert_eq!(file(content).1.get("").unwrap_err().exit_code(), 3);
        }
        for text in ["true", "false", "echo word; exit 3", "/no/such/program"] {
            assert_eq!(command(text).get("").unwrap_err().exit_code(), 3, "{text}");
        }
    }
}
