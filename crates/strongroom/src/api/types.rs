//! The documents that the administration interface exchanges. Fields may be added, never renamed.

use serde::{Deserialize, Serialize};
use strongroom_pool::DiskState;
use zeroize::Zeroizing;

/// Another passphrase for an encrypted pool.
#[derive(Serialize, Deserialize)]
pub(crate) struct PassphraseChange {
    #[serde(with = "secret")]
    pub(crate) old: Zeroizing<String>,
    #[serde(with = "secret")]
    pub(crate) new: Zeroizing<String>,
}

/// An account to be made.
#[derive(Serialize, Deserialize)]
pub(crate) struct NewUser {
    pub(crate) name: String,
    #[serde(with = "secret")]
    pub(crate) password: Zeroizing<String>,
    #[serde(default)]
    pub(crate) admin: bool,
}

/// A password in a document is an ordinary string, but wiped from memory when done with.
mod secret {
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(
        secret: &Zeroizing<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(deserializer).map(Zeroizing::new)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) sid: String,
    pub(crate) admin: bool,
    pub(crate) disabled: bool,
}

/// A share to be made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewShare {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) read_only: bool,
    /// Clients of SMB that do not encrypt are refused.
    #[serde(default)]
    pub(crate) encrypted: bool,
    #[serde(default)]
    pub(crate) hide_unreadable: bool,
    /// Macs are shown it as a place for their backups.
    #[serde(default)]
    pub(crate) time_machine: bool,
    /// Bytes that all its files may take together.
    #[serde(default)]
    pub(crate) size_limit: Option<u64>,
    /// Clients may have handles that outlive the server.
    #[serde(default)]
    pub(crate) continuously_available: bool,
    /// None: every account may connect.
    #[serde(default)]
    pub(crate) users: Option<Vec<String>>,
    /// Machines that may use it by NFS, as `share add --nfs` takes them.
    #[serde(default)]
    pub(crate) nfs: Vec<String>,
    /// `lz4`, `zstd` or `off`.
    #[serde(default)]
    pub(crate) compress: String,
}

/// What is to be different about a share.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShareChange {
    /// `lz4`, `zstd` or `off`; None leaves it.
    #[serde(default)]
    pub(crate) compress: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) name: String,
    pub(crate) read_only: bool,
    pub(crate) encrypted: bool,
    #[serde(default)]
    pub(crate) hide_unreadable: bool,
    #[serde(default)]
    pub(crate) time_machine: bool,
    #[serde(default)]
    pub(crate) size_limit: Option<u64>,
    #[serde(default)]
    pub(crate) continuously_available: bool,
    pub(crate) users: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) nfs: Vec<String>,
    #[serde(default)]
    pub(crate) compress: String,
}

/// Everything at a glance.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) uptime_s: u64,
    /// Nothing is left to do in the background for what clients did so far.
    pub(crate) settled: bool,
    /// Set when nothing can be written any more, with the reason.
    pub(crate) offline: Option<String>,
    pub(crate) pool: Pool,
    pub(crate) space: Space,
    pub(crate) store: Store,
    pub(crate) smb: Smb,
    /// None where it is not served.
    #[serde(default)]
    pub(crate) nfs: Option<Nfs>,
    /// Rewinds, undos and clones that run.
    #[serde(default)]
    pub(crate) works: Vec<Work>,
    /// Numbers of alarms that nobody has cleared.
    #[serde(default)]
    pub(crate) alarms: Vec<u64>,
}

/// A rewind, an undo or a clone that runs: what is done of how much; 0 of 0 while that is being looked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) what: String,
    pub(crate) share: String,
    pub(crate) session: u64,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

