//! Who asks, and for which rights.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

use strongroom_identity::Sid;
use strongroom_store::SessionId;

/// Who performs an operation, and under which client session it is recorded.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub user: Sid,
    /// The group that new files get (the primary group); one of `groups` as a rule.
    pub primary_group: Sid,
    /// Every SID that entries may name for this caller, well-known ones too (`EVERYONE`, `USERS`…).
    pub groups: Vec<Sid>,
    /// Holds the privileges to take ownership, back up, restore, and to see and set the SACL.
    pub admin: bool,
    pub session: SessionId,
}

impl Credentials {
    /// The program itself: may do everything.
    pub fn system() -> Self {
        Self {
            user: Sid::LOCAL_SYSTEM,
            primary_group: Sid::LOCAL_SYSTEM,
            groups: vec![Sid::EVERYONE, Sid::ADMINISTRATORS, Sid::AUTHENTICATED_USERS],
            admin: true,
            session: SessionId::SYSTEM,
        }
    }

    /// Whether entries that name `sid` are about this caller.
    pub fn is(&self, sid: &Sid) -> bool {
        self.user == *sid || self.groups.contains(sid)
    }
}

/// Windows access rights (MS-DTYP 2.4.3, MS-SMB2 2.2.13.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AccessMask(pub u32);

impl AccessMask {
    pub const NONE: Self = Self(0);
    pub const READ_DATA: Self = Self(0x0000_0001);
    pub const LIST_DIRECTORY: Self = Self(0x0000_0001);
    pub const WRITE_DATA: Self = Self(0x0000_0002);
    pub const ADD_FILE: Self = Self(0x0000_0002);
    pub const APPEND_DATA: Self = Self(0x0000_0004);
    pub const ADD_SUBDIRECTORY: Self = Self(0x0000_0004);
    pub const READ_EA: Self = Self(0x0000_0008);
    pub const WRITE_EA: Self = Self(0x0000_0010);
    pub const EXECUTE: Self = Self(0x0000_0020);
    pub const TRAVERSE: Self = Self(0x0000_0020);
    pub const DELETE_CHILD: Self = Self(0x0000_0040);
    pub const READ_ATTRIBUTES: Self = Self(0x0000_0080);
    pub const WRITE_ATTRIBUTES: Self = Self(0x0000_0100);
    pub const DELETE: Self = Self(0x0001_0000);
    pub const READ_CONTROL: Self = Self(0x0002_0000);
    pub const WRITE_DAC: Self = Self(0x0004_0000);
    pub const WRITE_OWNER: Self = Self(0x0008_0000);
    pub const SYNCHRONIZE: Self = Self(0x0010_0000);
    pub const ACCESS_SYSTEM_SECURITY: Self = Self(0x0100_0000);
    pub const MAXIMUM_ALLOWED: Self = Self(0x0200_0000);
    pub const GENERIC_ALL: Self = Self(0x1000_0000);
    pub const GENERIC_EXECUTE: Self = Self(0x2000_0000);
    pub const GENERIC_WRITE: Self = Self(0x4000_0000);
    pub const GENERIC_READ: Self = Self(0x8000_0000);
    /// Everything that a file or directory knows, without ACCESS_SYSTEM_SECURITY.
    pub const FILE_ALL: Self = Self(0x001F_01FF);
    /// What GENERIC_READ means for files (MS-FSA 2.1.5.1, FILE_GENERIC_READ).
    pub const FILE_READ: Self = Self(0x0012_0089);
    pub const FILE_WRITE: Self = Self(0x0012_0116);
    pub const FILE_EXECUTE: Self = Self(0x0012_00A0);
    /// Bits that no request may carry (MS-SMB2 3.3.5.9).
    const RESERVED: u32 = 0x0CE0_FE00;

    /// Whether every right of `other` is in here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any right of `other` is in here.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Bits that are reserved are set.
    pub const fn has_reserved(self) -> bool {
        self.0 & Self::RESERVED != 0
    }

    /// Replaces the generic rights by what they mean for files; MAXIMUM_ALLOWED stays.
    pub const fn map_generic(self) -> Self {
        let mut bits = self.0 & 0x0FFF_FFFF;
        if self.intersects(Self::GENERIC_READ) {
            bits |= Self::FILE_READ.0;
        }
        if self.intersects(Self::GENERIC_WRITE) {
            bits |= Self::FILE_WRITE.0;
        }
        if self.intersects(Self::GENERIC_EXECUTE) {
            bits |= Self::FILE_EXECUTE.0;
        }
        if self.intersects(Self::GENERIC_ALL) {
            bits |= Self::FILE_ALL.0;
        }
        Self(bits)
    }
}

impl BitOr for AccessMask {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for AccessMask {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for AccessMask {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for AccessMask {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for AccessMask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AccessMask({:#010x})", self.0)
    }
}

/// What an open lets other opens do meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ShareAccess {
    pub read: bool,
    pub write: bool,
    pub delete: bool,
}

impl ShareAccess {
    pub const NONE: Self = Self {
        read: false,
        write: false,
        delete: false,
    };
    pub const ALL: Self = Self {
        read: true,
        write: true,
        delete: true,
    };
    pub const READ: Self = Self {
        read: true,
        write: false,
        delete: false,
    };

    /// From FILE_SHARE_READ 1, FILE_SHARE_WRITE 2, FILE_SHARE_DELETE 4 (MS-SMB2 2.2.13).
    pub fn from_bits(bits: u32) -> Self {
        Self {
            read: bits & 1 != 0,
            write: bits & 2 != 0,
            delete: bits & 4 != 0,
        }
    }
}

/// DOS attributes (MS-FSCC 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DosAttributes(pub u32);

impl DosAttributes {
    pub const READ_ONLY: Self = Self(0x0001);
    pub const HIDDEN: Self = Self(0x0002);
    pub const SYSTEM: Self = Self(0x0004);
    pub const DIRECTORY: Self = Self(0x0010);
    pub const ARCHIVE: Self = Self(0x0020);
    pub const NORMAL: Self = Self(0x0080);
    pub const TEMPORARY: Self = Self(0x0100);
    pub const SPARSE_FILE: Self = Self(0x0200);
    pub const REPARSE_POINT: Self = Self(0x0400);
    pub const COMPRESSED: Self = Self(0x0800);
    pub const OFFLINE: Self = Self(0x1000);
    pub const NOT_CONTENT_INDEXED: Self = Self(0x2000);
    pub const ENCRYPTED: Self = Self(0x4000);
    /// What a client may set; the rest follows from what the file is.
    pub const SETTABLE: Self = Self(0x3127);

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}
