//! CLOSE (MS-SMB2 2.2.15, 2.2.16) and the FLUSH request (2.2.17).

use super::codec::{Codec, Put, Reader, WireError};
use super::types::{FileId, FileTime};

flags! {
    /// Flags of CLOSE.
    pub struct CloseFlags: u16 {
        /// The response shall carry the attributes.
        POSTQUERY_ATTRIB = 0x0001,
    }
}

/// CLOSE request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseRequest {
    /// Whether attributes are wanted.
    pub flags: CloseFlags,
    /// The open.
    pub file_id: FileId,
}

impl<'a> Codec<'a> for CloseRequest {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(24)?;
        let flags = CloseFlags(r.u16()?);
        r.skip(4)?;
        Ok(Self {
            flags,
            file_id: FileId::decode(&mut r)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(24);
        out.put_u16(self.flags.bits());
        out.put_u32(0);
        self.file_id.encode(out);
    }
}

/// CLOSE response; all zero but the flags when attributes were not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CloseResponse {
    /// Set when the other fields count.
    pub flags: CloseFlags,
    /// CreationTime.
    pub created: FileTime,
    /// LastAccessTime.
    pub accessed: FileTime,
    /// LastWriteTime.
    pub written: FileTime,
    /// ChangeTime.
    pub changed: FileTime,
    /// Bytes allocated.
    pub allocation_size: u64,
    /// Bytes of data.
    pub end_of_file: u64,
    /// FileAttributes.
    pub file_attributes: u32,
}

impl<'a> Codec<'a> for CloseResponse {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(60)?;
        let flags = CloseFlags(r.u16()?);
        r.skip(4)?;
        Ok(Self {
            flags,
            created: FileTime::decode(&mut r)?,
            accessed: FileTime::decode(&mut r)?,
            written: FileTime::decode(&mut r)?,
            changed: FileTime::decode(&mut r)?,
            allocation_size: r.u64()?,
            end_of_file: r.u64()?,
            file_attributes: r.u32()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(60);
        out.put_u16(self.flags.bits());
        out.put_u32(0);
        for time in [self.created, self.accessed, self.written, self.changed] {
            time.encode(out);
        }
        out.put_u64(self.allocation_size);
        out.put_u64(self.end_of_file);
        out.put_u32(self.file_attributes);
    }
}

/// FLUSH request. The response is [`super::simple::Empty`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushRequest {
    /// 0xFFFF asks for a full flush of the disk's cache (Apple's `kAAPL` extensions).
    pub reserved1: u16,
    /// The open.
    pub file_id: FileId,
}

impl<'a> Codec<'a> for FlushRequest {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(24)?;
        let reserved1 = r.u16()?;
        r.skip(4)?;
        Ok(Self {
            reserved1,
            file_id: FileId::decode(&mut r)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(24);
        out.put_u16(self.reserved1);
        out.put_u32(0);
        self.file_id.encode(out);
    }
}
