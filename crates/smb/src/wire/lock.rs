//! LOCK (MS-SMB2 2.2.26). The response is [`super::simple::Empty`].

use super::codec::{Codec, Put, Reader, WireError, len16};
use super::types::FileId;

flags! {
    /// Flags of one lock element.
    pub struct LockFlags: u32 {
        SHARED = 0x01,
        EXCLUSIVE = 0x02,
        UNLOCK = 0x04,
        FAIL_IMMEDIATELY = 0x10,
    }
}

const ELEMENT: usize = 24;

/// SMB2_LOCK_ELEMENT (MS-SMB2 2.2.26.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockElement {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Kind.
    pub flags: LockFlags,
}

/// LOCK request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRequest {
    /// LockSequenceNumber, 4 bits, for replay of durable opens.
    pub sequence_number: u8,
    /// LockSequenceIndex, 28 bits.
    pub sequence_index: u32,
    /// The open.
    pub file_id: FileId,
    /// At least one; all locks or all unlocks, which the server checks.
    pub locks: Vec<LockElement>,
}

impl<'a> Codec<'a> for LockRequest {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(48)?;
        let count = usize::from(r.u16()?);
        let sequence = r.u32()?;
        let [low, ..] = sequence.to_le_bytes();
        let file_id = FileId::decode(&mut r)?;
        if count == 0 {
            return Err(WireError::Invalid("a LOCK without a lock"));
        }
        let mut elements = Reader::new(r.take(count.saturating_mul(ELEMENT))?);
        let mut locks = Vec::with_capacity(count);
        while elements.left() != 0 {
            locks.push(decode_element(&mut elements)?);
        }
        Ok(Self {
            sequence_number: low & 0x0F,
            sequence_index: sequence >> 4,
            file_id,
            locks,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(48);
        out.put_u16(len16(self.locks.len()));
        out.put_u32((self.sequence_index << 4) | u32::from(self.sequence_number & 0x0F));
        self.file_id.encode(out);
        for lock in &self.locks {
            out.put_u64(lock.offset);
            out.put_u64(lock.length);
            out.put_u32(lock.flags.bits());
            out.put_u32(0);
        }
    }
}

fn decode_element(r: &mut Reader<'_>) -> Result<LockElement, WireError> {
    let (offset, length) = (r.u64()?, r.u64()?);
    let flags = LockFlags(r.u32()?);
    r.skip(4)?;
    Ok(LockElement {
        offset,
        length,
        flags,
    })
}
