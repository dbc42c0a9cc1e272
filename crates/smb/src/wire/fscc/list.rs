//! Lists whose elements begin with NextEntryOffset.

use crate::wire::codec::{Put, Reader, WireError, len32, padding};

/// Appends the elements of one list, as many as fit into the client's buffer.
///
/// Each element begins aligned, counted from the list's start; the last is not padded and has
/// NextEntryOffset zero.
#[derive(Debug)]
pub struct ListWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    end: usize,
    align: usize,
    last: Option<usize>,
}

impl<'o> ListWriter<'o> {
    /// A list at the end of `out`, at most `max` bytes long. `align` is a power of two.
    pub fn new(out: &'o mut Vec<u8>, max: usize, align: usize) -> Self {
        let start = out.len();
        Self {
            out,
            start,
            end: start.saturating_add(max),
            align,
            last: None,
        }
    }

    /// Appends one element of `len` bytes, its first four NextEntryOffset, which `fill` must write
    /// as zero. Does nothing and returns false when there is no room.
    pub fn push(&mut self, len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let gap = if self.last.is_some() {
            padding(self.used(), self.align)
        } else {
            0
        };
        let begin = self.out.len().saturating_add(gap);
        if begin.saturating_add(len) > self.end {
            return false;
        }
        if let Some(last) = self.last {
            self.out.put_zeros(gap);
            self.out.patch_u32(last, len32(begin.saturating_sub(last)));
        }
        fill(self.out);
        debug_assert_eq!(
            self.out.since(begin),
            len,
            "an element has the length it announced"
        );
        self.last = Some(begin);
        true
    }

    /// Bytes of the list up to now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.out.since(self.start)
    }

    /// Whether nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }
}

/// Walks over the elements of a list. After an error it ends.
#[derive(Debug, Clone)]
pub struct ListReader<'a> {
    rest: &'a [u8],
    align: usize,
}

impl<'a> ListReader<'a> {
    /// The list in `bytes`; elements must begin at multiples of `align`, a power of two.
    #[must_use]
    pub const fn new(bytes: &'a [u8], align: usize) -> Self {
        Self { rest: bytes, align }
    }

    fn step(&mut self) -> Result<&'a [u8], WireError> {
        let bytes = core::mem::take(&mut self.rest);
        let next = usize::try_from(Reader::new(bytes).u32()?).map_err(|_| WireError::Bounds)?;
        if next == 0 {
            return Ok(bytes);
        }
        if !next.is_multiple_of(self.align) || next < 4 || next >= bytes.len() {
            return Err(WireError::Invalid("a NextEntryOffset is malformed"));
        }
        let (element, rest) = bytes.split_at_checked(next).ok_or(WireError::Bounds)?;
        self.rest = rest;
        Ok(element)
    }
}

impl<'a> Iterator for ListReader<'a> {
    type Item = Result<&'a [u8], WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            None
        } else {
            Some(self.step())
        }
    }
}
