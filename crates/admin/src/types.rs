//! The documents that the API exchanges. Fields may be added, never renamed.

use serde::{Deserialize, Serialize};
use strongroom_pool::DiskState;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::Role;

/// What holds secrets prints nothing but its name.
macro_rules! hides {
    ($($name:ident),+) => {
        $(impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(concat!(stringify!($name), "(..)"))
            }
        })+
    };
}
pub(crate) use hides;

hides!(PassphraseChange, NewUser, UserChange);

/// Another passphrase for an encrypted pool.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct PassphraseChange {
    #[serde(with = "secret")]
    #[schema(value_type = String)]
    pub old: Zeroizing<String>,
    #[serde(with = "secret")]
    #[schema(value_type = String)]
    pub new: Zeroizing<String>,
}

/// An account to be made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct NewUser {
    pub name: String,
    #[serde(with = "secret")]
    #[schema(value_type = String)]
    pub password: Zeroizing<String>,
    #[serde(default)]
    pub admin: bool,
    /// What it may do in administration; `admin` counts more.
    #[serde(default)]
    pub role: Role,
}

/// A password in a document is an ordinary string, but wiped from memory when done with.
pub(crate) mod secret {
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(crate) fn serialize<S: Serializer>(
        secret: &Zeroizing<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(deserializer).map(Zeroizing::new)
    }
}

pub(crate) mod secret_or_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use zeroize::Zeroizing;

    pub(crate) fn serialize<S: Serializer>(
        secret: &Option<Zeroizing<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        secret
            .as_ref()
            .map(|secret| secret.as_str())
            .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Zeroizing<String>>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Zeroizing::new))
    }
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct User {
    pub name: String,
    pub sid: String,
    pub admin: bool,
    pub disabled: bool,
    /// `user`, `auditor`, `operator` or `administrator`.
    #[serde(default)]
    pub role: Role,
    /// Signing in to the console takes a code too.
    #[serde(default)]
    pub second_factor: bool,
    #[serde(default)]
    pub groups: Vec<String>,
}

/// What is to be different about an account; what is left out stays.
#[derive(Default, Serialize, Deserialize, ToSchema)]
pub struct UserChange {
    #[serde(default)]
    pub role: Option<Role>,
    #[serde(default)]
    pub disabled: Option<bool>,
    /// A new password; it ends the account's sessions in the console.
    #[serde(
        default,
        with = "secret_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>)]
    pub password: Option<Zeroizing<String>>,
    /// Takes the second factor away, for who has lost it.
    #[serde(default)]
    pub drop_second_factor: bool,
}

/// A share to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewShare {
    pub name: String,
    #[serde(default)]
    pub read_only: bool,
    /// Clients of SMB that do not encrypt are refused.
    #[serde(default)]
    pub encrypted: bool,
    #[serde(default)]
    pub hide_unreadable: bool,
    /// Macs are shown it as a place for their backups.
    #[serde(default)]
    pub time_machine: bool,
    /// Bytes that all its files may take together.
    #[serde(default)]
    pub size_limit: Option<u64>,
    /// Clients may have handles that outlive the server.
    #[serde(default)]
    pub continuously_available: bool,
    /// None: every account may connect.
    #[serde(default)]
    pub users: Option<Vec<String>>,
    /// Machines that may use it by NFS, as `share add --nfs` takes them.
    #[serde(default)]
    pub nfs: Vec<String>,
    /// `lz4`, `zstd` or `off`.
    #[serde(default)]
    pub compress: String,
}

/// What is to be different about a share.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ShareChange {
    /// `lz4`, `zstd` or `off`; None leaves it.
    #[serde(default)]
    pub compress: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Share {
    pub name: String,
    pub read_only: bool,
    pub encrypted: bool,
    #[serde(default)]
    pub hide_unreadable: bool,
    #[serde(default)]
    pub time_machine: bool,
    #[serde(default)]
    pub size_limit: Option<u64>,
    #[serde(default)]
    pub continuously_available: bool,
    pub users: Option<Vec<String>>,
    #[serde(default)]
    pub nfs: Vec<String>,
    #[serde(default)]
    pub compress: String,
}

