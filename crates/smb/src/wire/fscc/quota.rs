//! Quotas of users (MS-FSCC 2.4.41, MS-SMB2 2.2.37.1).

use super::list::{ListReader, ListWriter};
use crate::wire::codec::{Codec, Put, Reader, WireError, len32, slice_at};
use crate::wire::types::FileTime;

/// FILE_QUOTA_INFORMATION: one user's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaEntry<'a> {
    /// Last change of the quota.
    pub changed: FileTime,
    /// Bytes used.
    pub used: u64,
    /// Bytes from which on a warning is due; all ones for none.
    pub threshold: u64,
    /// Bytes allowed; all ones for no limit.
    pub limit: u64,
    /// The user's SID in its binary form.
    pub sid: &'a [u8],
}

impl<'a> QuotaEntry<'a> {
    /// Appends this entry to a list that is aligned to 8; false when there is no room.
    pub fn push(&self, list: &mut ListWriter<'_>) -> bool {
        list.push(self.sid.len().saturating_add(40), |out| {
            out.put_u32(0);
            out.put_u32(len32(self.sid.len()));
            self.changed.encode(out);
            out.put_u64(self.used);
            out.put_u64(self.threshold);
            out.put_u64(self.limit);
            out.put(self.sid);
        })
    }

    /// The entries in `bytes`.
    ///
    /// # Errors
    /// A malformed list.
    pub fn decode_list(bytes: &'a [u8]) -> Result<Vec<Self>, WireError> {
        ListReader::new(bytes, 8)
            .map(|element| Self::decode(element?))
            .collect()
    }

    fn decode(element: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(element);
        r.skip(4)?;
        let len = r.u32()?;
        Ok(Self {
            changed: FileTime::decode(&mut r)?,
            used: r.u64()?,
            threshold: r.u64()?,
            limit: r.u64()?,
            sid: r.take_u32(len)?,
        })
    }
}

/// SMB2_QUERY_QUOTA_INFO, the input of a query for quotas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryQuotaInfo<'a> {
    /// Only one entry.
    pub return_single: bool,
    /// From the first on.
    pub restart_scan: bool,
    /// These users only, when there are any.
    pub sids: Vec<&'a [u8]>,
    /// Where to begin.
    pub start_sid: &'a [u8],
}

impl<'a> Codec<'a> for QueryQuotaInfo<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let (return_single, restart_scan) = (r.u8()? != 0, r.u8()? != 0);
        r.skip(2)?;
        let (list_len, start_len, start_offset) = (r.u32()?, r.u32()?, r.u32()?);
        let buffer = r.rest();
        let to_usize = |n| usize::try_from(n).map_err(|_| WireError::Bounds);
        let list = slice_at(buffer, 0, to_usize(list_len)?)?;
        let start_sid = slice_at(buffer, to_usize(start_offset)?, to_usize(start_len)?)?;
        let sids = ListReader::new(list, 4).map(|element| get_quota_sid(element?));
        Ok(Self {
            return_single,
            restart_scan,
            sids: sids.collect::<Result<_, _>>()?,
            start_sid,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut buffer = Vec::new();
        let mut list = ListWriter::new(&mut buffer, usize::MAX, 4);
        for sid in &self.sids {
            list.push(sid.len().saturating_add(8), |out| {
                out.put_u32(0);
                out.put_u32(len32(sid.len()));
                out.put(sid);
            });
        }
        out.put_u8(u8::from(self.return_single));
        out.put_u8(u8::from(self.restart_scan));
        out.put_u16(0);
        out.put_u32(len32(buffer.len()));
        out.put_u32(len32(self.start_sid.len()));
        out.put_u32(len32(buffer.len()));
        out.put(&buffer);
        out.put(self.start_sid);
    }
}

/// FILE_GET_QUOTA_INFORMATION (MS-FSCC 2.4.41.1).
fn get_quota_sid(element: &[u8]) -> Result<&[u8], WireError> {
    let mut r = Reader::new(element);
    r.skip(4)?;
    let len = r.u32()?;
    r.take_u32(len)
}
