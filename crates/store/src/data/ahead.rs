//! Who reads a file from front to back finds it in memory: what follows is asked for while earlier bytes are on their way.

use parking_lot::Mutex;

use crate::engine::Engine;
use crate::{ObjectId, Result, View};

/// Bytes asked for beyond where a reader is, and at least how many at a time.
const WINDOW: u64 = 8 << 20;
const STEP: u64 = 4 << 20;
/// Readers that are followed at once; of two that meet in one slot neither is helped.
const SLOTS: usize = 256;
/// Reads that go forward before it is believed.
const RUN: u32 = 2;

/// Who reads forward.
#[derive(Debug)]
pub(crate) struct Streams(Box<[Mutex<Stream>]>);

#[derive(Debug, Default, Clone, Copy)]
struct Stream {
    object: Option<ObjectId>,
    /// The end of what was read.
    next: u64,
    /// Reads that went forward.
    run: u32,
    /// The end of what was asked for.
    ahead: u64,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| Mutex::default()).collect())
    }

    /// Notes a read, and says what to ask for now.
    fn note(&self, object: ObjectId, offset: u64, end: u64) -> Option<(u64, u64)> {
        let mixed = object.inode.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let slot = usize::try_from(mixed >> 32).unwrap_or(0) % SLOTS;
        // Another reader's note is as good.
        self.0.get(slot)?.try_lock()?.note(object, offset, end)
    }
}

impl Stream {
    fn note(&mut self, object: ObjectId, offset: u64, end: u64) -> Option<(u64, u64)> {
        // Requests that a client has in flight together come in about their order.
        let near = self.next.saturating_sub(WINDOW)..=self.next.saturating_add(WINDOW);
        if self.object != Some(object) || !near.contains(&offset) {
            *self = Self {
                object: Some(object),
                next: end,
                run: 0,
                ahead: end,
            };
            return None;
        }
        if end <= self.next {
            return None;
        }
        (self.next, self.run) = (end, self.run.saturating_add(1));
        self.ahead = self.ahead.max(end);
        let wanted = end.saturating_add(WINDOW);
        if self.run < RUN || wanted < self.ahead.saturating_add(STEP) {
            return None;
        }
        let from = std::mem::replace(&mut self.ahead, wanted);
        Some((from, wanted))
    }
}

impl Engine {
    /// To be told of each read that found something.
    pub(super) fn read_on(&self, view: &View, id: ObjectId, offset: u64, len: usize) {
        let Some((start, end)) = self.streams.note(id, offset, offset + len as u64) else {
            return;
        };
        if let Err(error) = self.ask_for(view, id, start, end) {
            // Whoever reads it meets the same, and says so.
            tracing::debug!(%error, "no reading ahead");
        }
    }

    fn ask_for(&self, view: &View, id: ObjectId, start: u64, end: u64) -> Result<()> {
        let (rows, pin) = self.extent_rows(view, id, start, end)?;
        for (at, row) in rows {
            let inside = |offset: u64| u32::try_from(offset.saturating_sub(at)).unwrap_or(u32::MAX);
            let bytes = match row.packing {
                Some(packing) => 0..packing.stored,
                None => row.start + inside(start)..row.start + inside(end).min(row.len),
            };
            self.pool
                .read_ahead(self.locate(&*pin, row.address)?, bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Inode;

    const MIB: u64 = 1 << 20;

    fn object(inode: u64) -> ObjectId {
        ObjectId::data(Inode(inode))
    }

    #[test]
    fn what_follows_a_reader_is_asked_for_once_and_in_time() {
        let streams = Streams::new();
        let mut asked = Vec::new();
        for n in 0..64 {
            let read = (n * MIB, (n + 1) * MIB);
            asked.extend(streams.note(object(7), read.0, read.1));
            let reached = asked.last().map_or(0, |(_, end)| *end);
            assert!(n < 3 || reached >= read.1 + WINDOW - STEP, "at {n}");
        }
        for pair in asked.windows(2) {
            assert_eq!(pair[0].1, pair[1].0, "{asked:?}");
            assert!(pair[1].1 - pair[1].0 >= STEP);
        }
    }

    #[test]
    fn requests_that_overtake_each_other_are_one_reader() {
        let streams = Streams::new();
        let mut asked = 0;
        for n in 0..64_u64 {
            let at = (n ^ 3) * MIB;
            asked += u64::from(streams.note(object(7), at, at + MIB).is_some());
        }
        assert!(asked > 10, "{asked}");
    }

    #[test]
    fn who_reads_here_and_there_or_one_file_after_the_other_causes_nothing() {
        let streams = Streams::new();
        let mut at: u64 = 1;
        for inode in 0..2_000 {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let offset = (at >> 20) % (1 << 40);
            assert_eq!(streams.note(object(7), offset, offset + 4096), None);
            assert_eq!(streams.note(object(1_000 + inode), 0, MIB), None);
        }
    }
}
