//! Clones: a range of one object becomes a range of another, or of itself, and no byte moves.
//!
//! A clone is rows that name extents which other rows name already. They join the group in which the source was looked
//! up, with the source's own rows in it or in an earlier one: so the index, which takes whole groups in order, counts an
//! extent's first owner before its others, and never counts it down to nothing while a clone is on its way.
//!
//! What is cloned from the past is in the index already, as history or as what is still there, and the instant is held
//! until the index has the clone: so thinning counts nothing down before the clone is counted.

use super::flush::SealedLayers;
use super::publish::{ClusterPlan, Mapped, RowChange};
use super::{Change, Published, State, data_change};
use crate::commit::Failures;
use crate::engine::Engine;
use crate::rows::{self, ExtentRow, HeadRow};
use crate::space::Need;
use crate::types::CloneRange;
use crate::{DataHead, Key, ObjectId, Result, StoreError, Txg, View};

/// Bytes that one step covers at most.
const STEP_MAX: u64 = 64 << 20;
/// Rows that one step makes at most, so that its group's record stays small.
const ROWS_MAX: usize = 2048;
/// What a row takes in log, overlay and index.
const ROW_COST: u64 = 256;
/// A writer may come between bringing data into segments and looking at the rows; so often it is tried again.
const TRIES: u32 = 8;

impl Engine {
    /// Clones from the start of the range as much as one step can. Returns the bytes; 0 where they must be copied.
    pub(crate) fn clone_range(&self, change: Change, range: CloneRange) -> Result<u64> {
        check(change.object, &range, true)?;
        for _ in 0..TRIES {
            if let Some(cloned) = self.clone_step(change, &range)? {
                self.mark_dirty();
                return Ok(cloned);
            }
        }
        Ok(0)
    }

    /// None when one of the objects changed meanwhile.
    fn clone_step(&self, change: Change, range: &CloneRange) -> Result<Option<u64>> {
        let _flushing = self.flushing.lock();
        let sealed = self.store_changes(&[range.source, change.object])?;
        let txg = self.join();
        self.publish_stored(sealed, *txg)?;
        self.with_both(change.object, range.source, |target, source| {
            let still = |state: &State| state.is_clean() && state.logged_since.is_none();
            if still(target) && source.is_none_or(still) {
                let published = source.map_or(target.published, |source| source.published);
                let source = (&View::Now, published);
                self.clone_rows(change, range, source, target, *txg)
                    .map(Some)
            } else {
                Ok(None)
            }
        })
    }

    /// As [`Engine::clone_range`], from a state of the past.
    pub(crate) fn clone_past(&self, change: Change, range: CloneRange, view: &View) -> Result<u64> {
        check(change.object, &range, view.is_now())?;
        let View::At(past) = view else {
            return self.clone_range(change, range);
        };
        let Some(kept) = self.settled(past)?.map(View::At) else {
            return Ok(0);
        };
        if kept != *view && !self.same_places((view, range.source), (&kept, range.source))? {
            return Ok(0);
        }
        for _ in 0..TRIES {
            if let Some(cloned) = self.clone_past_step(change, &range, &kept)? {
                self.mark_dirty();
                return Ok(cloned);
            }
        }
        Ok(0)
    }

    fn clone_past_step(
        &self,
        change: Change,
        range: &CloneRange,
        kept: &View,
    ) -> Result<Option<u64>> {
        let _flushing = self.flushing.lock();
        let sealed = self.store_changes(&[change.object])?;
        let txg = self.join();
        self.publish_stored(sealed, *txg)?;
        self.with_object(change.object, |target| {
            if !target.is_clean() || target.logged_since.is_some() {
                return Ok(None);
            }
            let Some(head) = self.head_row(kept, range.source)? else {
                return Ok(Some(0));
            };
            self.keep_until_indexed(*txg, kept);
            self.clone_rows(change, range, (kept, head), target, *txg)
                .map(Some)
        })
    }

    /// Brings what is dirty of these objects into segments and syncs those. The caller holds the flush lock.
    fn store_changes(&self, ids: &[ObjectId]) -> Result<SealedLayers> {
        let mut objects: Vec<_> = ids.iter().filter_map(|id| self.objects.get(*id)).collect();
        objects.dedup_by_key(|object| object.id);
        let mut failures = Failures::new();
        let sealed = self.flush_objects(&objects, &mut failures);
        if let Some(error) = failures.into_values().next() {
            return Err(error);
        }
        let mut layers = SealedLayers::default();
        layers.add(sealed);
        self.sync_segments(layers.segments())?;
        layers.mark_synced();
        Ok(layers)
    }

    /// Holds an instant until the index has a group.
    fn keep_until_indexed(&self, txg: Txg, view: &View) {
        let indexed = self.index.last_txg();
        let mut cloned = self.cloned_from.lock();
        cloned.retain(|(txg, _)| *txg > indexed);
        if cloned.last() != Some(&(txg, view.clone())) {
            cloned.push((txg, view.clone()));
        }
    }

    /// Publishes what [`Engine::store_changes`] stored, in a group that the caller has joined.
    fn publish_stored(&self, sealed: SealedLayers, txg: Txg) -> Result<()> {
        for object in sealed.into_objects() {
            let mut published = Published::default();
            self.publish(&object, txg, &mut published)?;
            assert!(
                published.segments.is_empty(),
                "what a clone publishes was synced before"
            );
        }
        Ok(())
    }

