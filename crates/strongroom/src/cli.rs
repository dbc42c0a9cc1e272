//! The program's words.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use strongroom_pool::Layout;
use strongroom_store::Compression;

use crate::alarms::AlarmCommand;
use crate::passphrase::PassphraseSource;
use crate::past::{HistoryCommand, RewindOptions, SnapshotCommand, UndoOptions};
use strongroom_admin::words;

/// Where a server started without arguments keeps everything.
pub(crate) const DEFAULT_DATA: &str = "strongroom-data";

/// Longer than a disk needs to spin up, well below the 60 s after which clients give up.
const DISK_TIMEOUT: u16 = 20;

#[derive(Debug, Parser)]
#[command(
    name = "strongroom",
    version,
    about = "Network-attached storage in one program",
    long_about = "Network-attached storage in one program.\n\n\
        Without a command it serves what is in ./strongroom-data, and makes that on its first start.",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the server, 4 no server is running, \
        5 the disks or the data directory cannot be used, 6 the address cannot be listened on, \
        7 another server has the data directory, 8 fsck found damage."
)]
pub(crate) struct Arguments {
    /// The server's own directory
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) logging: Logging,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Arguments {
    /// The directory named, or the default one.
    pub(crate) fn data_directory(&self) -> PathBuf {
        self.data
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Logging {
    /// error, warn, info, debug or trace; or a filter as `strongroom_smb=debug,info`
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: String,
    /// How log lines are written
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a pool (the default)
    Serve(ServeOptions),
    /// Who may log on
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// What they can connect to
    Share {
        #[command(subcommand)]
        command: ShareCommand,
    },
    /// The disks, and long work on them
    Pool {
        #[command(subcommand)]
        command: PoolCommand,
    },
    /// Check a pool that no server uses, from the labels to every byte, and say what is wrong; changes nothing
    Fsck(FsckOptions),
    /// Shares kept as they are, under a name
    Snapshot {
        #[command(subcommand)]
        command: SnapshotCommand,
    },
    /// What shares were at any second of the past that is kept
    History {
        #[command(subcommand)]
        command: HistoryCommand,
    },
    /// Make a share, a folder or a file what it was
    Rewind(RewindOptions),
    /// Put back what one session, user or client changed, and nothing else
    Undo(UndoOptions),
    /// Stop a rewind or undo that runs, by its session, as `status` shows it
    Stop { session: u64 },
    /// Who was noticed encrypting or destroying files, and what is done about it
    Alarm {
        #[command(subcommand)]
        command: AlarmCommand,
    },
    /// What the running server is doing
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

impl Default for Command {
    fn default() -> Self {
        Command::Serve(ServeOptions::default())
    }
}

const INDEX_CACHE: &str = "256M";

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// A disk of the pool: a directory on a file system of its own. Given with an empty or absent data directory, empty
    /// disks become a new pool; later it is remembered
    #[arg(long = "disk", value_name = "DIR")]
    pub(crate) disks: Vec<PathBuf>,
    /// How a new pool lies on its disks: K parts of data and M of parity, so that any M disks may fail. Without it the
    /// number of disks decides: 1+0, 1+1, 1+2, 2+2, 3+2, 4+2 for one to six
    #[arg(long, value_name = "K+M")]
    pub(crate) layout: Option<Layout>,
    /// Make a new pool although some of its directories lie on one block device and fail together
    #[arg(long)]
    pub(crate) allow_shared_device: bool,
    /// Encrypt a new pool: what it stores can be read with its passphrase only, which no one can restore
    #[arg(long)]
    pub(crate) encrypt: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseSource,
    /// A disk that does not answer for so many seconds is set aside, and the others go on
    #[arg(long, value_name = "SECONDS", default_value_t = DISK_TIMEOUT, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) disk_timeout: u16,
    /// Where to serve SMB; without it port 445 of all addresses, or a high port where 445 cannot be had
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) smb: Option<SocketAddr>,
    /// Where to serve the console and its API; without it port 443 of all addresses, or a high port where 443 cannot be had
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "no_https")]
    pub(crate) https: Option<SocketAddr>,
    /// Serve no console
    #[arg(long)]
    pub(crate) no_https: bool,
    #[cfg(feature = "kerberos")]
    #[command(flatten)]
    pub(crate) kerberos: KerberosOptions,
    #[cfg(feature = "quic")]
    #[command(flatten)]
    pub(crate) quic: QuicOptions,
    /// Let clients of SMB have files copied by tokens (ODX); no client was seen to do it yet
    #[arg(long)]
    pub(crate) smb_offload: bool,
    /// Do not show the server to the computers around it
    #[arg(long)]
    pub(crate) no_discovery: bool,
    /// Where to serve NFS, with MOUNT at the same port; without it port 2049 of all addresses, where that can be had
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) nfs: Option<SocketAddr>,
    /// Where to tell NFS clients which port is which; without it port 111 of all addresses, where no rpcbind has it
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) portmap: Option<SocketAddr>,
    /// Memory for the pages of the index, as in 64M, and a tenth of it for what is known of data on the disks; more helps
    /// where there are many millions of files
    #[arg(long, value_name = "SIZE", default_value = INDEX_CACHE, value_parser = words::parse_size)]
    pub(crate) index_cache: u64,
    /// Keep no past. Only for measuring what the past costs
    #[arg(long, hide = true)]
    pub(crate) no_history: bool,
}

