//! FileStreamInformation and FileHardLinkInformation (MS-FSCC 2.4.44, 2.4.22).

use super::list::{ListReader, ListWriter};
use crate::wire::codec::{Put, Reader, WireError, len32};
use crate::wire::utf16::{put_utf16, utf16_len, utf16_to_string};

/// One stream of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// As `:name:$DATA`; the unnamed stream is `::$DATA`.
    pub name: String,
    /// Bytes of data.
    pub size: u64,
    /// Bytes allocated.
    pub allocation_size: u64,
}

impl StreamEntry {
    /// Appends this entry to a list that is aligned to 8; false when there is no room.
    pub fn push(&self, list: &mut ListWriter<'_>) -> bool {
        let name = utf16_len(&self.name);
        list.push(name.saturating_add(24), |out| {
            out.put_u32(0);
            out.put_u32(len32(name));
            out.put_u64(self.size);
            out.put_u64(self.allocation_size);
            put_utf16(&self.name, out);
        })
    }

    /// The entries in `bytes`.
    ///
    /// # Errors
    /// A malformed list.
    pub fn decode_list(bytes: &[u8]) -> Result<Vec<Self>, WireError> {
        ListReader::new(bytes, 8)
            .map(|element| Self::decode(element?))
            .collect()
    }

    fn decode(element: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(element);
        r.skip(4)?;
        let (len, size, allocation_size) = (r.u32()?, r.u64()?, r.u64()?);
        Ok(Self {
            name: utf16_to_string(r.take_u32(len)?),
            size,
            allocation_size,
        })
    }
}

/// One link of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkEntry {
    /// The directory.
    pub parent: u64,
    /// The name therein.
    pub name: String,
}

impl LinkEntry {
    fn len(&self) -> usize {
        utf16_len(&self.name).saturating_add(20)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(0);
        // The diagram of 2.4.22.1 leaves out these four bytes; Windows sends its structure with the
        // alignment of the 64-bit field.
        out.put_u32(0);
        out.put_u64(self.parent);
        // FileNameLength counts characters here, alone among all classes.
        out.put_u32(len32(utf16_len(&self.name) / 2));
        put_utf16(&self.name, out);
    }

    fn decode(element: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(element);
        r.skip(8)?;
        let parent = r.u64()?;
        let len = r.u32()?.checked_mul(2).ok_or(WireError::Bounds)?;
        Ok(Self {
            parent,
            name: utf16_to_string(r.take_u32(len)?),
        })
    }
}

/// FileHardLinkInformation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardLinkInfo {
    /// All links, whether or not they fit.
    pub links: Vec<LinkEntry>,
}

impl HardLinkInfo {
    /// Appends as many links as fit into `max` bytes, at least 8; false when some did not.
    pub fn encode(&self, max: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.put_zeros(8);
        let mut list = ListWriter::new(out, max.saturating_sub(8), 8);
        let fitting = self
            .links
            .iter()
            .take_while(|link| list.push(link.len(), |out| link.encode(out)));
        let count = fitting.count();
        out.patch_u32(start, len32(self.needed()));
        out.patch_u32(start.saturating_add(4), len32(count));
        count == self.links.len()
    }

    /// BytesNeeded: the whole answer's length.
    fn needed(&self) -> usize {
        self.links.iter().fold(8usize, |sum, link| {
            sum.next_multiple_of(8).saturating_add(link.len())
        })
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// A malformed list.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.skip(8)?;
        let list = ListReader::new(r.rest(), 8);
        Ok(Self {
            links: list
                .map(|element| LinkEntry::decode(element?))
                .collect::<Result<_, _>>()?,
        })
    }
}