/// What the pool says of itself. Sizes are bytes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) id: String,
    pub(crate) layout: String,
    #[serde(default)]
    pub(crate) encrypted: bool,
    /// Parts of data and of parity in the layout.
    pub(crate) data: u8,
    pub(crate) parity: u8,
    /// Disks that may fail yet without a loss; those on one block device count as one.
    pub(crate) survives: usize,
    /// Disks that share a block device with others, by device.
    pub(crate) shared: Vec<Vec<String>>,
    /// What the layout leaves for files, before what is kept back.
    pub(crate) usable_total: u64,
    pub(crate) usable_free: u64,
    pub(crate) epoch: String,
    pub(crate) writable: bool,
    pub(crate) segments: u64,
    pub(crate) bad_fragments: u64,
    pub(crate) repaired_fragments: u64,
    pub(crate) lost_reads: u64,
    pub(crate) disks: Vec<Disk>,
}

/// Sizes are bytes, and zero when the disk cannot be asked.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Disk {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) errors: u64,
    pub(crate) reason: Option<String>,
    pub(crate) total: u64,
    pub(crate) free: u64,
    /// What the layout can use of it.
    pub(crate) usable: u64,
    /// It waits for another disk to fail, and holds no data.
    #[serde(default)]
    pub(crate) spare: bool,
    /// It is being emptied.
    #[serde(default)]
    pub(crate) leaving: bool,
    /// What it shares with others and fails with, as a person named it.
    #[serde(default)]
    pub(crate) domain: String,
}

/// The pool at a glance, with what it does in the background.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PoolReport {
    /// Set when nothing can be written any more, with the reason.
    pub(crate) offline: Option<String>,
    pub(crate) pool: Pool,
    pub(crate) space: Space,
    pub(crate) index: Index,
    /// Damaged frames of the log that were repaired when the server started.
    pub(crate) log_repairs: u64,
    pub(crate) upkeep: Upkeep,
    pub(crate) scrub: Scrub,
    pub(crate) jobs: Vec<Job>,
}

/// What the pool does for its disks: rebuilding, emptying, balancing. Bytes are those of shards, with their holes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Upkeep {
    /// `idle`, `restoring`, `emptying`, `balancing` or `waiting`.
    pub(crate) task: String,
    /// The disk that is emptied.
    pub(crate) disk: Option<String>,
    /// Disks whose contents are not made good.
    pub(crate) lost_disks: Vec<String>,
    pub(crate) segments_short: u64,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_total: u64,
    pub(crate) bytes_per_second: u64,
    pub(crate) seconds_left: Option<u64>,
    pub(crate) waiting_for: Option<String>,
    pub(crate) rebuilt_shards: u64,
    pub(crate) lost_stripes: u64,
}

/// A directory that is to be a disk of the pool.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewDisk {
    /// Absolute.
    pub(crate) path: std::path::PathBuf,
    /// The disk whose place it takes, by id or path.
    #[serde(default)]
    pub(crate) replaces: Option<String>,
    /// It waits for another disk to fail.
    #[serde(default)]
    pub(crate) spare: bool,
    /// What it shares with others and fails with; empty for nothing.
    #[serde(default)]
    pub(crate) domain: String,
    #[serde(default)]
    pub(crate) allow_shared_device: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spare {
    pub(crate) spare: bool,
}

/// Long work. What `done` and `total` count is the kind's own affair; `total` is 0 until it is known.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) kind: String,
    /// `running`, `done`, `stopped` or `failed`.
    pub(crate) state: String,
    /// Why it failed.
    pub(crate) reason: Option<String>,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

/// How the scrub of all file data stands, or how the last one ended. Times are seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Scrub {
    pub(crate) running: bool,
    /// None if there never was one.
    pub(crate) began_s: Option<u64>,
    /// None while it runs, or if it was stopped.
    pub(crate) ended_s: Option<u64>,
    pub(crate) stopped: bool,
    pub(crate) failed: Option<String>,
    pub(crate) segments_done: u64,
    pub(crate) segments: u64,
    /// Read and compared, on all disks.
    pub(crate) bytes: u64,
    /// Fragments that were damaged or missing, and those that were made anew.
    pub(crate) bad: u64,
    pub(crate) repaired: u64,
    /// What could not be repaired, once it has ended: the first ranges, and how many there are.
    pub(crate) lost: Vec<Lost>,
    pub(crate) lost_ranges: u64,
    /// Jobs of scrubs since the server started, also those of the index.
    pub(crate) jobs: Vec<Job>,
}

