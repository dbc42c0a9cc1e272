//! Which files, and which states of their past, had the bytes that nothing gives any more.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_pool::{Address, LostPart, SegmentId};

use super::report::{LostRange, REMEMBERED_MAX, Report};
use crate::engine::Engine;
use crate::index::Snapshot;
use crate::rows::{self, EXTENTS, ExtentRow, HISTORY, HistoryKey, HistoryRow};
use crate::{Result, StoreError};

/// Parts by segment, and the ranges found in them.
struct Search<'a> {
    parts: BTreeMap<SegmentId, Vec<&'a LostPart>>,
    found: BTreeSet<LostRange>,
    ranges: u64,
}

impl Engine {
    /// Fills in whose bytes a report's lost parts are. What no row names is lost to nobody.
    pub(super) fn name_lost(&self, report: &mut Report) -> Result<()> {
        if report.parts.is_empty() {
            return Ok(());
        }
        self.feed(self.feedable())?;
        let mut search = Search {
            parts: BTreeMap::new(),
            found: BTreeSet::new(),
            ranges: report.more_parts,
        };
        for part in &report.parts {
            search.parts.entry(part.segment).or_default().push(part);
        }
        let snapshot = self.index.snapshot();
        snapshot.scan(EXTENTS, &[], None, &mut |key, value| {
            let header = rows::Header::decode(value)?;
            let payload = value.get(header.len..).unwrap_or_default();
            self.look_for(&*snapshot, &mut search, key, payload, false)
        })?;
        snapshot.scan(HISTORY, &[], None, &mut |key, value| {
            let (key, row) = (HistoryKey::decode(key)?, HistoryRow::decode(value)?);
            match row.payload.filter(|_| key.table == EXTENTS) {
                Some(payload) => self.look_for(&*snapshot, &mut search, key.key, payload, true),
                None => Ok(true),
            }
        })?;
        let Search { found, ranges, .. } = search;
        for range in &found {
            let LostRange {
                object,
                offset,
                len,
                past,
            } = range;
            let (inode, stream) = (object.inode.0, object.stream);
            tracing::error!(inode, stream, offset, len, past, "these bytes are lost");
        }
        report.lost = found.into_iter().collect();
        report.lost_ranges = ranges;
        Ok(())
    }

    fn look_for(
        &self,
        snapshot: &dyn Snapshot,
        search: &mut Search<'_>,
        key: &[u8],
        payload: &[u8],
        past: bool,
    ) -> Result<bool> {
        if self.stopping() {
            return Err(StoreError::Closed);
        }
        let row = ExtentRow::decode(payload)?;
        let place = self.locate(snapshot, row.address)?;
        let Some(parts) = search.parts.get(&place.segment) else {
            return Ok(true);
        };
        let (object, offset) = rows::decode_extent_key(key)?;
        for part in parts {
            let Some((from, len)) = overlap(part, place, &row) else {
                continue;
            };
            search.ranges += 1;
            if search.found.len() < REMEMBERED_MAX {
                search.found.insert(LostRange {
                    object,
                    offset: offset + from,
                    len,
                    past,
                });
            }
        }
        Ok(true)
    }
}

/// What of a row's bytes a part has: from which on, and how many. A compressed extent is lost as a whole.
fn overlap(part: &LostPart, place: Address, row: &ExtentRow) -> Option<(u64, u64)> {
    if !part.stripes.contains(&place.stripe) {
        return None;
    }
    if row.packing.is_some() {
        let end = place.offset.saturating_add(row.stored());
        let hit = part.payload.start < end && place.offset < part.payload.end;
        return hit.then_some((0, u64::from(row.len)));
    }
    let begin = u64::from(place.offset) + u64::from(row.start);
    let end = begin + u64::from(row.len);
    let from = begin.max(u64::from(part.payload.start));
    let to = end.min(u64::from(part.payload.end));
    (from < to).then(|| (from - begin, to - from))
}