/// Logons by Kerberos.
#[cfg(feature = "kerberos")]
#[derive(Debug, Default, Args)]
pub(crate) struct KerberosOptions {
    /// Take Kerberos tickets for the principal cifs/NAME@REALM whose keys are in this file
    #[arg(long, value_name = "FILE", requires = "kerberos_realm")]
    pub(crate) kerberos_keytab: Option<PathBuf>,
    /// Users of this realm are the accounts of the same name
    #[arg(long, value_name = "REALM", requires = "kerberos_keytab")]
    pub(crate) kerberos_realm: Option<String>,
    /// Take no NTLM: Kerberos is the only way in
    #[arg(long, requires = "kerberos_keytab")]
    pub(crate) no_ntlm: bool,
}

/// SMB over QUIC.
#[cfg(feature = "quic")]
#[derive(Debug, Default, Args)]
pub(crate) struct QuicOptions {
    /// Serve SMB over QUIC too, at this UDP port; clients expect 443
    #[arg(long, value_name = "ADDR:PORT", requires_all = ["quic_certificate", "quic_key"])]
    pub(crate) quic: Option<SocketAddr>,
    /// The server's certificate for QUIC and those above it, in PEM; clients must trust the last
    #[arg(long, value_name = "FILE", requires = "quic")]
    pub(crate) quic_certificate: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "quic")]
    pub(crate) quic_key: Option<PathBuf>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            disks: Vec::new(),
            layout: None,
            allow_shared_device: false,
            encrypt: false,
            passphrase: PassphraseSource::default(),
            disk_timeout: DISK_TIMEOUT,
            smb: None,
            https: None,
            no_https: false,
            nfs: None,
            portmap: None,
            #[cfg(feature = "kerberos")]
            kerberos: KerberosOptions::default(),
            #[cfg(feature = "quic")]
            quic: QuicOptions::default(),
            smb_offload: false,
            no_discovery: false,
            index_cache: words::parse_size(INDEX_CACHE).unwrap_or_default(),
            no_history: false,
        }
    }
}

