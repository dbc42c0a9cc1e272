//! The attribute row of an inode, under 256 bytes.
//!
//! ```text
//!   0 version u8 = 1      1 kind u8            2 flags u16          4 DOS attributes u32
//!   8 created u64        16 accessed u64      24 modified u64      32 changed u64
//!  40 links u32          44 EA size u32       48 change count u64
//!  56 parent u64         64 security of u64   72 security slot u32 76 next stream id u32
//!  80 charged u64        88 quota tree u64    96 mode bits u16     98 reparse tag u32
//! 102 name length u8    103 name
//! ```
//! `parent` and `name` are the file's first name, where it is short enough; other names are rows of their own.

use bytes::Bytes;
use strongroom_store::Inode;

use super::{Reader, Writer};
use crate::{DosAttributes, FileKind, FileTime, Result};

const VERSION: u8 = 1;
const FIXED_LEN: usize = 103;
/// Longer names are kept in rows of their own, so that this row stays under 256 bytes.
pub(crate) const INLINE_NAME_MAX: usize = 128;

/// Which other rows the inode has, so that none is looked for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AttrFlags(pub(crate) u16);

impl AttrFlags {
    pub(crate) const LINK_ROWS: Self = Self(0x01);
    pub(crate) const STREAMS: Self = Self(0x02);
    /// The modification time is this row's, as the store's head cannot hold it.
    pub(crate) const OWN_MODIFIED: Self = Self(0x04);

    pub(crate) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(crate) fn set(&mut self, flag: Self, on: bool) {
        if on {
            self.0 |= flag.0
        } else {
            self.0 &= !flag.0
        }
    }
}

/// Where the security descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SdRef {
    Own,
    Shared { directory: Inode, slot: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attr {
    pub(crate) kind: FileKind,
    pub(crate) flags: AttrFlags,
    /// Only those that are stored: never DIRECTORY, REPARSE_POINT or NORMAL.
    pub(crate) dos: DosAttributes,
    pub(crate) created: FileTime,
    pub(crate) accessed: FileTime,
    /// Of a directory, or of a file whose data was never written.
    pub(crate) modified: FileTime,
    pub(crate) changed: FileTime,
    pub(crate) links: u32,
    pub(crate) ea_size: u32,
    pub(crate) version: u64,
    pub(crate) parent: Inode,
    pub(crate) security: SdRef,
    pub(crate) next_stream: u32,
    pub(crate) charged: u64,
    pub(crate) quota_tree: Inode,
    pub(crate) mode_bits: u16,
    pub(crate) reparse_tag: u32,
    /// Empty when the first name is in the links table.
    pub(crate) name: Box<str>,
}

impl Attr {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::with_capacity(FIXED_LEN + self.name.len());
        let (security_of, slot) = match self.security {
            SdRef::Own => (Inode(0), 0),
            SdRef::Shared { directory, slot } => (directory, slot),
        };
        out.u8(VERSION)
            .u8(kind_code(self.kind))
            .u16(self.flags.0)
            .u32(self.dos.0);
        out.u64(self.created.0)
            .u64(self.accessed.0)
            .u64(self.modified.0)
            .u64(self.changed.0);
        out.u32(self.links).u32(self.ea_size).u64(self.version);
        out.u64(self.parent.0)
            .u64(security_of.0)
            .u32(slot)
            .u32(self.next_stream);
        out.u64(self.charged)
            .u64(self.quota_tree.0)
            .u16(self.mode_bits)
            .u32(self.reparse_tag);
        assert!(
            self.name.len() <= INLINE_NAME_MAX,
            "long names have their own rows"
        );
        out.u8(u8::try_from(self.name.len()).unwrap_or(0))
            .bytes(self.name.as_bytes());
        Bytes::from(out.0)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Reader::new(bytes, "attributes");
        if row.u8()? != VERSION {
            return Err(row.corrupt());
        }
        let kind = kind_from(row.u8()?).ok_or_else(|| row.corrupt())?;
        let flags = AttrFlags(row.u16()?);
        let dos = DosAttributes(row.u32()?);
        let [created, accessed, modified, changed] = [
            FileTime(row.u64()?),
            FileTime(row.u64()?),
            FileTime(row.u64()?),
            FileTime(row.u64()?),
        ];
        let (links, ea_size, version) = (row.u32()?, row.u32()?, row.u64()?);
        let parent = Inode(row.u64()?);
        let security = match (Inode(row.u64()?), row.u32()?) {
            (Inode(0), _) => SdRef::Own,
            (directory, slot) => SdRef::Shared { directory, slot },
        };
        let (next_stream, charged, quota_tree) = (row.u32()?, row.u64()?, Inode(row.u64()?));
        let (mode_bits, reparse_tag) = (row.u16()?, row.u32()?);
        let len = usize::from(row.u8()?);
        let name = row.text(len)?.into();
        row.end()?;
        Ok(Self {
            kind,
            flags,
            dos,
            created,
            accessed,
            modified,
            changed,
            links,
            ea_size,
            version,
            parent,
            security,
            next_stream,
            charged,
            quota_tree,
            mode_bits,
            reparse_tag,
            name,
        })
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }
}

pub(super) fn kind_code(kind: FileKind) -> u8 {
    match kind {
        FileKind::File => 0,
        FileKind::Directory => 1,
        FileKind::Symlink => 2,
    }
}

pub(super) fn kind_from(code: u8) -> Option<FileKind> {
    match code {
        0 => Some(FileKind::File),
        1 => Some(FileKind::Directory),
        2 => Some(FileKind::Symlink),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Attr {
        Attr {
            kind: FileKind::File,
            flags: AttrFlags(3),
            dos: DosAttributes::ARCHIVE,
            created: FileTime(1),
            accessed: FileTime(2),
            modified: FileTime(3),
            changed: FileTime(u64::MAX),
            links: 2,
            ea_size: 12,
            version: 9,
            parent: Inode(7),
            security: SdRef::Shared {
                directory: Inode(7),
                slot: 3,
            },
            next_stream: 4,
            charged: 8192,
            quota_tree: Inode(5),
            mode_bits: 0o4000,
            reparse_tag: 0,
            name: "n".repeat(INLINE_NAME_MAX).into(),
        }
    }

    #[test]
    fn round_trips_in_under_256_bytes() {
        let attr = sample();
        let bytes = attr.encode();
        assert!(bytes.len() < 256);
        assert_eq!(Attr::decode(&bytes).unwrap(), attr);
    }

    #[test]
    fn refuses_every_cut() {
        let bytes = sample().encode();
        for len in 0..bytes.len() {
            assert!(Attr::decode(&bytes[..len]).is_err());
        }
    }
}