/// Everything at a glance.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub version: String,
    pub uptime_s: u64,
    /// Nothing is left to do in the background for what clients did so far.
    pub settled: bool,
    /// Set when nothing can be written any more, with the reason.
    pub offline: Option<String>,
    pub pool: Pool,
    pub space: Space,
    pub store: Store,
    pub smb: Smb,
    /// None where it is not served.
    #[serde(default)]
    pub nfs: Option<Nfs>,
    /// Rewinds, undos and clones that run.
    #[serde(default)]
    pub works: Vec<Work>,
    /// Numbers of alarms that nobody has cleared.
    #[serde(default)]
    pub alarms: Vec<u64>,
}

/// A rewind, an undo or a clone that runs: what is done of how much; 0 of 0 while that is being looked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Work {
    pub what: String,
    pub share: String,
    pub session: u64,
    pub done: u64,
    pub total: u64,
}

/// What the pool says of itself. Sizes are bytes.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    pub id: String,
    pub layout: String,
    #[serde(default)]
    pub encrypted: bool,
    /// Parts of data and of parity in the layout.
    pub data: u8,
    pub parity: u8,
    /// Disks that may fail yet without a loss; those on one block device count as one.
    pub survives: usize,
    /// Disks that share a block device with others, by device.
    pub shared: Vec<Vec<String>>,
    /// What the layout leaves for files, before what is kept back.
    pub usable_total: u64,
    pub usable_free: u64,
    pub epoch: String,
    pub writable: bool,
    pub segments: u64,
    pub bad_fragments: u64,
    pub repaired_fragments: u64,
    pub lost_reads: u64,
    pub disks: Vec<Disk>,
}

/// Sizes are bytes, and zero when the disk cannot be asked.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Disk {
    pub name: String,
    pub id: String,
    pub state: String,
    pub errors: u64,
    pub reason: Option<String>,
    pub total: u64,
    pub free: u64,
    /// What the layout can use of it.
    pub usable: u64,
    /// It waits for another disk to fail, and holds no data.
    #[serde(default)]
    pub spare: bool,
    /// It is being emptied.
    #[serde(default)]
    pub leaving: bool,
    /// What it shares with others and fails with, as a person named it.
    #[serde(default)]
    pub domain: String,
}

/// The pool at a glance, with what it does in the background.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PoolReport {
    /// Set when nothing can be written any more, with the reason.
    pub offline: Option<String>,
    pub pool: Pool,
    pub space: Space,
    pub index: Index,
    /// Damaged frames of the log that were repaired when the server started.
    pub log_repairs: u64,
    pub upkeep: Upkeep,
    pub scrub: Scrub,
    pub jobs: Vec<Job>,
}

/// What the pool does for its disks: rebuilding, emptying, balancing. Bytes are those of shards, with their holes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Upkeep {
    /// `idle`, `restoring`, `emptying`, `balancing` or `waiting`.
    pub task: String,
    /// The disk that is emptied.
    pub disk: Option<String>,
    /// Disks whose contents are not made good.
    pub lost_disks: Vec<String>,
    pub segments_short: u64,
    pub bytes_done: u64,
    pub bytes_total: u64,
    pub bytes_per_second: u64,
    pub seconds_left: Option<u64>,
    pub waiting_for: Option<String>,
    pub rebuilt_shards: u64,
    pub lost_stripes: u64,
}

/// A directory that is to be a disk of the pool.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewDisk {
    /// Absolute.
    #[schema(value_type = String)]
    pub path: std::path::PathBuf,
    /// The disk whose place it takes, by id or path.
    #[serde(default)]
    pub replaces: Option<String>,
    /// It waits for another disk to fail.
    #[serde(default)]
    pub spare: bool,
    /// What it shares with others and fails with; empty for nothing.
    #[serde(default)]
    pub domain: String,
    #[serde(default)]
    pub allow_shared_device: bool,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Spare {
    pub spare: bool,
}

/// Long work. What `done` and `total` count is the kind's own affair; `total` is 0 until it is known.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Job {
    pub id: u64,
    pub kind: String,
    /// `running`, `done`, `stopped` or `failed`.
    pub state: String,
    /// Why it failed.
    pub reason: Option<String>,
    pub done: u64,
    pub total: u64,
}

