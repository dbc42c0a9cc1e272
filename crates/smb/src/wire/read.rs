//! READ (MS-SMB2 2.2.19, 2.2.20).

use super::codec::{Codec, Put, Reader, WireError, body_field, header_offset16, len16, len32};
use super::header::HEADER_LEN;
use super::types::FileId;

flags! {
    /// Flags of READ (dialects 3.0.2 and 3.1.1).
    pub struct ReadFlags: u8 {
        UNBUFFERED = 0x01,
        COMPRESSED = 0x02,
    }
}

const REQUEST_FIXED: usize = 48;
/// Length of a READ response before its payload.
pub const READ_RESPONSE_FIXED: usize = 16;

/// READ request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest<'a> {
    /// Where the client would like the payload, from the response's header; may be ignored.
    pub padding: u8,
    /// Unbuffered, compressed.
    pub flags: ReadFlags,
    /// Bytes to read.
    pub length: u32,
    /// First byte.
    pub offset: u64,
    /// The open.
    pub file_id: FileId,
    /// Fewer bytes than this at the end of the file are an error.
    pub minimum_count: u32,
    /// 0: none; 1, 2: RDMA.
    pub channel: u32,
    /// A hint.
    pub remaining_bytes: u32,
    /// Of the RDMA channel.
    pub channel_info: &'a [u8],
}

impl<'a> Codec<'a> for ReadRequest<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(49)?;
        let (padding, flags) = (r.u8()?, ReadFlags(r.u8()?));
        let (length, offset) = (r.u32()?, r.u64()?);
        let file_id = FileId::decode(&mut r)?;
        let (minimum_count, channel, remaining_bytes) = (r.u32()?, r.u32()?, r.u32()?);
        let (at, len) = (r.u16()?, r.u16()?);
        Ok(Self {
            padding,
            flags,
            length,
            offset,
            file_id,
            minimum_count,
            channel,
            remaining_bytes,
            channel_info: body_field(body, REQUEST_FIXED, at.into(), len.into())?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(49);
        out.put_u8(self.padding);
        out.put_u8(self.flags.bits());
        out.put_u32(self.length);
        out.put_u64(self.offset);
        self.file_id.encode(out);
        out.put_u32(self.minimum_count);
        out.put_u32(self.channel);
        out.put_u32(self.remaining_bytes);
        let empty = self.channel_info.is_empty();
        out.put_u16(if empty {
            0
        } else {
            header_offset16(REQUEST_FIXED)
        });
        out.put_u16(len16(self.channel_info.len()));
        out.put(self.channel_info);
        if empty {
            out.put_u8(0);
        }
    }
}

/// READ response with its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadResponse<'a> {
    /// Bytes that RDMA carried.
    pub data_remaining: u32,
    /// What was read.
    pub data: &'a [u8],
}

impl ReadResponse<'_> {
    /// The 16 bytes between the header and a payload of `data_len` bytes that directly follows.
    #[must_use]
    pub fn fixed(data_len: u32) -> [u8; READ_RESPONSE_FIXED] {
        const OFFSET: u8 = 80;
        const { assert!(OFFSET as usize == HEADER_LEN + READ_RESPONSE_FIXED) };
        let [a, b, c, d] = data_len.to_le_bytes();
        [17, 0, OFFSET, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
    }
}

impl<'a> Codec<'a> for ReadResponse<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(17)?;
        let offset = r.u8()?;
        r.skip(1)?;
        let (len, data_remaining) = (r.u32()?, r.u32()?);
        r.skip(4)?;
        let data = body_field(body, READ_RESPONSE_FIXED, offset.into(), len)?;
        Ok(Self {
            data_remaining,
            data,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put(&Self::fixed(len32(self.data.len())));
        out.patch_u32(start.saturating_add(8), self.data_remaining);
        out.put(self.data);
    }
}

/// Room for a payload in a READ response that is being laid out in `out`.
///
/// ```text
/// let slot = ReadSlot::begin(&mut out);    // out ends with the SMB2 header
/// out.put_zeros(length);
/// let count = file.read(offset, slot.payload(&mut out))?;
/// slot.finish(&mut out, count);
/// ```
#[derive(Debug)]
#[must_use = "a slot must be finished"]
pub struct ReadSlot {
    start: usize,
}

impl ReadSlot {
    /// Appends the fixed part. The caller appends room for the payload.
    pub fn begin(out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.put(&ReadResponse::fixed(0));
        Self { start }
    }

    /// The room: all behind the fixed part.
    pub fn payload<'a>(&self, out: &'a mut [u8]) -> &'a mut [u8] {
        out.get_mut(self.payload_start()..).unwrap_or_default()
    }

    /// Cuts the payload to the `count` bytes that were read and notes their number.
    ///
    /// # Panics
    /// When `count` is more than was reserved.
    pub fn finish(self, out: &mut Vec<u8>, count: usize) {
        let end = self.payload_start().saturating_add(count);
        assert!(end <= out.len(), "no more was read than there was room for");
        out.truncate(end);
        out.patch_u32(self.start.saturating_add(4), len32(count));
    }

    /// Takes the response back, so that an error can be appended instead.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }

    fn payload_start(&self) -> usize {
        self.start.saturating_add(READ_RESPONSE_FIXED)
    }
}
