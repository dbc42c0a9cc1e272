//! The structures of RFC 1813.

use strongroom_vfs::unix::{Look, NodeType, SetTime, UnixChange};
use strongroom_vfs::{FileTime, Inode};

use crate::xdr::{Decoder, Encoder, Opaque, Result, Xdr, XdrError};
use strongroom_identity::{Kind, Numbers};

/// The longest handle (RFC 1813, 2.4).
pub const HANDLE_MAX: usize = 64;
/// Longer names are told so, up to what is not worth reading.
pub const NAME_MAX: usize = 4_096;
/// A path of POSIX systems, with room to tell that it is too long.
pub const PATH_MAX: usize = 8_192;
/// The most that is read or written at once.
pub const DATA_MAX: usize = 1 << 20;

pub(super) type Handle<'a> = Opaque<'a, HANDLE_MAX>;
pub(super) type Name<'a> = Opaque<'a, NAME_MAX>;

xdr_struct! {
    /// nfstime3
    #[derive(Copy)]
    pub struct Time {
        pub seconds: u32,
        pub nanoseconds: u32,
    }
}

impl Time {
    /// Times before 1970 and after 2106 show as the nearest that there is.
    pub fn of(time: FileTime) -> Self {
        let (seconds, nanoseconds) = time.to_unix();
        let fits = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        Self {
            seconds: fits,
            nanoseconds: if seconds < 0 { 0 } else { nanoseconds },
        }
    }

    pub fn to_file_time(self) -> FileTime {
        FileTime::from_unix(i64::from(self.seconds), self.nanoseconds)
    }
}

xdr_struct! {
    /// fattr3
    #[derive(Copy)]
    pub struct Fattr {
        pub kind: u32,
        pub mode: u32,
        pub links: u32,
        pub user: u32,
        pub group: u32,
        pub size: u64,
        pub used: u64,
        pub device_major: u32,
        pub device_minor: u32,
        pub file_system: u64,
        pub file: u64,
        pub accessed: Time,
        pub modified: Time,
        pub changed: Time,
    }
}

impl Fattr {
    pub(crate) fn of(look: &Look, id: Inode, file_system: u64, numbers: &Numbers) -> Self {
        let (kind, device) = match look.what {
            NodeType::File => (1, (0, 0)),
            NodeType::Directory => (2, (0, 0)),
            NodeType::Block { major, minor } => (3, (major, minor)),
            NodeType::Character { major, minor } => (4, (major, minor)),
            NodeType::Symlink => (5, (0, 0)),
            NodeType::Socket => (6, (0, 0)),
            NodeType::Fifo => (7, (0, 0)),
        };
        Self {
            kind,
            mode: look.mode,
            links: look.stat.links,
            user: numbers.number(&look.owner),
            group: numbers.number(&look.group),
            size: look.stat.size,
            used: look.stat.allocated,
            device_major: device.0,
            device_minor: device.1,
            file_system,
            file: id.0,
            accessed: Time::of(look.stat.accessed),
            modified: Time::of(look.stat.modified),
            changed: Time::of(look.stat.changed),
        }
    }
}

/// set_atime and set_mtime
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeHow {
    Keep,
    Server,
    Client(Time),
}

impl Xdr<'_> for TimeHow {
    fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        match from.u32()? {
            0 => Ok(Self::Keep),
            1 => Ok(Self::Server),
            2 => Ok(Self::Client(Time::decode(from)?)),
            _ => Err(XdrError::Invalid("a time is set in no known way")),
        }
    }

    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Keep => to.u32(0),
            Self::Server => to.u32(1),
            Self::Client(time) => {
                to.u32(2);
                time.encode(to);
                to
            }
        };
    }
}

impl TimeHow {
    fn change(self) -> Option<SetTime> {
        match self {
            Self::Keep => None,
            Self::Server => Some(SetTime::Now),
            Self::Client(time) => Some(SetTime::To(time.to_file_time())),
        }
    }
}

xdr_struct! {
    /// sattr3
    #[derive(Copy)]
    pub struct Sattr {
        pub mode: Option<u32>,
        pub user: Option<u32>,
        pub group: Option<u32>,
        pub size: Option<u64>,
        pub accessed: TimeHow,
        pub modified: TimeHow,
    }
}

impl Sattr {
    pub(crate) fn change(&self, numbers: &Numbers) -> UnixChange {
        UnixChange {
            size: self.size,
            mode: self.mode.map(|mode| mode & 0o7777),
            owner: self.user.map(|user| numbers.sid(Kind::User, user)),
            group: self.group.map(|group| numbers.sid(Kind::Group, group)),
            accessed: self.accessed.change(),
            modified: self.modified.change(),
        }
    }
}

xdr_struct! {
    /// A file alone: GETATTR, READLINK, FSSTAT, FSINFO, PATHCONF.
    pub struct FileArgs<'a> {
        pub file: Handle<'a>,
    }
}