/// How the scrub of all file data stands, or how the last one ended. Times are seconds since 1970.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Scrub {
    pub running: bool,
    /// None if there never was one.
    pub began_s: Option<u64>,
    /// None while it runs, or if it was stopped.
    pub ended_s: Option<u64>,
    pub stopped: bool,
    pub failed: Option<String>,
    pub segments_done: u64,
    pub segments: u64,
    /// Read and compared, on all disks.
    pub bytes: u64,
    /// Fragments that were damaged or missing, and those that were made anew.
    pub bad: u64,
    pub repaired: u64,
    /// What could not be repaired, once it has ended: the first ranges, and how many there are.
    pub lost: Vec<Lost>,
    pub lost_ranges: u64,
    /// Jobs of scrubs since the server started, also those of the index.
    pub jobs: Vec<Job>,
}

/// Bytes of a file that no disk gives any more.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Lost {
    /// `share\directory\file`, with `:stream` for a stream.
    pub path: String,
    pub offset: u64,
    pub len: u64,
    /// Only older states of the file have these bytes.
    pub past: bool,
}

/// The word for a disk's state in documents.
pub fn state_word(state: DiskState) -> &'static str {
    match state {
        DiskState::Member => "member",
        DiskState::SetAside => "set_aside",
        DiskState::Stale => "stale",
        DiskState::Missing => "missing",
        DiskState::Unusable => "unusable",
        DiskState::Retired => "retired",
    }
}

/// Bytes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Space {
    pub total: u64,
    pub used: u64,
    pub available: u64,
    pub reserved: u64,
    pub used_present: u64,
    pub used_history: u64,
    /// What the data of files takes, now's and the past's, and what it would take uncompressed.
    #[serde(default)]
    pub stored: u64,
    #[serde(default)]
    pub uncompressed: u64,
    pub history_yields: u64,
    pub dead: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Store {
    pub open_txg: u64,
    pub durable_txg: u64,
    pub indexed_txg: u64,
    pub overlay_rows: usize,
    pub overlay_bytes: usize,
    pub dirty_bytes: usize,
    pub log_bytes: u64,
    pub log_bytes_max: u64,
    pub log_repairs: u64,
    pub index: Index,
    /// Seconds since 1970 of the oldest instant that can be gone back to.
    pub history_since_s: Option<u64>,
}

/// The copies of the index; bytes are those of one copy.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Index {
    pub bytes: u64,
    pub copies_good: u32,
    pub copies: u32,
    pub bad_pages: u64,
    pub repaired_pages: u64,
    pub lost_pages: u64,
    pub reopened: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Smb {
    pub address: String,
    pub connections: usize,
    pub sessions: usize,
    pub opens: usize,
    pub requests: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Nfs {
    pub address: String,
    pub connections: usize,
    pub requests: u64,
}

/// A refusal (RFC 9457).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemDocument {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
}

/// What an alarm does: keeps the user and the address from changing anything, tells, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlarmAction {
    Block,
    Report,
    Off,
}

impl std::str::FromStr for AlarmAction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "block" => Ok(AlarmAction::Block),
            "report" => Ok(AlarmAction::Report),
            "off" => Ok(AlarmAction::Off),
            other => Err(format!("{other:?} is none of block, report, off")),
        }
    }
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AlarmSetting {
    pub action: AlarmAction,
}

/// Somebody destroyed files. Times are seconds since 1970.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Alarm {
    pub id: u64,
    pub time_s: u64,
    /// When the evidence began.
    pub since_s: u64,
    pub share: String,
    pub session: u64,
    pub user: String,
    pub address: String,
    pub files: u64,
    /// The first of them.
    pub paths: Vec<String>,
    pub decoy: bool,
    pub action: AlarmAction,
    /// Keeps the share as it was before.
    pub snapshot: Option<String>,
    pub cleared_s: Option<u64>,
}

/// Leave for a user to encrypt, given or taken back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Permission {
    pub user: String,
    pub permitted: bool,
}

/// SHARE/PATH of a file that nobody should touch, or that is an ordinary one again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Decoy {
    pub path: String,
    pub decoy: bool,
}

