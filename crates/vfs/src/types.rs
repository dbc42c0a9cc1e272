//! The small public values of the file system.

use strongroom_identity::Sid;
use strongroom_store::{Compression, Inode};

use crate::{DosAttributes, Export, FileTime};

/// The longest name, in UTF-16 units.
pub const NAME_MAX: usize = 255;
/// The longest path, in UTF-16 units.
pub const PATH_MAX: usize = 32_760;
/// The end of the largest file.
pub const FILE_MAX: u64 = 0x7FFF_FFFF_FFFF_0000;
/// Bytes that all extended attributes of a file may take, counted as MS-FSCC 2.4.15 lays them out.
pub const EA_TOTAL_MAX: usize = 65_535;
/// Names that one file may have.
pub const LINKS_MAX: u32 = 1_024;

/// IO_REPARSE_TAG_SYMLINK (MS-FSCC 2.1.2.1).
pub const REPARSE_TAG_SYMLINK: u32 = 0xA000_000C;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    File,
    Directory,
    Symlink,
}

/// What is known of a file or directory without opening its data. For a named stream, `size` and
/// `allocated` are the stream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Stable, never reused.
    pub inode: Inode,
    pub kind: FileKind,
    pub size: u64,
    pub allocated: u64,
    pub created: FileTime,
    pub accessed: FileTime,
    pub modified: FileTime,
    pub changed: FileTime,
    /// As a client shall see them: DIRECTORY, SPARSE_FILE, REPARSE_POINT are derived, NORMAL when none is set.
    pub attributes: DosAttributes,
    /// Names of the file; without the one that is being deleted.
    pub links: u32,
    pub delete_pending: bool,
    pub is_directory: bool,
    /// Bytes of all extended attributes as MS-FSCC 2.4.12 counts them; 0 when there are none.
    pub ea_size: u32,
    /// 0 if none.
    pub reparse_tag: u32,
    /// The directory that holds the first name; for a root itself.
    pub parent: Inode,
    /// Rises with each change; for NFS's change attribute and for caches.
    pub version: u64,
}

/// One name in a directory, with what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub stat: Stat,
}

/// Where a listing goes on. Stable while the directory changes; a new listing begins with the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirCursor {
    pub(crate) position: CursorPosition,
    /// Set once any entry matched: an empty first answer and an empty later one are told apart by clients.
    pub matched: bool,
}

impl DirCursor {
    /// One that goes on behind an entry of this name, whether it is still there or not.
    pub fn behind(name: &str) -> Self {
        let after = |name: &str| CursorPosition::After {
            folded: crate::names::fold(name),
            name: name.to_owned(),
        };
        let position = match name {
            "." => CursorPosition::DotDot,
            ".." => after(""),
            name => after(name),
        };
        Self {
            position,
            matched: true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum CursorPosition {
    #[default]
    Dot,
    DotDot,
    /// Behind this name: its folded form and the name itself (empty: before the first).
    After {
        folded: String,
        name: String,
    },
    End,
}

/// Times to set; None leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetTimes {
    pub created: Option<FileTime>,
    pub accessed: Option<FileTime>,
    pub modified: Option<FileTime>,
    pub changed: Option<FileTime>,
    /// -1 in a field of FILE_BASIC_INFORMATION (MS-FSCC 2.4.7): operations through this handle stop changing that time.
    pub freeze: TimeFlags,
    /// -2: they change it again.
    pub thaw: TimeFlags,
}

/// One flag for each of a file's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeFlags {
    pub accessed: bool,
    pub modified: bool,
    pub changed: bool,
}

/// An extended attribute (MS-FSCC 2.4.15). Names are compared without case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtendedAttribute {
    /// FILE_NEED_EA (0x80) or 0.
    pub flags: u8,
    /// 1 to 255 bytes; ASCII without control characters and without those illegal in EA names.
    pub name: String,
    /// An empty value removes the attribute when set.
    pub value: Vec<u8>,
}

/// A stream of a file; the file's own data has an empty name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    pub name: String,
    pub size: u64,
    pub allocated: u64,
}

/// One name of a file (MS-FSCC 2.4.21).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    pub parent: Inode,
    pub name: String,
}

/// What a symbolic link or another reparse point holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReparseData {
    pub tag: u32,
    /// The data behind the reparse header; for a symbolic link the SYMBOLIC_LINK buffer of MS-FSCC 2.1.2.4 from
    /// SubstituteNameOffset on.
    pub data: Vec<u8>,
}

/// A directory offered to clients under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub id: ShareId,
    pub name: String,
    pub root: Inode,
    pub comment: String,
    pub read_only: bool,
    /// None lets every user in; else only those named (user or group SIDs).
    pub users: Option<Vec<Sid>>,
    /// Encryption is required of clients.
    pub encrypt: bool,
    /// Listings leave out what their reader may not read.
    pub hide_unreadable: bool,
    /// Macs are shown it as a place for their backups.
    pub time_machine: bool,
    /// Clients may have handles that outlive the server.
    pub continuously_available: bool,
    /// Machines that vouch for their users; none: the share is not for such protocols.
    pub exports: Vec<Export>,
    /// Of what is written through files that are opened from now on.
    pub compression: Compression,
    pub created: FileTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareId(pub u32);

/// A share to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewShare {
    pub name: String,
    pub comment: String,
    pub read_only: bool,
    pub users: Option<Vec<Sid>>,
    pub encrypt: bool,
    pub hide_unreadable: bool,
    pub time_machine: bool,
    /// Bytes that all files in it may take together: a quota of the share's root, and the size of the volume that
    /// clients see.
    pub size_limit: Option<u64>,
    pub continuously_available: bool,
    pub exports: Vec<Export>,
    pub compression: Compression,
}

/// What is to be different about a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShareChange {
    /// None leaves it.
    pub compression: Option<Compression>,
}

/// A client session, as it is recorded in the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub user: Sid,
    pub user_name: String,
    /// The client's address as text.
    pub address: String,
    /// For example `SMB 3.1.1`.
    pub protocol: String,
}

/// A recorded client session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    pub info: SessionInfo,
    pub started: FileTime,
    /// None while it lasts, or when the server died under it.
    pub ended: Option<FileTime>,
}

/// A share as a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeInfo {
    pub label: String,
    pub serial: u32,
    /// A stable identity of the share.
    pub id: u64,
    pub created: FileTime,
    pub total: u64,
    /// What the caller can still write: space and quota.
    pub available: u64,
    /// Without the caller's quota.
    pub available_to_all: u64,
    /// Bytes in one allocation unit.
    pub unit: u32,
}
