//! QUERY_DIRECTORY (MS-SMB2 2.2.33, 2.2.34).

use super::codec::{Codec, Put, Reader, WireError, body_field, header_offset16, len16};
use super::info::FileInfoClass;
use super::types::FileId;
use super::utf16::Utf16;

flags! {
    /// Flags of the request.
    pub struct QueryDirectoryFlags: u8 {
        RESTART_SCANS = 0x01,
        RETURN_SINGLE_ENTRY = 0x02,
        INDEX_SPECIFIED = 0x04,
        REOPEN = 0x10,
    }
}

const FIXED: usize = 32;

/// QUERY_DIRECTORY request. The response is [`super::info::Buffer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryDirectoryRequest<'a> {
    /// A directory class.
    pub class: FileInfoClass,
    /// Where to begin, how many.
    pub flags: QueryDirectoryFlags,
    /// Only with `INDEX_SPECIFIED`.
    pub file_index: u32,
    /// The open directory.
    pub file_id: FileId,
    /// The pattern; empty counts as `*`.
    pub pattern: Utf16<'a>,
    /// Room at the client.
    pub output_buffer_length: u32,
}

impl<'a> Codec<'a> for QueryDirectoryRequest<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(33)?;
        let class = FileInfoClass::from_wire(r.u8()?);
        let flags = QueryDirectoryFlags(r.u8()?);
        let file_index = r.u32()?;
        let file_id = FileId::decode(&mut r)?;
        let (offset, len) = (r.u16()?, r.u16()?);
        let output_buffer_length = r.u32()?;
        let pattern = Utf16::from_bytes(body_field(body, FIXED, offset.into(), len.into())?)?;
        Ok(Self {
            class,
            flags,
            file_index,
            file_id,
            pattern,
            output_buffer_length,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(33);
        out.put_u8(self.class.to_wire());
        out.put_u8(self.flags.bits());
        out.put_u32(self.file_index);
        self.file_id.encode(out);
        out.put_u16(header_offset16(FIXED));
        out.put_u16(len16(self.pattern.len()));
        out.put_u32(self.output_buffer_length);
        out.put(self.pattern.as_bytes());
    }
}