/// When snapshots are made by themselves.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Seconds from one to the next; 0 for none.
    pub every_s: u64,
    /// Newest ones that are kept.
    pub keep: u32,
}

/// A share to be made of what another one was.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewClone {
    pub name: String,
    /// Of this snapshot, or of an instant in seconds since 1970.
    pub snapshot: Option<String>,
    pub at_s: Option<u64>,
}

/// A snapshot to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewSnapshot {
    pub name: String,
    /// Of this instant of the past, in seconds since 1970; now without it.
    #[serde(default)]
    pub at_s: Option<u64>,
}

/// A snapshot; times are seconds since 1970.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    pub share: String,
    pub name: String,
    pub time_s: u64,
    pub held: bool,
    pub locked_until_s: Option<u64>,
}

/// What is to become of a snapshot; what is left out stays.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeepSnapshot {
    #[serde(default)]
    pub hold: Option<bool>,
    #[serde(default)]
    pub lock_until_s: Option<u64>,
}

/// How far back every second, and one instant a minute, hour, day, month is kept; and the oldest that is left.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Retention {
    pub every_second_s: u64,
    pub every_minute_s: u64,
    pub every_hour_s: u64,
    pub every_day_s: u64,
    pub every_month_s: u64,
    #[serde(default)]
    pub oldest_s: Option<u64>,
}

/// A path `share/directory/name`, now or at a time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Place {
    pub path: String,
    #[serde(default)]
    pub at_s: Option<u64>,
}

/// A directory, or one file, as it was at the instant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PastListing {
    pub at_s: Option<u64>,
    pub entries: Vec<PastEntry>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PastEntry {
    pub name: String,
    pub directory: bool,
    pub size: u64,
    pub modified_s: u64,
}

/// Bytes of a file from an offset on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ContentWanted {
    #[serde(flatten)]
    pub place: Place,
    #[serde(default)]
    pub offset: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogWanted {
    pub path: String,
    #[serde(default)]
    pub since_s: Option<u64>,
    #[serde(default)]
    pub until_s: Option<u64>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub client: Option<String>,
    #[serde(default)]
    pub session: Option<u64>,
    #[serde(default)]
    pub max: Option<usize>,
}

/// One change, and who made it from where.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    pub time_s: u64,
    pub what: String,
    pub path: String,
    pub session: u64,
    pub user: String,
    pub client: String,
    pub protocol: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DiffWanted {
    pub path: String,
    pub from_s: u64,
    /// Now without one.
    #[serde(default)]
    pub to_s: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    pub what: String,
    pub path: String,
    #[serde(default)]
    pub old_path: Option<String>,
    pub size_from: Option<u64>,
    pub size_to: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RewindWanted {
    pub path: String,
    pub to_s: u64,
    #[serde(default)]
    pub dry_run: bool,
}

/// What a rewind did, or would do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Rewound {
    /// The instant that it went to.
    pub to_s: u64,
    pub restored: u64,
    pub removed: u64,
    pub changed: u64,
    pub renamed: u64,
    pub bytes: u64,
    pub failed: Vec<Failed>,
    /// Somebody stopped it.
    #[serde(default)]
    pub stopped: bool,
    pub session: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Failed {
    pub path: String,
    pub reason: String,
}

/// What is to be undone: these sessions, and those of the user and from the addresses.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UndoWanted {
    pub share: String,
    #[serde(default)]
    pub sessions: Vec<u64>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub clients: Vec<String>,
    #[serde(default)]
    pub since_s: Option<u64>,
    /// Older content stands beside what somebody else wrote later; else that is left out.
    #[serde(default)]
    pub keep_both: bool,
    #[serde(default)]
    pub dry_run: bool,
}

/// What an undo did, or would do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Undone {
    pub sessions: Vec<u64>,
    pub restored: u64,
    pub removed: u64,
    pub changed: u64,
    pub renamed: u64,
    pub bytes: u64,
    pub failed: Vec<Failed>,
    /// Left as somebody else made them later.
    pub kept: Vec<String>,
    /// Older content beside what somebody else made.
    pub beside: Vec<String>,
    /// Somebody stopped it.
    #[serde(default)]
    pub stopped: bool,
    pub session: Option<u64>,
}
