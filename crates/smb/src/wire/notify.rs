//! CHANGE_NOTIFY (MS-SMB2 2.2.35). The response is [`super::info::Buffer`] around
//! FILE_NOTIFY_INFORMATION.

use super::codec::{Codec, Put, Reader, WireError};
use super::types::FileId;

flags! {
    /// Flags of the request.
    pub struct NotifyFlags: u16 {
        WATCH_TREE = 0x0001,
    }
}

flags! {
    /// CompletionFilter.
    pub struct CompletionFilter: u32 {
        FILE_NAME = 0x0001,
        DIR_NAME = 0x0002,
        ATTRIBUTES = 0x0004,
        SIZE = 0x0008,
        LAST_WRITE = 0x0010,
        LAST_ACCESS = 0x0020,
        CREATION = 0x0040,
        EA = 0x0080,
        SECURITY = 0x0100,
        STREAM_NAME = 0x0200,
        STREAM_SIZE = 0x0400,
        STREAM_WRITE = 0x0800,
    }
}

/// CHANGE_NOTIFY request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeNotifyRequest {
    /// Whether the whole tree is watched.
    pub flags: NotifyFlags,
    /// Room at the client.
    pub output_buffer_length: u32,
    /// The open directory.
    pub file_id: FileId,
    /// What is watched.
    pub filter: CompletionFilter,
}

impl<'a> Codec<'a> for ChangeNotifyRequest {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(32)?;
        let flags = NotifyFlags(r.u16()?);
        let output_buffer_length = r.u32()?;
        let file_id = FileId::decode(&mut r)?;
        let filter = CompletionFilter(r.u32()?);
        r.skip(4)?;
        Ok(Self {
            flags,
            output_buffer_length,
            file_id,
            filter,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(32);
        out.put_u16(self.flags.bits());
        out.put_u32(self.output_buffer_length);
        self.file_id.encode(out);
        out.put_u32(self.filter.bits());
        out.put_u32(0);
    }
}
