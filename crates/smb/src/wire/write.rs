//! WRITE (MS-SMB2 2.2.21, 2.2.22).

use super::codec::{Codec, Put, Reader, WireError, body_field, header_offset16, len16, len32};
use super::types::FileId;

flags! {
    /// Flags of WRITE.
    pub struct WriteFlags: u32 {
        WRITE_THROUGH = 0x1,
        UNBUFFERED = 0x2,
    }
}

const REQUEST_FIXED: usize = 48;

/// WRITE request; the payload stays in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteRequest<'a> {
    /// First byte.
    pub offset: u64,
    /// The open.
    pub file_id: FileId,
    /// 0: none; 1, 2: RDMA.
    pub channel: u32,
    /// A hint, or with RDMA the length.
    pub remaining_bytes: u32,
    /// Of the RDMA channel.
    pub channel_info: &'a [u8],
    /// Write-through.
    pub flags: WriteFlags,
    /// The payload.
    pub data: &'a [u8],
}

impl<'a> Codec<'a> for WriteRequest<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(49)?;
        let data_offset = r.u16()?;
        let (len, offset) = (r.u32()?, r.u64()?);
        let file_id = FileId::decode(&mut r)?;
        let (channel, remaining_bytes) = (r.u32()?, r.u32()?);
        let (info_offset, info_len) = (r.u16()?, r.u16()?);
        let flags = WriteFlags(r.u32()?);
        Ok(Self {
            offset,
            file_id,
            channel,
            remaining_bytes,
            channel_info: body_field(body, REQUEST_FIXED, info_offset.into(), info_len.into())?,
            flags,
            data: body_field(body, REQUEST_FIXED, data_offset.into(), len)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let data_at = REQUEST_FIXED.saturating_add(self.channel_info.len());
        let no_info = self.channel_info.is_empty();
        out.put_u16(49);
        out.put_u16(header_offset16(data_at));
        out.put_u32(len32(self.data.len()));
        out.put_u64(self.offset);
        self.file_id.encode(out);
        out.put_u32(self.channel);
        out.put_u32(self.remaining_bytes);
        out.put_u16(if no_info {
            0
        } else {
            header_offset16(REQUEST_FIXED)
        });
        out.put_u16(len16(self.channel_info.len()));
        out.put_u32(self.flags.bits());
        out.put(self.channel_info);
        out.put(self.data);
    }
}

/// WRITE response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteResponse {
    /// Bytes written.
    pub count: u32,
}

impl<'a> Codec<'a> for WriteResponse {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(17)?;
        r.skip(2)?;
        let count = r.u32()?;
        r.skip(8)?;
        Ok(Self { count })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(17);
        out.put_u16(0);
        out.put_u32(self.count);
        out.put_zeros(8);
    }
}
