//! Reparse data buffers (MS-FSCC 2.1.2).

use super::codec::{Codec, Put, Reader, WireError, len16, slice_at};
use super::utf16::Utf16;

/// Reparse tags (MS-FSCC 2.1.2.1).
pub mod reparse_tag {
    /// IO_REPARSE_TAG_SYMLINK
    pub const SYMLINK: u32 = 0xA000_000C;
    /// IO_REPARSE_TAG_MOUNT_POINT
    pub const MOUNT_POINT: u32 = 0xA000_0003;
    /// IO_REPARSE_TAG_NFS: special files
    pub const NFS: u32 = 0x8000_0014;
    /// IO_REPARSE_TAG_DFS
    pub const DFS: u32 = 0x8000_000A;
    /// IO_REPARSE_TAG_LX_SYMLINK
    pub const LX_SYMLINK: u32 = 0xA000_001D;
}

/// The largest reparse data buffer, its header included (MS-FSCC 2.1.2.2).
pub const REPARSE_MAX: usize = 16 * 1024;

/// Offsets and lengths of the two names of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameFields {
    substitute: (u16, u16),
    print: (u16, u16),
}

impl NameFields {
    /// The substitute name first, the print name right after it.
    pub(crate) fn of(substitute: &Utf16<'_>, print: &Utf16<'_>) -> Self {
        let len = len16(substitute.len());
        Self {
            substitute: (0, len),
            print: (len, len16(print.len())),
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            substitute: (r.u16()?, r.u16()?),
            print: (r.u16()?, r.u16()?),
        })
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        for field in [
            self.substitute.0,
            self.substitute.1,
            self.print.0,
            self.print.1,
        ] {
            out.put_u16(field);
        }
    }

    pub(crate) fn split(self, buffer: &[u8]) -> Result<(Utf16<'_>, Utf16<'_>), WireError> {
        let name = |(offset, len): (u16, u16)| {
            Utf16::from_bytes(slice_at(buffer, usize::from(offset), usize::from(len))?)
        };
        Ok((name(self.substitute)?, name(self.print)?))
    }
}

/// REPARSE_DATA_BUFFER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReparseData<'a> {
    /// A symbolic link (2.1.2.4).
    Symlink {
        /// Target, to be used.
        substitute: Utf16<'a>,
        /// Target, to be shown.
        print: Utf16<'a>,
        /// Whether the target is relative to the link's directory.
        relative: bool,
    },
    /// Any other tag with its data. Tags without the Microsoft bit have a GUID in front (2.1.2.3).
    Other {
        /// The tag.
        tag: u32,
        /// For tags that are not Microsoft's.
        guid: Option<[u8; 16]>,
        /// The data.
        data: &'a [u8],
    },
}

impl ReparseData<'_> {
    /// The tag.
    #[must_use]
    pub const fn tag(&self) -> u32 {
        match self {
            Self::Symlink { .. } => reparse_tag::SYMLINK,
            Self::Other { tag, .. } => *tag,
        }
    }

    /// Whether the structure stays within [`REPARSE_MAX`].
    #[must_use]
    pub fn fits(&self) -> bool {
        let len = match self {
            Self::Symlink {
                substitute, print, ..
            } => substitute
                .len()
                .saturating_add(print.len())
                .saturating_add(20),
            Self::Other { data, .. } => data.len().saturating_add(24),
        };
        len <= REPARSE_MAX
    }

    fn encode_data(&self, out: &mut Vec<u8>) {
        match self {
            Self::Symlink {
                substitute,
                print,
                relative,
            } => {
                NameFields::of(substitute, print).encode(out);
                out.put_u32(u32::from(*relative));
                out.put(substitute.as_bytes());
                out.put(print.as_bytes());
            }
            Self::Other { data, .. } => out.put(data),
        }
    }
}

const fn is_microsoft(tag: u32) -> bool {
    tag & 0x8000_0000 != 0
}

impl<'a> Codec<'a> for ReparseData<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        if bytes.len() > REPARSE_MAX {
            return Err(WireError::TooLong("a reparse data buffer"));
        }
        let mut r = Reader::new(bytes);
        let tag = r.u32()?;
        let len = usize::from(r.u16()?);
        r.skip(2)?;
        let guid = if is_microsoft(tag) {
            None
        } else {
            Some(r.array()?)
        };
        let data = r.take(len)?;
        if r.left() != 0 {
            return Err(WireError::Invalid(
                "a reparse data buffer has another length",
            ));
        }
        if tag != reparse_tag::SYMLINK {
            return Ok(Self::Other { tag, guid, data });
        }
        let mut r = Reader::new(data);
        let names = NameFields::decode(&mut r)?;
        let relative = r.u32()? & 1 != 0;
        let (substitute, print) = names.split(r.rest())?;
        Ok(Self::Symlink {
            substitute,
            print,
            relative,
        })
    }

    /// # Panics
    /// When the structure is too large; see [`ReparseData::fits`].
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.tag());
        let len_at = out.len();
        out.put_u32(0);
        if let Self::Other {
            guid: Some(guid), ..
        } = self
        {
            out.put(guid);
        }
        let start = out.len();
        self.encode_data(out);
        let len = len16(out.since(start));
        out.patch(len_at, &len.to_le_bytes());
    }
}
