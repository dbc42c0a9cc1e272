//! Writing: changes gather in memory and become durable together.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::records::{RecordHead, encode_changes, encode_checkpoint};
use super::seals::{NO_SEAL, PageSeal, SEAL_LEN, seal_page};
use super::sums::{PAGES_MAX, sum_of};
use super::{PAGE, PAGE_U64, PageStore, Pending, SPILL_PAGES, Stage, Written};
use crate::{Result, StoreError};

/// Bytes of records after which a new checkpoint is due, at least.
const RECORDS_MIN: u64 = 1 << 20;
/// Pages in one write.
const RUN_PAGES: usize = 256;
/// The part of redb's header that says which of its two commit slots counts. While it is unchanged, a sync only orders
/// writes before the change of it that follows, and that change's own sync makes both durable.
const HEADER_FRONT: usize = 64;

impl PageStore {
    pub(super) fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut written = self.written.lock();
        self.current()?;
        if offset == 0 && data.len() <= PAGE {
            write_first(&mut written.first, data);
            return Ok(());
        }
        assert!(offset.is_multiple_of(PAGE_U64) && data.len().is_multiple_of(PAGE));
        for (chunk, page) in data.chunks_exact(PAGE).zip(offset / PAGE_U64..) {
            if page == 0 {
                write_first(&mut written.first, chunk);
            } else {
                self.stage(page, chunk);
            }
        }
        if self.buffered_pages.load(Ordering::Relaxed) >= SPILL_PAGES {
            self.write_out(&mut written)?;
        }
        Ok(())
    }

    fn stage(&self, page: u64, chunk: &[u8]) {
        let mut data: Arc<[u8]> = Arc::from(chunk);
        let mut seal = NO_SEAL;
        if let (Some(cipher), Some(bytes)) = (&self.cipher, Arc::get_mut(&mut data)) {
            seal = seal_page(cipher, page, bytes);
        }
        let pending = Pending {
            sum: sum_of(&data),
            seal,
            data: Some(data),
        };
        let replaced = self.shard(page).write().insert(page, pending);
        if replaced.is_none() {
            self.pending_pages.fetch_add(1, Ordering::Release);
        }
        if replaced.is_none_or(|replaced| replaced.data.is_none()) {
            self.buffered_pages.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sets the length. Pages above a shorter length are forgotten: grown again they read as zeroes.
    pub(super) fn set_len(&self, len: u64) -> Result<()> {
        let mut written = self.written.lock();
        self.current()?;
        let pages = len.div_ceil(PAGE_U64);
        if pages > PAGES_MAX {
            return Err(StoreError::NoSpace);
        }
        if len < written.len {
            self.forget_from(pages);
            self.sums.clear(pages, written.len.div_ceil(PAGE_U64));
            written.kept = written.kept.min(pages);
        }
        written.len = len;
        self.len.store(len, Ordering::Release);
        Ok(())
    }

    fn forget_from(&self, pages: u64) {
        for shard in &self.pending {
            shard.write().retain(|page, pending| {
                let keep = *page < pages;
                if !keep {
                    self.pending_pages.fetch_sub(1, Ordering::Release);
                    self.buffered_pages
                        .fetch_sub(usize::from(pending.data.is_some()), Ordering::Relaxed);
                }
                keep
            });
        }
    }

    /// Makes everything written so far durable on every copy, all of it or nothing.
    pub(super) fn sync(&self) -> Result<()> {
        let mut written = self.written.lock();
        self.current()?;
        if front(&written.first) == front(&written.durable_first)
            && written.len == written.durable_len
        {
            return Ok(());
        }
        self.write_out(&mut written)?;
        if written.unsynced {
            self.on_copies(Stage::Joining, |copy| copy.pages.sync())?;
            written.unsynced = false;
        }
        self.record(&mut written)
    }

    /// Writes the buffered pages to every copy, in order, neighbours joined.
    fn write_out(&self, written: &mut Written) -> Result<()> {
        let mut pages = Vec::new();
        for shard in &self.pending {
            let shard = shard.read();
            pages.extend(shard.iter().filter_map(|(page, pending)| {
                pending.data.as_ref().map(|data| (*page, Arc::clone(data)))
            }));
        }
        if pages.is_empty() {
            return Ok(());
        }
        pages.sort_unstable_by_key(|(page, _)| *page);
        let runs: Vec<_> = pages
            .chunk_by(|a, b| a.0 + 1 == b.0)
            .flat_map(|run| run.chunks(RUN_PAGES))
            .collect();
        written.unsynced = true;
        self.on_copies(Stage::Joining, |copy| {
            let mut slices = Vec::with_capacity(RUN_PAGES);
            runs.iter().try_for_each(|run| {
                slices.clear();
                slices.extend(run.iter().map(|(_, data)| IoSlice::new(&data[..])));
                copy.write_run(run[0].0, &slices)
            })
        })?;
        for (page, _) in &pages {
            if let Some(pending) = self.shard(*page).write().get_mut(page) {
                pending.data = None;
            }
        }
        self.buffered_pages.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Appends the record of this sync, or a checkpoint when the record file has grown enough.
    fn record(&self, written: &mut Written) -> Result<()> {
        let mut changes = Vec::with_capacity(self.pending_pages.load(Ordering::Acquire));
        for shard in &self.pending {
            changes.extend(
                shard
                    .read()
                    .iter()
                    .map(|(page, pending)| (*page, pending.sum, pending.seal)),
            );
        }
        changes.sort_unstable();
        let joins = !self.copies_at(Stage::Whole).is_empty();
        if joins || written.area_end > RECORDS_MIN.max(written.len / PAGE_U64 * self.entry_len()) {
            self.settle(&changes);
            return self.checkpoint(written);
        }
        let head = head(written, written.generation);
        let record = encode_changes(&head, &changes, self.cipher.as_deref());
        self.on_copies(Stage::Serving, |copy| {
            copy.append(written.area, written.area_end, &record)
        })?;
        self.settle(&changes);
        written.area_end += record.len() as u64;
        self.recorded(written);
        Ok(())
    }

    /// Bytes that a checkpoint has for each page.
    fn entry_len(&self) -> u64 {
        8 + self.cipher.as_ref().map_or(0, |_| SEAL_LEN as u64)
    }

    /// Moves checksums from the pending pages to the table. Readers see one or the other.
    fn settle(&self, changes: &[(u64, u64, PageSeal)]) {
        for (page, sum, seal) in changes {
            if self.cipher.is_some() {
                self.seals.set(*page, *seal);
            }
            self.sums.set(*page, *sum);
            self.shard(*page).write().remove(page);
        }
        self.pending_pages
            .fetch_sub(changes.len(), Ordering::Release);
    }

    /// Writes all checksums to the other record file and goes on there.
    pub(super) fn checkpoint(&self, written: &mut Written) -> Result<()> {
        let (area, generation) = (1 - written.area, written.generation + 1);
        let pages = usize::try_from(written.len / PAGE_U64).unwrap_or(usize::MAX);
        let sums = (0..pages).map(|page| {
            let page = page as u64;
            (self.sums.get(page), self.seals.get(page))
        });
        let record = encode_checkpoint(&head(written, generation), sums, self.cipher.as_deref());
        let joining = self.copies_at(Stage::Whole);
        self.on_copies(Stage::Whole, |copy| copy.begin_area(area, &record))?;
        for copy in joining.iter().filter(|copy| copy.stage() == Stage::Whole) {
            copy.set_stage(Stage::Serving);
        }
        (written.area, written.generation) = (area, generation);
        written.area_end = record.len() as u64;
        self.recorded(written);
        Ok(())
    }

    fn recorded(&self, written: &mut Written) {
        written.sequence += 1;
        written.durable_first.clone_from(&written.first);
        let shrunk = written.len < written.durable_len;
        written.durable_len = written.len;
        written.kept = written.len / PAGE_U64;
        if shrunk {
            // Only gives space back; what cannot be cut now is cut by a later shrink.
            let cut = self.on_copies(Stage::Joining, |copy| copy.pages.set_len(written.len));
            if let Err(error) = cut {
                tracing::warn!(%error, "the index could not be cut to its length");
            }
        }
    }
}

fn write_first(first: &mut Vec<u8>, data: &[u8]) {
    if first.len() < data.len() {
        first.resize(data.len(), 0);
    }
    first[..data.len()].copy_from_slice(data);
}

fn front(first: &[u8]) -> &[u8] {
    &first[..first.len().min(HEADER_FRONT)]
}

fn head(written: &Written, generation: u64) -> RecordHead {
    let used = written
        .first
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    RecordHead {
        generation,
        sequence: written.sequence + 1,
        len: written.len,
        kept: written.kept,
        first: written.first[..used].to_vec(),
    }
}
