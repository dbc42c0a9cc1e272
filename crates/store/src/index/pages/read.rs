//! Verified reads: a bad copy is read around and repaired, wrong bytes are never returned.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::copies::PageCopy;
use super::seals::{PageSeal, open_page};
use super::sums::sum_of;
use super::{PAGE, PAGE_U64, PageStore};
use crate::{Result, StoreError};

impl PageStore {
    /// Reads whole pages, or a part of page 0.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.current()?;
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > self.bytes()) {
            return Err(StoreError::Corrupt {
                what: "the index refers beyond its end".into(),
            });
        }
        if offset == 0 && out.len() <= PAGE {
            self.read_first(out);
            return Ok(());
        }
        assert!(offset.is_multiple_of(PAGE_U64) && out.len().is_multiple_of(PAGE));
        let first = offset / PAGE_U64;
        if out.len() > PAGE && self.read_joined(first, out) {
            return Ok(());
        }
        out.chunks_exact_mut(PAGE)
            .zip(first..)
            .try_for_each(|(chunk, page)| self.read_page(page, chunk))
    }

    fn read_first(&self, out: &mut [u8]) {
        let written = self.written.lock();
        let have = written.first.len().min(out.len());
        out[..have].copy_from_slice(&written.first[..have]);
        out[have..].fill(0);
    }

    /// Reads several pages at once from one copy. False when that does not give the right bytes.
    fn read_joined(&self, first: u64, out: &mut [u8]) -> bool {
        if first == 0 || self.pending_pages.load(Ordering::Acquire) != 0 {
            return false;
        }
        let copies = self.copies.load();
        let Some(copy) = copies.iter().find(|copy| copy.serves()) else {
            return false;
        };
        matches!(copy.pages.read_at(first * PAGE_U64, out), Ok(read) if read == out.len())
            && out
                .chunks_exact(PAGE)
                .zip(first..)
                .all(|(chunk, page)| sum_of(chunk) == self.sums.get(page))
            && out
                .chunks_exact_mut(PAGE)
                .zip(first..)
                .all(|(chunk, page)| self.reveal(page, &self.seals.get(page), chunk).is_ok())
    }

    /// Decrypts a page of an encrypted pool in place.
    fn reveal(&self, page: u64, seal: &PageSeal, out: &mut [u8]) -> Result<()> {
        let Some(cipher) = &self.cipher else {
            return Ok(());
        };
        open_page(cipher, page, seal, out).map_err(|why| StoreError::Corrupt {
            what: format!("index page {page} cannot be decrypted: {why}"),
        })
    }

    fn read_page(&self, page: u64, out: &mut [u8]) -> Result<()> {
        if page == 0 {
            self.read_first(out);
            return Ok(());
        }
        let (sum, seal) = match self.read_pending(page, out) {
            Some((None, seal)) => return self.reveal(page, &seal, out),
            Some((Some(sum), seal)) => (sum, seal),
            None => (self.sums.get(page), self.seals.get(page)),
        };
        if sum == 0 {
            out.fill(0);
            return Ok(());
        }
        self.read_copies(page, sum, out)?;
        self.reveal(page, &seal, out)
    }

    /// Looks among pages that no record holds yet: with `None` when it filled `out`, with the checksum when the page was
    /// already written out.
    fn read_pending(&self, page: u64, out: &mut [u8]) -> Option<(Option<u64>, PageSeal)> {
        if self.pending_pages.load(Ordering::Acquire) == 0 {
            return None;
        }
        let shard = self.shard(page).read();
        let pending = shard.get(&page)?;
        let written = match &pending.data {
            Some(data) => {
                out.copy_from_slice(&data[..]);
                None
            }
            None => Some(pending.sum),
        };
        Some((written, pending.seal))
    }

    fn read_copies(&self, page: u64, sum: u64, out: &mut [u8]) -> Result<()> {
        let mut bad: Vec<&PageCopy> = Vec::new();
        let copies = self.copies.load();
        for copy in copies.iter().filter(|copy| copy.serves()) {
            match copy.read_page(page, sum, out) {
                Ok(true) => {
                    bad.iter().for_each(|bad| self.repair(bad, page, sum, out));
                    return Ok(());
                }
                Ok(false) => tracing::warn!(copy = %copy, page, "damaged index page"),
                Err(error) => tracing::warn!(copy = %copy, page, %error, "unreadable index page"),
            }
            self.health.bad.fetch_add(1, Ordering::Relaxed);
            bad.push(copy);
        }
        self.health.lost.fetch_add(1, Ordering::Relaxed);
        Err(StoreError::Corrupt {
            what: format!("index page {page} is damaged on every copy"),
        })
    }

    /// Writes a good page over a bad one. The writer is kept out, and what it wrote since stays.
    fn repair(&self, copy: &PageCopy, page: u64, sum: u64, good: &[u8]) {
        let written = self.written.lock();
        let pending = self.shard(page).read().contains_key(&page);
        if pending || self.current().is_err() || self.sums.get(page) != sum {
            return;
        }
        match copy.write_run(page, &[IoSlice::new(good)]) {
            Ok(()) => {
                self.health.repaired.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(copy = %copy, page, "index page repaired from another copy");
            }
            Err(error) => tracing::warn!(copy = %copy, page, %error, "index page not repaired"),
        }
        drop(written);
    }

    /// Reads these pages from every copy and repairs what one copy still has; returns how many pages there are. Pages bad
    /// on all copies that redb does not refer to are normal after a crash, so only counts are kept here.
    pub(in crate::index) fn scrub(&self, pages: Range<u64>) -> Result<u64> {
        let mut buffer = [0; PAGE];
        let all = self.bytes() / PAGE_U64;
        for page in pages.start.max(1)..pages.end.min(all) {
            let sum = self.sums.get(page);
            if sum == 0 || self.shard(page).read().contains_key(&page) {
                continue;
            }
            let mut bad = Vec::new();
            let mut good = None;
            let copies = self.copies.load();
            for copy in copies.iter().filter(|copy| copy.serves()) {
                match copy.read_page(page, sum, &mut buffer) {
                    Ok(true) => good = Some(buffer),
                    Ok(false) | Err(_) => bad.push(copy),
                }
            }
            // The page may have been replaced while it was read; repairing asks again.
            if let Some(good) = good {
                self.health
                    .bad
                    .fetch_add(bad.len() as u64, Ordering::Relaxed);
                bad.iter()
                    .for_each(|copy| self.repair(copy, page, sum, &good));
            }
            self.current()?;
        }
        Ok(all)
    }
}
