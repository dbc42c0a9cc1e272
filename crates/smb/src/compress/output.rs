//! Decompressed bytes: never more than were announced.

use super::{CompressError, Result};

/// Appends to a buffer, up to a length.
#[derive(Debug)]
pub(super) struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    /// Where this piece begins: matches do not reach before it.
    start: usize,
    end: usize,
}

impl<'a> Output<'a> {
    /// Room for `len` bytes behind those that are there.
    pub(super) fn new(bytes: &'a mut Vec<u8>, len: usize) -> Self {
        let start = bytes.len();
        let end = start.saturating_add(len);
        Self { bytes, start, end }
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.start)
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= self.end
    }

    fn check(&self, len: usize) -> Result<()> {
        let room = self.end.saturating_sub(self.bytes.len());
        if len > room {
            return Err(CompressError::TooLarge);
        }
        Ok(())
    }

    pub(super) fn push(&mut self, byte: u8) -> Result<()> {
        self.check(1)?;
        self.bytes.push(byte);
        Ok(())
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<()> {
        self.check(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Lets `decode` write into all the room that is left, and wants it to say that it wrote that much.
    pub(super) fn fill(&mut self, decode: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<()> {
        let begin = self.bytes.len();
        self.bytes.resize(self.end.max(begin), 0);
        let room = self.bytes.get_mut(begin..).unwrap_or_default();
        let wanted = room.len();
        match decode(room) {
            Ok(len) if len == wanted => Ok(()),
            Ok(_) => Err(CompressError::Short),
            Err(error) => Err(error),
        }
    }

    pub(super) fn repeat(&mut self, byte: u8, times: usize) -> Result<()> {
        self.check(times)?;
        let len = self.bytes.len().saturating_add(times);
        self.bytes.resize(len, byte);
        Ok(())
    }

    /// Repeats `len` bytes from `distance` before the end; the two may overlap.
    pub(super) fn copy(&mut self, distance: usize, len: usize) -> Result<()> {
        if distance == 0 || distance > self.len() {
            return Err(CompressError::Reach);
        }
        self.check(len)?;
        let from = self.bytes.len().saturating_sub(distance);
        let mut left = len;
        // What is there doubles with each round, so even a distance of one is few copies.
        while left > 0 {
            let now = left.min(self.bytes.len().saturating_sub(from));
            self.bytes
                .extend_from_within(from..from.saturating_add(now));
            left = left.saturating_sub(now);
        }
        Ok(())
    }
}
