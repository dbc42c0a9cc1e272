//! Where a listing of a directory stands between QUERY_DIRECTORY requests (MS-SMB2 3.3.5.18).

use std::collections::VecDeque;

use strongroom_vfs::{DirCursor, DirEntry, Handle, Vfs};

use super::status::Failure;

/// Entries fetched at once, at least and at most.
const BATCH: std::ops::RangeInclusive<usize> = 16..=1024;
/// A guess of what one entry takes in an answer.
const ENTRY_BYTES: usize = 128;

/// An enumeration under way. The first request fixes the pattern.
#[derive(Debug)]
pub(crate) struct Listing {
    pattern: String,
    cursor: DirCursor,
    /// Fetched and not given out yet.
    waiting: VecDeque<DirEntry>,
    /// The directory's version before they were fetched.
    version: u64,
    /// The last entry that was given out.
    last: Option<String>,
    /// Nothing is left to fetch.
    ended: bool,
    /// At least one entry was given out.
    pub(crate) matched: bool,
}

impl Listing {
    pub(crate) fn new(pattern: String) -> Self {
        let (cursor, waiting) = (DirCursor::default(), VecDeque::new());
        Self {
            pattern,
            cursor,
            waiting,
            version: 0,
            last: None,
            ended: false,
            matched: false,
        }
    }

    /// Begins anew with the same pattern.
    pub(crate) fn restart(&mut self) {
        *self = Self::new(std::mem::take(&mut self.pattern));
    }

    /// What the last request left over is looked up anew if names have come or gone since: what is told is there.
    pub(crate) fn resume(&mut self, vfs: &Vfs, handle: &Handle) -> Result<(), Failure> {
        if self.waiting.is_empty() || vfs.stat(handle)?.version == self.version {
            return Ok(());
        }
        self.waiting.clear();
        self.ended = false;
        let last = self.last.as_deref();
        self.cursor = last.map_or_else(DirCursor::default, DirCursor::behind);
        Ok(())
    }

    /// The next entry, which stays the next until [`Listing::advance`]. `room` is what the client still takes.
    pub(crate) fn peek(
        &mut self,
        vfs: &Vfs,
        handle: &Handle,
        room: usize,
    ) -> Result<Option<&DirEntry>, Failure> {
        if self.waiting.is_empty() && !self.ended {
            let count = (room / ENTRY_BYTES).clamp(*BATCH.start(), *BATCH.end());
            self.version = vfs.stat(handle)?.version;
            let batch = vfs.list(handle, &mut self.cursor, &self.pattern, count)?;
            self.ended = batch.is_empty();
            self.waiting = batch.into();
        }
        Ok(self.waiting.front())
    }

    pub(crate) fn advance(&mut self) {
        if let Some(entry) = self.waiting.pop_front() {
            self.matched = true;
            self.last = Some(entry.name);
        }
    }
}
