//! Copies that come and go while the index runs.
//!
//! A new copy first takes all pages that are written from here on, then those that were there, a few at a time, so that
//! readers and the writer go on. The next record is a checkpoint, and with that the copy serves.

use std::io::IoSlice;
use std::sync::Arc;

use strongroom_device::DeviceError;

use super::copies::{PageCopy, Stage};
use super::{PAGE, PAGE_U64, PageHome, PageStore};
use crate::{Result, StoreError};

/// Pages that are copied while the writer is kept out.
const STEP: u64 = 64;

impl PageStore {
    pub(super) fn copies_at(&self, stage: Stage) -> Vec<Arc<PageCopy>> {
        let copies = self.copies.load();
        let found = copies.iter().filter(|copy| copy.stage() == stage);
        found.cloned().collect()
    }

    /// Leaves out copies that lie at none of these homes and begins those that are missing. True if one of them waits
    /// for the next record to be whole.
    ///
    /// # Errors
    /// No copy in service lies at any of the homes; a new copy found no space and is left out.
    pub(in crate::index) fn rehome(&self, homes: &[PageHome]) -> Result<bool> {
        self.forgive(homes);
        let mut kept: Vec<Arc<PageCopy>> = self.copies_from(Stage::Serving);
        kept.retain(|copy| homes.iter().any(|home| copy.lies_at(home)));
        if kept.is_empty() {
            return Err(StoreError::Offline {
                why: "no copy of the index lies on a disk that is left".into(),
            });
        }
        let missing = homes.iter().filter(|home| {
            let held = kept.iter().any(|copy| copy.lies_at(home));
            !held && !self.health.is_out(home)
        });
        let missing: Vec<&PageHome> = missing.collect();
        self.replace_copies(&kept);
        for home in missing {
            self.join(home)?;
        }
        Ok(!self.copies_at(Stage::Whole).is_empty())
    }

    /// A copy that failed is left alone while its disk counts as a member. Once it does not, it can only come back anew.
    fn forgive(&self, homes: &[PageHome]) {
        let is_home = |out: &PageHome| homes.iter().any(|home| home.is(out));
        self.health.out.lock().retain(is_home);
    }

    /// Whether a copy in service lies at each of these homes, or its disk is known to be lost.
    pub(in crate::index) fn serves(&self, homes: &[PageHome]) -> bool {
        let serving = self.copies_from(Stage::Serving);
        homes
            .iter()
            .all(|home| self.health.is_out(home) || serving.iter().any(|copy| copy.lies_at(home)))
    }

    /// The writer is kept out, so that no sync counts on a copy that goes.
    fn replace_copies(&self, kept: &[Arc<PageCopy>]) {
        let written = self.written.lock();
        for copy in &**self.copies.load() {
            if !kept.iter().any(|other| Arc::ptr_eq(other, copy)) {
                copy.set_stage(Stage::Out);
            }
        }
        self.copies.store(Arc::new(kept.to_vec()));
        drop(written);
    }

    fn join(&self, home: &PageHome) -> Result<()> {
        let begun = PageCopy::open(home, Stage::Joining);
        let begun = begun.and_then(|copy| copy.clear().map(|()| copy));
        let copy = match begun {
            Ok(copy) => Arc::new(copy),
            Err(error) => return self.not_joined(home, error),
        };
        tracing::warn!(copy = %copy, "a copy of the index is made anew");
        let written = self.written.lock();
        let mut copies = self.copies.load().to_vec();
        copies.push(Arc::clone(&copy));
        self.copies.store(Arc::new(copies));
        drop(written);
        let mut page = 1;
        while page < self.bytes() / PAGE_U64 && copy.stage() == Stage::Joining {
            if let Err(error) = self.copy_pages(&copy, page..page + STEP)? {
                drop(self.lose_copy(&copy, error.clone())?);
                return self.full_or_lost(error);
            }
            page += STEP;
        }
        if copy.stage() == Stage::Joining {
            // The pages go with the sync that comes before the record.
            self.written.lock().unsynced = true;
            copy.set_stage(Stage::Whole);
        }
        Ok(())
    }

    fn not_joined(&self, home: &PageHome, error: DeviceError) -> Result<()> {
        if !matches!(error, DeviceError::NoSpace { .. }) {
            tracing::error!(device = home.device.name(), %error, "a copy of the index cannot be begun");
            if !(self.failed)(&home.device, &error) {
                return Err(error.into());
            }
        }
        self.full_or_lost(error)
    }

    /// A lost disk makes for other homes; on a full one it is tried again later.
    fn full_or_lost(&self, error: DeviceError) -> Result<()> {
        match error {
            DeviceError::NoSpace { .. } => Err(StoreError::NoSpace),
            DeviceError::NotFound { .. } | DeviceError::Exists { .. } | DeviceError::Io { .. } => {
                Ok(())
            }
        }
    }

    /// Copies pages as they were last written; the inner error is the new copy's.
    fn copy_pages(
        &self,
        copy: &PageCopy,
        pages: std::ops::Range<u64>,
    ) -> Result<std::result::Result<(), DeviceError>> {
        let _written = self.written.lock();
        self.current()?;
        let mut buffer = [0; PAGE];
        for page in pages {
            let pending = self.shard(page).read().get(&page).map(|pending| {
                // One that lies in memory goes to all copies when it is written out.
                if pending.data.is_some() {
                    0
                } else {
                    pending.sum
                }
            });
            let sum = pending.unwrap_or_else(|| self.sums.get(page));
            if sum == 0 {
                continue;
            }
            let sources = self.copies_from(Stage::Serving);
            let good = |source: &Arc<PageCopy>| {
                matches!(source.read_page(page, sum, &mut buffer), Ok(true))
            };
            // What is bad on every copy may be referred to by nobody.
            if sources.iter().any(good)
                && let Err(error) = copy.write_run(page, &[IoSlice::new(&buffer)])
            {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}
