//! FileRenameInformation and FileLinkInformation, their forms for SMB2 and their Ex variants
//! (MS-FSCC 2.4.42.2, 2.4.43, 2.4.28.2).

use crate::wire::codec::{Codec, Put, Reader, WireError, len32};
use crate::wire::utf16::Utf16;

flags! {
    /// Flags of the Ex variants; of the others only the first.
    pub struct RenameFlags: u32 {
        REPLACE_IF_EXISTS = 0x001,
        POSIX_SEMANTICS = 0x002,
        SUPPRESS_PIN_STATE_INHERITANCE = 0x004,
        SUPPRESS_STORAGE_RESERVE_INHERITANCE = 0x008,
        NO_INCREASE_AVAILABLE_SPACE = 0x010,
        NO_DECREASE_AVAILABLE_SPACE = 0x020,
        IGNORE_READONLY_ATTRIBUTE = 0x040,
    }
}

/// A rename or a new link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameInfo<'a> {
    /// What may be replaced.
    pub flags: RenameFlags,
    /// RootDirectory; SMB2 demands zero.
    pub root_directory: u64,
    /// The new path from the share's root, or `:stream` of the same file.
    pub name: Utf16<'a>,
}

/// The form of the Ex classes: 32 bits of flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameExInfo<'a>(pub RenameInfo<'a>);

impl<'a> RenameInfo<'a> {
    fn decode_tail(mut r: Reader<'a>, flags: RenameFlags) -> Result<Self, WireError> {
        let root_directory = r.u64()?;
        let len = r.u32()?;
        let name = Utf16::from_bytes(r.take_u32(len)?)?;
        Ok(Self {
            flags,
            root_directory,
            name,
        })
    }

    /// Windows demands 24 bytes even where the name is shorter than the last four.
    fn encode_tail(&self, out: &mut Vec<u8>) {
        out.put_u64(self.root_directory);
        out.put_u32(len32(self.name.len()));
        out.put(self.name.as_bytes());
        out.put_zeros(4usize.saturating_sub(self.name.len()));
    }
}

impl<'a> Codec<'a> for RenameInfo<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let replace = r.u8()? != 0;
        r.skip(7)?;
        let flags = if replace {
            RenameFlags::REPLACE_IF_EXISTS
        } else {
            RenameFlags::NONE
        };
        Self::decode_tail(r, flags)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(
            self.flags.contains(RenameFlags::REPLACE_IF_EXISTS),
        ));
        out.put_zeros(7);
        self.encode_tail(out);
    }
}

impl<'a> Codec<'a> for RenameExInfo<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let flags = RenameFlags(r.u32()?);
        r.skip(4)?;
        RenameInfo::decode_tail(r, flags).map(Self)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.0.flags.bits());
        out.put_u32(0);
        self.0.encode_tail(out);
    }
}
