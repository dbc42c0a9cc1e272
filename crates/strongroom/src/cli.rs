//! The program's words.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Where a server started without arguments keeps everything.
pub(crate) const DEFAULT_DATA: &str = "strongroom-data";

#[derive(Debug, Parser)]
#[command(
    name = "strongroom",
    version,
    about = "Network-attached storage in one program",
    long_about = "Network-attached storage in one program.\n\n\
        Without a command it serves what is in ./strongroom-data, and makes that on its first start.",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the server, 4 no server is running, \
        5 the disks or the data directory cannot be used, 6 the address cannot be listened on, \
        7 another server has the data directory."
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

#[derive(Debug, Default, Args)]
pub(crate) struct ServeOptions {
    /// A disk of the pool: a directory on a file system of its own. Two or three disks make a mirror. Given with an
    /// empty or absent data directory, empty disks become a new pool; later it is remembered
    #[arg(long = "disk", value_name = "DIR")]
    pub(crate) disks: Vec<PathBuf>,
    /// Where to serve SMB; without it port 445 of all addresses, or a high port where 445 cannot be had
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) smb: Option<SocketAddr>,
    /// Do not show the server to the computers around it
    #[arg(long)]
    pub(crate) no_discovery: bool,
    /// Keep no past. Only for measuring what the past costs
    #[arg(long, hide = true)]
    pub(crate) no_history: bool,
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
        /// Only these accounts may connect
        #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
        users: Option<Vec<String>>,
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