/// Bytes of a file that no disk gives any more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lost {
    /// `share\directory\file`, with `:stream` for a stream.
    pub(crate) path: String,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// Only older states of the file have these bytes.
    pub(crate) past: bool,
}

/// The word for a disk's state in documents.
pub(crate) fn state_word(state: DiskState) -> &'static str {
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
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Space {
    pub(crate) total: u64,
    pub(crate) used: u64,
    pub(crate) available: u64,
    pub(crate) reserved: u64,
    pub(crate) used_present: u64,
    pub(crate) used_history: u64,
    /// What the data of files takes, now's and the past's, and what it would take uncompressed.
    #[serde(default)]
    pub(crate) stored: u64,
    #[serde(default)]
    pub(crate) uncompressed: u64,
    pub(crate) history_yields: u64,
    pub(crate) dead: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Store {
    pub(crate) open_txg: u64,
    pub(crate) durable_txg: u64,
    pub(crate) indexed_txg: u64,
    pub(crate) overlay_rows: usize,
    pub(crate) overlay_bytes: usize,
    pub(crate) dirty_bytes: usize,
    pub(crate) log_bytes: u64,
    pub(crate) log_bytes_max: u64,
    pub(crate) log_repairs: u64,
    pub(crate) index: Index,
    /// Seconds since 1970 of the oldest instant that can be gone back to.
    pub(crate) history_since_s: Option<u64>,
}

/// The copies of the index; bytes are those of one copy.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) bytes: u64,
    pub(crate) copies_good: u32,
    pub(crate) copies: u32,
    pub(crate) bad_pages: u64,
    pub(crate) repaired_pages: u64,
    pub(crate) lost_pages: u64,
    pub(crate) reopened: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Smb {
    pub(crate) address: String,
    pub(crate) connections: usize,
    pub(crate) sessions: usize,
    pub(crate) opens: usize,
    pub(crate) requests: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Nfs {
    pub(crate) address: String,
    pub(crate) connections: usize,
    pub(crate) requests: u64,
}

/// A refusal (RFC 9457).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProblemDocument {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: String,
}

/// What an alarm does: keeps the user and the address from changing anything, tells, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlarmAction {
    Block,
    Report,
    Off,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AlarmSetting {
    pub(crate) action: AlarmAction,
}

/// Somebody destroyed files. Times are seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Alarm {
    pub(crate) id: u64,
    pub(crate) time_s: u64,
    /// When the evidence began.
    pub(crate) since_s: u64,
    pub(crate) share: String,
    pub(crate) session: u64,
    pub(crate) user: String,
    pub(crate) address: String,
    pub(crate) files: u64,
    /// The first of them.
    pub(crate) paths: Vec<String>,
    pub(crate) decoy: bool,
    pub(crate) action: AlarmAction,
    /// Keeps the share as it was before.
    pub(crate) snapshot: Option<String>,
    pub(crate) cleared_s: Option<u64>,
}

/// Leave for a user to encrypt, given or taken back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Permission {
    pub(crate) user: String,
    pub(crate) permitted: bool,
}

/// SHARE/PATH of a file that nobody should touch, or that is an ordinary one again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Decoy {
    pub(crate) path: String,
    pub(crate) decoy: bool,
}

/// When snapshots are made by themselves.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// Seconds from one to the next; 0 for none.
    pub(crate) every_s: u64,
    /// Newest ones that are kept.
    pub(crate) keep: u32,
}

/// A share to be made of what another one was.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewClone {
    pub(crate) name: String,
    /// Of this snapshot, or of an instant in seconds since 1970.
    pub(crate) snapshot: Option<String>,
    pub(crate) at_s: Option<u64>,
}

/// A snapshot to be made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewSnapshot {
    pub(crate) name: String,
    /// Of this instant of the past, in seconds since 1970; now without it.
    #[serde(default)]
    pub(crate) at_s: Option<u64>,
}