xdr_struct! {
    pub struct SetattrArgs<'a> {
        pub file: Handle<'a>,
        pub attributes: Sattr,
        /// The change time that the file must have.
        pub guard: Option<Time>,
    }
}

xdr_struct! {
    /// diropargs3: LOOKUP, REMOVE, RMDIR.
    pub struct NameArgs<'a> {
        pub directory: Handle<'a>,
        pub name: Name<'a>,
    }
}

xdr_struct! {
    pub struct AccessArgs<'a> {
        pub file: Handle<'a>,
        pub access: u32,
    }
}

xdr_struct! {
    /// READ and COMMIT.
    pub struct RangeArgs<'a> {
        pub file: Handle<'a>,
        pub offset: u64,
        pub count: u32,
    }
}

xdr_struct! {
    pub struct WriteArgs<'a> {
        pub file: Handle<'a>,
        pub offset: u64,
        pub count: u32,
        /// UNSTABLE 0, DATA_SYNC 1, FILE_SYNC 2
        pub stable: u32,
        pub data: Opaque<'a, DATA_MAX>,
    }
}

/// createhow3
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateHow {
    Unchecked(Sattr),
    Guarded(Sattr),
    Exclusive([u8; 8]),
}

impl Xdr<'_> for CreateHow {
    fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        match from.u32()? {
            0 => Sattr::decode(from).map(Self::Unchecked),
            1 => Sattr::decode(from).map(Self::Guarded),
            2 => from.fixed().map(Self::Exclusive),
            _ => Err(XdrError::Invalid("a file is created in no known way")),
        }
    }

    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Unchecked(attributes) => {
                to.u32(0);
                attributes.encode(to);
            }
            Self::Guarded(attributes) => {
                to.u32(1);
                attributes.encode(to);
            }
            Self::Exclusive(verifier) => {
                to.u32(2).fixed(verifier);
            }
        }
    }
}

xdr_struct! {
    pub struct CreateArgs<'a> {
        pub place: NameArgs<'a>,
        pub how: CreateHow,
    }
}

xdr_struct! {
    pub struct MkdirArgs<'a> {
        pub place: NameArgs<'a>,
        pub attributes: Sattr,
    }
}

xdr_struct! {
    pub struct SymlinkArgs<'a> {
        pub place: NameArgs<'a>,
        pub attributes: Sattr,
        pub target: Opaque<'a, PATH_MAX>,
    }
}

/// mknoddata3
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MknodWhat {
    Character(Sattr, u32, u32),
    Block(Sattr, u32, u32),
    Socket(Sattr),
    Fifo(Sattr),
    /// A type that no special file has.
    Other(u32),
}

impl Xdr<'_> for MknodWhat {
    fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        Ok(match from.u32()? {
            3 => Self::Block(Sattr::decode(from)?, from.u32()?, from.u32()?),
            4 => Self::Character(Sattr::decode(from)?, from.u32()?, from.u32()?),
            6 => Self::Socket(Sattr::decode(from)?),
            7 => Self::Fifo(Sattr::decode(from)?),
            other => Self::Other(other),
        })
    }

    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Block(attributes, major, minor) => {
                to.u32(3);
                attributes.encode(to);
                to.u32(*major).u32(*minor);
            }
            Self::Character(attributes, major, minor) => {
                to.u32(4);
                attributes.encode(to);
                to.u32(*major).u32(*minor);
            }
            Self::Socket(attributes) => {
                to.u32(6);
                attributes.encode(to);
            }
            Self::Fifo(attributes) => {
                to.u32(7);
                attributes.encode(to);
            }
            Self::Other(kind) => {
                to.u32(*kind);
            }
        }
    }
}

xdr_struct! {
    pub struct MknodArgs<'a> {
        pub place: NameArgs<'a>,
        pub what: MknodWhat,
    }
}

xdr_struct! {
    pub struct RenameArgs<'a> {
        pub from: NameArgs<'a>,
        pub to: NameArgs<'a>,
    }
}

xdr_struct! {
    pub struct LinkArgs<'a> {
        pub file: Handle<'a>,
        pub place: NameArgs<'a>,
    }
}

xdr_struct! {
    pub struct ReaddirArgs<'a> {
        pub directory: Handle<'a>,
        pub cookie: u64,
        pub verifier: [u8; 8],
        /// Bytes that the results may take.
        pub count: u32,
    }
}

xdr_struct! {
    pub struct ReaddirplusArgs<'a> {
        pub directory: Handle<'a>,
        pub cookie: u64,
        pub verifier: [u8; 8],
        /// Bytes that names, numbers and cookies may take.
        pub directory_count: u32,
        /// Bytes that the results may take.
        pub count: u32,
    }
}