#[derive(Debug, Default, Args)]
pub(crate) struct FsckOptions {
    /// A disk of the pool; without any, those that the data directory remembers
    #[arg(long = "disk", value_name = "DIR")]
    pub(crate) disks: Vec<PathBuf>,
    /// Make good what can be made good
    #[arg(long)]
    pub(crate) repair: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseSource,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make an account
    Add {
        name: String,
        /// Read the password from standard input: its first line
        #[arg(long, required = true)]
        password_stdin: bool,
        /// It may administer the server and take ownership of files
        #[arg(long)]
        admin: bool,
        /// What it may do in administration: user (its own files), auditor (see everything), operator (keep the server
        /// running) or administrator, which is the same as --admin
        #[arg(long, default_value_t, conflicts_with = "admin")]
        role: strongroom_admin::Role,
    },
    /// Show all accounts
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove an account; its files stay
    Remove { name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShareCommand {
    /// Make a share, with a directory of its own
    Add {
        name: String,
        /// Nobody can change anything in it
        #[arg(long)]
        read_only: bool,
        /// Refuse clients of SMB that do not encrypt what they send
        #[arg(long)]
        encrypt: bool,
        /// Listings leave out what their reader may not read
        #[arg(long)]
        hide_unreadable: bool,
        /// Show it to Macs as a place for Time Machine's backups
        #[arg(long)]
        time_machine: bool,
        /// All its files together take no more, and clients see a volume of this size, as in 500G or 2T
        #[arg(long, value_name = "SIZE", value_parser = words::parse_size)]
        size_limit: Option<u64>,
        /// Handles of clients that ask for it outlive the server, and what is answered is on the disks; writing is slower
        #[arg(long)]
        continuously_available: bool,
        /// Only these accounts may connect
        #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
        users: Option<Vec<String>>,
        /// Serve it by NFS to these machines, which vouch for their users: an address, a network or *, then :rw or :ro,
        /// then :root-squash, :no-root-squash or :all-squash
        #[arg(long, value_delimiter = ',', value_name = "HOST/NET[:rw|ro][:SQUASH]")]
        nfs: Vec<strongroom_vfs::Export>,
        /// Compress what is written to it where that saves space: lz4 (fast), zstd (smaller) or off
        #[arg(long, value_name = "HOW", default_value_t)]
        compress: Compression,
    },
    /// Change a share
    Set {
        name: String,
        /// How what is written from now on is compressed: lz4, zstd or off. What is there stays as it is
        #[arg(long, value_name = "HOW", required = true)]
        compress: Option<Compression>,
    },
    /// Show all shares
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop offering a share
    Remove { name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// Its disks, how much is usable and why, how many may fail, damage met, and work in the background
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What the layout means, in plain words
    Layout,
    /// Make a directory one more disk of the pool; data moves there in the background
    AddDisk {
        /// Empty; or a disk of this pool that was away
        path: PathBuf,
        /// It waits for another disk to fail
        #[arg(long)]
        spare: bool,
        #[command(flatten)]
        place: DiskPlace,
    },
    /// Empty a disk, then take it out
    RemoveDisk {
        /// Its directory or its id
        disk: String,
    },
    /// Put a directory in the place of a disk, lost or not
    ReplaceDisk {
        /// The old one: its directory or its id
        disk: String,
        /// The new one, empty
        path: PathBuf,
        #[command(flatten)]
        place: DiskPlace,
    },
    /// Let a disk wait for another to fail; what it holds moves to the others
    Spare {
        /// Its directory or its id
        disk: String,
        /// Let it hold data again
        #[arg(long)]
        off: bool,
    },
    /// Give an encrypted pool another passphrase
    ChangePassphrase {
        /// The one it has
        #[command(flatten)]
        old: PassphraseSource,
        /// Read the new one from a file: its first line
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Read everything and repair what has rotted
    Scrub {
        #[command(subcommand)]
        command: ScrubCommand,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DiskPlace {
    /// What it shares with others and fails with, as a controller or a shelf
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) domain: String,
    /// Although it lies on one block device with another disk and would fail with it
    #[arg(long)]
    pub(crate) allow_shared_device: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScrubCommand {
    /// Begin one in the background
    Start,
    /// Stop the one that runs
    Stop,
    /// How far it is, and how the last ones ended
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_words_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_arguments_mean_serve_on_the_default_directory() {
        let arguments = Arguments::parse_from(["strongroom"]);
        assert_eq!(arguments.data_directory(), PathBuf::from(DEFAULT_DATA));
        assert!(arguments.command.is_none());
    }

    #[test]
    fn nothing_said_is_the_same_as_the_defaults_of_serve() {
        let parsed = Arguments::parse_from(["strongroom", "serve"]);
        let Some(Command::Serve(options)) = parsed.command else {
            panic!("it serves");
        };
        assert_eq!(
            format!("{options:?}"),
            format!("{:?}", ServeOptions::default())
        );
    }

    #[test]
    fn the_data_directory_stands_before_or_after_the_command() {
        for words in [
            ["strongroom", "--data", "d", "status"],
            ["strongroom", "status", "--data", "d"],
        ] {
            assert_eq!(
                Arguments::parse_from(words).data_directory(),
                PathBuf::from("d")
            );
        }
    }

    #[test]
    fn a_password_is_never_an_argument() {
        assert!(Arguments::try_parse_from(["strongroom", "user", "add", "ann"]).is_err());
    }
}