    /// Runs `work` on the states of the target and of the source, locked in order; None for a source that is the target.
    fn with_both<T>(
        &self,
        target: ObjectId,
        source: ObjectId,
        work: impl FnOnce(&mut State, Option<&State>) -> Result<T>,
    ) -> Result<T> {
        match source.cmp(&target) {
            std::cmp::Ordering::Equal => self.with_object(target, |target| work(target, None)),
            std::cmp::Ordering::Less => self.with_object(source, |source| {
                self.with_object(target, |target| work(target, Some(source)))
            }),
            std::cmp::Ordering::Greater => self.with_object(target, |target| {
                self.with_object(source, |source| work(target, Some(source)))
            }),
        }
    }

    /// The source's rows become the target's. Both are as their rows say, and stay so while they are locked.
    fn clone_rows(
        &self,
        change: Change,
        range: &CloneRange,
        (view, source): (&View, HeadRow),
        target: &mut State,
        txg: Txg,
    ) -> Result<u64> {
        let end = source.head.size.min(range.from.saturating_add(range.len));
        let len = end.saturating_sub(range.from).min(STEP_MAX);
        if len == 0 || source.inline {
            return Ok(0);
        }
        let (found, _pin) = self.extent_rows(view, range.source, range.from, range.from + len)?;
        let (pieces, len) = pieces_of(&found, range.from, len);
        let hides_all = range.to == 0 && target.published.head.size <= len;
        if target.published.inline && !hides_all {
            // What stays of the row would need a place in a segment first.
            return Ok(0);
        }
        let promised = self.admit(Need::Rows((pieces.len() as u64 + 4) * ROW_COST))?;
        let (changes, mapped) = self.plan_clone(change, range.to, len, &pieces, target)?;
        let head = DataHead {
            size: target.head.size.max(range.to + len),
            allocated: mapped.bytes,
            mtime: change.mtime.unwrap_or(target.head.mtime),
        };
        let head = HeadRow {
            head,
            inline: false,
            logged: false,
            held: mapped.held,
        };
        self.put_clone(change, (range.to, len), changes, head, target, txg);
        drop(promised);
        Ok(len)
    }

    /// The rows that change, and what the target's rows map then.
    fn plan_clone(
        &self,
        change: Change,
        to: u64,
        len: u64,
        pieces: &[(u64, ExtentRow)],
        target: &State,
    ) -> Result<(Vec<RowChange>, Mapped)> {
        let (id, session) = (change.object, change.session);
        let mut changes = Vec::new();
        let before = target.published;
        if before.inline {
            changes.push(RowChange {
                table: rows::INLINE,
                key: Key::from(rows::object_key(id)),
                session,
                value: None,
            });
        }
        let rows_end = if before.inline { 0 } else { before.head.size };
        let mut plan = ClusterPlan::load(self, id, to, (to + len).min(rows_end))?;
        plan.cut(to, to + len, session);
        for (at, row) in pieces {
            plan.insert(to + at, *row, session);
        }
        let mapped = plan.finish(id, session, Mapped::of(&before), &mut changes);
        Ok((changes, mapped))
    }

    fn put_clone(
        &self,
        change: Change,
        (to, len): (u64, u64),
        changes: Vec<RowChange>,
        published: HeadRow,
        target: &mut State,
        txg: Txg,
    ) {
        let id = change.object;
        let mut shard = self.overlay.lock(id.inode);
        shard.publish();
        for row in changes {
            shard.put(txg, row.session, row.table, row.key, row.value);
        }
        let value = Some(published.encode().into());
        let key = Key::from(rows::object_key(id));
        shard.put(txg, change.session, rows::HEADS, key, value);
        shard.change(data_change(id, to, len, change.session));
        drop(shard);
        target.head = published.head;
        target.published = published;
        target.exists = true;
        target.session = change.session;
    }
}

fn check(target: ObjectId, range: &CloneRange, now: bool) -> Result<()> {
    let end = |start: u64| {
        let end = start.checked_add(range.len);
        end.filter(|end| *end <= super::write::SIZE_MAX)
    };
    let (Some(source_end), Some(target_end)) = (end(range.from), end(range.to)) else {
        return Err(StoreError::Invalid {
            what: "clone beyond the largest file".into(),
        });
    };
    if now && range.source == target && range.from < target_end && range.to < source_end {
        return Err(StoreError::Invalid {
            what: "clone of a range onto itself".into(),
        });
    }
    Ok(())
}

/// The rows cut to `from..from + len`, at offsets from there, and the length that at most [`ROWS_MAX`] of them cover.
fn pieces_of(found: &[(u64, ExtentRow)], from: u64, len: u64) -> (Vec<(u64, ExtentRow)>, u64) {
    let end = match found.get(ROWS_MAX) {
        Some((next, _)) => (from + len).min(*next),
        None => from + len,
    };
    let cut = |(at, row): &(u64, ExtentRow)| {
        let start = from.max(*at);
        let stop = end.min(at + u64::from(row.len));
        let skip = u32::try_from(start - at).unwrap_or(u32::MAX);
        let piece = ExtentRow {
            start: row.start + skip,
            len: u32::try_from(stop - start).unwrap_or(u32::MAX),
            fresh: false,
            ..*row
        };
        (start - from, piece)
    };
    let pieces = found.iter().take(ROWS_MAX).map(cut).collect();
    (pieces, end - from)
}