/// A snapshot; times are seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) share: String,
    pub(crate) name: String,
    pub(crate) time_s: u64,
    pub(crate) held: bool,
    pub(crate) locked_until_s: Option<u64>,
}

/// What is to become of a snapshot; what is left out stays.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeepSnapshot {
    #[serde(default)]
    pub(crate) hold: Option<bool>,
    #[serde(default)]
    pub(crate) lock_until_s: Option<u64>,
}

/// How far back every second, and one instant a minute, hour, day, month is kept; and the oldest that is left.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Retention {
    pub(crate) every_second_s: u64,
    pub(crate) every_minute_s: u64,
    pub(crate) every_hour_s: u64,
    pub(crate) every_day_s: u64,
    pub(crate) every_month_s: u64,
    #[serde(default)]
    pub(crate) oldest_s: Option<u64>,
}

/// A path `share/directory/name`, now or at a time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) at_s: Option<u64>,
}

/// A directory, or one file, as it was at the instant.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PastListing {
    pub(crate) at_s: Option<u64>,
    pub(crate) entries: Vec<PastEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PastEntry {
    pub(crate) name: String,
    pub(crate) directory: bool,
    pub(crate) size: u64,
    pub(crate) modified_s: u64,
}

/// Bytes of a file from an offset on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContentWanted {
    #[serde(flatten)]
    pub(crate) place: Place,
    #[serde(default)]
    pub(crate) offset: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogWanted {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) since_s: Option<u64>,
    #[serde(default)]
    pub(crate) until_s: Option<u64>,
    #[serde(default)]
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) client: Option<String>,
    #[serde(default)]
    pub(crate) session: Option<u64>,
    #[serde(default)]
    pub(crate) max: Option<usize>,
}

/// One change, and who made it from where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogLine {
    pub(crate) time_s: u64,
    pub(crate) what: String,
    pub(crate) path: String,
    pub(crate) session: u64,
    pub(crate) user: String,
    pub(crate) client: String,
    pub(crate) protocol: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DiffWanted {
    pub(crate) path: String,
    pub(crate) from_s: u64,
    /// Now without one.
    #[serde(default)]
    pub(crate) to_s: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Difference {
    pub(crate) what: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) old_path: Option<String>,
    pub(crate) size_from: Option<u64>,
    pub(crate) size_to: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RewindWanted {
    pub(crate) path: String,
    pub(crate) to_s: u64,
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// What a rewind did, or would do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rewound {
    /// The instant that it went to.
    pub(crate) to_s: u64,
    pub(crate) restored: u64,
    pub(crate) removed: u64,
    pub(crate) changed: u64,
    pub(crate) renamed: u64,
    pub(crate) bytes: u64,
    pub(crate) failed: Vec<Failed>,
    /// Somebody stopped it.
    #[serde(default)]
    pub(crate) stopped: bool,
    pub(crate) session: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) path: String,
    pub(crate) reason: String,
}

/// What is to be undone: these sessions, and those of the user and from the addresses.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UndoWanted {
    pub(crate) share: String,
    #[serde(default)]
    pub(crate) sessions: Vec<u64>,
    #[serde(default)]
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) clients: Vec<String>,
    #[serde(default)]
    pub(crate) since_s: Option<u64>,
    /// Older content stands beside what somebody else wrote later; else that is left out.
    #[serde(default)]
    pub(crate) keep_both: bool,
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// What an undo did, or would do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Undone {
    pub(crate) sessions: Vec<u64>,
    pub(crate) restored: u64,
    pub(crate) removed: u64,
    pub(crate) changed: u64,
    pub(crate) renamed: u64,
    pub(crate) bytes: u64,
    pub(crate) failed: Vec<Failed>,
    /// Left as somebody else made them later.
    pub(crate) kept: Vec<String>,
    /// Older content beside what somebody else made.
    pub(crate) beside: Vec<String>,
    /// Somebody stopped it.
    #[serde(default)]
    pub(crate) stopped: bool,
    pub(crate) session: Option<u64>,
}
