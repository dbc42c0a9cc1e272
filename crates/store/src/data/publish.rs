//! A sealed layer becomes rows of the open transaction group.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use strongroom_pool::{Address, SegmentId};

use super::flush::collect_segments;
use super::{EXTENT_MAX, Entry, Layer, Object, Piece, Sealed, State, data_change};
use crate::engine::Engine;
use crate::overlay::ShardGuard;
use crate::rows::{self, ExtentRow, HeadRow};
use crate::{DataHead, Key, ObjectId, Result, SessionId, StoreError, Table, Txg, View};

/// Payload of one object that may ride in the record of a commit on demand.
const PAYLOAD_MAX: usize = 64 << 10;

/// What a publication needs before its record may be written.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// To be synced first.
    pub(crate) segments: Vec<SegmentId>,
}

/// One row to write.
pub(super) struct RowChange {
    pub(super) table: Table,
    pub(super) key: Key,
    pub(super) session: SessionId,
    pub(super) value: Option<Bytes>,
}

impl Engine {
    /// Turns the sealed layer of an object into rows of group `txg`. The caller holds the flush lock and the gate.
    pub(crate) fn publish(
        &self,
        object: &Arc<Object>,
        txg: Txg,
        published: &mut Published,
    ) -> Result<()> {
        let mut state = object.state.lock();
        if state.detached {
            return Ok(());
        }
        let Some(sealed) = state.sealed.take() else {
            return Ok(());
        };
        match self.plan(object.id, &state, &sealed) {
            Ok(plan) => {
                if !sealed.synced {
                    collect_segments(&sealed.layer, &mut published.segments);
                }
                // Before rows name them, or cleaning could count what is left of them twice.
                self.orphans.lock().named(extents_of(&sealed.layer));
                self.apply(object.id, txg, &mut state, &sealed, plan);
                self.settle(&mut state);
                self.release_if_clean(object, &mut state);
                Ok(())
            }
            Err(error) => {
                state.sealed = Some(sealed);
                Err(error)
            }
        }
    }

    fn plan(
        &self,
        id: ObjectId,
        state: &State,
        sealed: &Sealed,
    ) -> Result<(Vec<RowChange>, HeadRow)> {
        let extents = sealed
            .layer
            .iter()
            .any(|(_, entry)| matches!(entry.piece, Piece::Extent { .. }));
        let mapped = state.published.head.size > 0 && !state.published.inline;
        let inline = !extents && !mapped && sealed.head.size <= self.options.inline_max as u64;
        if inline && sealed.head.size > 0 {
            self.plan_inline(id, state, sealed)
        } else {
            self.plan_extents(id, state, sealed)
        }
    }

    fn plan_inline(
        &self,
        id: ObjectId,
        state: &State,
        sealed: &Sealed,
    ) -> Result<(Vec<RowChange>, HeadRow)> {
        let mut content = Vec::new();
        if state.published.inline {
            let row = self.get(rows::INLINE, &rows::object_key(id))?;
            content.extend_from_slice(&row.unwrap_or_default());
        }
        content.resize(usize::try_from(sealed.head.size).unwrap_or(usize::MAX), 0);
        for (start, entry) in sealed.layer.iter() {
            overlay_bytes(&mut content, start, entry);
        }
        let allocated = content.len() as u64;
        let row = RowChange {
            table: rows::INLINE,
            key: Key::from(rows::object_key(id)),
            session: sealed.session,
            value: Some(Bytes::from(content)),
        };
        let head = DataHead {
            allocated,
            ..sealed.head
        };
        let row_head = HeadRow {
            head,
            inline: true,
            logged: false,
            held: allocated,
        };
        Ok((vec![row], row_head))
    }

    fn plan_extents(
        &self,
        id: ObjectId,
        state: &State,
        sealed: &Sealed,
    ) -> Result<(Vec<RowChange>, HeadRow)> {
        let mut changes = Vec::new();
        let mut mapped = Mapped::of(&state.published);
        if state.published.inline {
            let key = Key::from(rows::object_key(id));
            let session = sealed.session;
            changes.push(RowChange {
                table: rows::INLINE,
                key,
                session,
                value: None,
            });
        }
        if sealed.layer.buffered() > 0 || !sealed.filled {
            return Err(StoreError::Offline {
                why: "file data could not be stored".into(),
            });
        }
        let rows_end = if state.published.inline {
            0
        } else {
            state.published.head.size
        };
        let mut fresh = HashSet::new();
        for cluster in clusters(&sealed.layer, rows_end) {
            let start = cluster.first().map_or(0, |(start, _)| *start);
            let end = cluster.last().map_or(0, |(_, entry)| entry.end);
            let mut plan = ClusterPlan::load(self, id, start, end.min(rows_end))?;
            for (start, entry) in &cluster {
                plan.cover(*start, entry, &mut fresh);
            }
            mapped = plan.finish(id, sealed.session, mapped, &mut changes);
        }
        let head = DataHead {
            allocated: mapped.bytes,
            ..sealed.head
        };
        Ok((
            changes,
            HeadRow {
                head,
                inline: false,
                logged: false,
                held: mapped.held,
            },
        ))
    }

    fn apply(
        &self,
        id: ObjectId,
        txg: Txg,
        state: &mut State,
        sealed: &Sealed,
        (changes, head): (Vec<RowChange>, HeadRow),
    ) {
        let mut shard = self.overlay.lock(id.inode);
        shard.publish();
        for change in changes {
            shard.put(txg, change.session, change.table, change.key, change.value);
        }
        let key = Key::from(rows::object_key(id));
        let value = Some(Bytes::from(head.encode()));
        shard.put(txg, sealed.session, rows::HEADS, key, value);
        note_changes(&mut shard, id, &sealed.layer, sealed.session);
        if let Some(since) = state.logged_since.take() {
            crate::record::moved(shard.record(), id);
            self.logged_ends(txg, since, id);
        }
        drop(shard);
        state.head.allocated = head.head.allocated;
        state.published = head;
        state.exists = true;
        state.unlogged = state.changed;
    }

    /// Lets the bytes of a small object ride in the record. False if they must go to a segment.
    /// The caller holds the flush lock and the gate.
    pub(crate) fn log_payload(
        &self,
        object: &Arc<Object>,
        txg: Txg,
        budget: &mut usize,
    ) -> Result<bool> {
        let Some(mut state) = self.attached(object)? else {
            return Ok(true);
        };
        if state.is_clean() {
            self.release_if_clean(object, &mut state);
            return Ok(true);
        }
        let wanted = unlogged(&state.pending);
        let movable = state.sealed.is_none()
            && !self.stays_inline(&state, &state.pending)
            && wanted.is_some_and(|len| len <= PAYLOAD_MAX && len <= *budget);
        if !movable {
            return Ok(false);
        }
        *budget -= wanted.unwrap_or(0);
        self.write_payload(object.id, txg, &mut state);
        Ok(true)
    }

    fn write_payload(&self, id: ObjectId, txg: Txg, state: &mut State) {
        if !state.unlogged {
            return;
        }
        state.unlogged = false;
        let mut shard = self.overlay.lock(id.inode);
        state.pending.log_all(shard.record(), id);
        let head = HeadRow {
            head: DataHead {
                allocated: state.published.head.allocated,
                ..state.head
            },
            inline: state.published.inline,
            logged: true,
            held: state.published.held,
        };
        let value = Some(Bytes::from(head.encode()));
        shard.put(
            txg,
            state.session,
            rows::HEADS,
            Key::from(rows::object_key(id)),
            value,
        );
        drop(shard);
        if state.logged_since.is_none() {
            state.logged_since = Some(txg);
            self.logged_begins(txg, id);
        }
        // The rows say the new size, while the bytes wait: what is published is the head alone.
        state.published = head;
        state.exists = true;
    }
}

/// Bytes that a record would have to carry; None when some of it is not in memory.
fn unlogged(layer: &Layer) -> Option<usize> {
    let mut len = 0;
    for (_, entry) in layer.iter() {
        match &entry.piece {
            Piece::Buffer { data, logged } => len += data.len() - logged,
            // A hole must reach the rows with the size that goes with it.
            Piece::Hole | Piece::Frozen(_) | Piece::Extent { .. } => return None,
        }
    }
    Some(len)
}

fn extents_of(layer: &Layer) -> impl Iterator<Item = &Address> {
    layer.iter().filter_map(|(_, entry)| match &entry.piece {
        Piece::Extent { address, .. } => Some(address),
        Piece::Buffer { .. } | Piece::Frozen(_) | Piece::Hole => None,
    })
}

fn overlay_bytes(content: &mut [u8], start: u64, entry: &Entry) {
    let from = usize::try_from(start)
        .unwrap_or(usize::MAX)
        .min(content.len());
    let to = usize::try_from(entry.end)
        .unwrap_or(usize::MAX)
        .min(content.len());
    let target = &mut content[from..to];
    match &entry.piece {
        Piece::Buffer { data, .. } => target.copy_from_slice(&data[..target.len()]),
        Piece::Frozen(data) => target.copy_from_slice(&data[..target.len()]),
        Piece::Hole => target.fill(0),
        Piece::Extent { .. } => {}
    }
}

/// One line in the change log for each run of ranges of one session.
fn note_changes(shard: &mut ShardGuard<'_>, id: ObjectId, layer: &Layer, session: SessionId) {
    let mut run: Option<(u64, u64, SessionId)> = None;
    for (start, entry) in layer.iter() {
        run = match run {
            Some((from, to, by)) if to == start && by == entry.session => {
                Some((from, entry.end, by))
            }
            Some((from, to, by)) => {
                shard.change(data_change(id, from, to - from, by));
                Some((start, entry.end, entry.session))
            }
            None => Some((start, entry.end, entry.session)),
        };
    }
    let (from, to, by) = run.unwrap_or((0, 0, session));
    shard.change(data_change(id, from, to - from, by));
}

/// Groups ranges that one row could reach across.
fn clusters(layer: &Layer, rows_end: u64) -> Vec<Vec<(u64, Entry)>> {
    let mut clusters: Vec<Vec<(u64, Entry)>> = Vec::new();
    let mut reach = 0;
    for (start, entry) in layer.iter() {
        let near = start < rows_end && start < reach + EXTENT_MAX as u64;
        match clusters.last_mut() {
            Some(cluster) if near => cluster.push((start, entry.clone())),
            _ => clusters.push(vec![(start, entry.clone())]),
        }
        reach = entry.end;
    }
    clusters
}

/// What the rows of an object map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) bytes: u64,
    /// What these take.
    pub(super) held: u64,
}

impl Mapped {
    /// Of an object with such a head.
    pub(super) fn of(head: &HeadRow) -> Self {
        match head.inline {
            true => Self { bytes: 0, held: 0 },
            false => Self {
                bytes: head.head.allocated,
                held: head.held,
            },
        }
    }

    fn add<'a>(&mut self, rows: impl IntoIterator<Item = &'a ExtentRow>) {
        for row in rows {
            self.bytes += u64::from(row.len);
            self.held += row.held();
        }
    }

    fn take<'a>(&mut self, rows: impl IntoIterator<Item = &'a ExtentRow>) {
        for row in rows {
            self.bytes = self.bytes.saturating_sub(u64::from(row.len));
            self.held = self.held.saturating_sub(row.held());
        }
    }
}

/// The rows around some ranges, as they were and as they become.
pub(super) struct ClusterPlan {
    before: BTreeMap<u64, ExtentRow>,
    after: BTreeMap<u64, (ExtentRow, SessionId)>,
}

impl ClusterPlan {
    pub(super) fn load(engine: &Engine, id: ObjectId, start: u64, end: u64) -> Result<Self> {
        let mut before = BTreeMap::new();
        if start < end {
            let (rows, _pin) = engine.extent_rows(&View::Now, id, start, end)?;
            before.extend(rows);
        }
        let after = before
            .iter()
            .map(|(at, row)| (*at, (*row, SessionId::SYSTEM)))
            .collect();
        Ok(Self { before, after })
    }

    /// Lays one range over the rows.
    fn cover(&mut self, start: u64, entry: &Entry, fresh: &mut HashSet<Address>) {
        self.cut(start, entry.end, entry.session);
        if let Piece::Extent {
            address,
            start: within,
            whole,
            packing,
        } = &entry.piece
        {
            let len = u32::try_from(entry.end - start).unwrap_or(u32::MAX);
            let row = ExtentRow {
                address: *address,
                start: *within,
                len,
                whole: *whole,
                packing: *packing,
                // Nothing named the extent before; if it is in pieces by now, one of them begins its life.
                fresh: fresh.insert(*address),
            };
            self.insert(start, row, entry.session);
        }
    }

    /// Adds a row where [`Self::cut`] made room.
    pub(super) fn insert(&mut self, start: u64, row: ExtentRow, session: SessionId) {
        self.after.insert(start, (row, session));
    }

    /// Frees a range of rows.
    pub(super) fn cut(&mut self, start: u64, end: u64, session: SessionId) {
        let from = self.after.range(..start).next_back();
        let from = from.filter(|(at, (row, _))| *at + u64::from(row.len) > start);
        let from = from.map_or(start, |(at, _)| *at);
        let hit: Vec<u64> = self.after.range(from..end).map(|(at, _)| *at).collect();
        for at in hit {
            let Some((row, _)) = self.after.remove(&at) else {
                continue;
            };
            let row_end = at + u64::from(row.len);
            if at < start {
                let left = ExtentRow {
                    len: u32_of(start - at),
                    fresh: false,
                    ..row
                };
                self.after.insert(at, (left, session));
            }
            if row_end > end {
                let skip = u32_of(end - at);
                let right = ExtentRow {
                    start: row.start + skip,
                    len: row.len - skip,
                    fresh: false,
                    ..row
                };
                self.after.insert(end, (right, session));
            }
        }
    }

    /// Adds the rows that differ; returns what is mapped now.
    pub(super) fn finish(
        self,
        id: ObjectId,
        session: SessionId,
        mut mapped: Mapped,
        changes: &mut Vec<RowChange>,
    ) -> Mapped {
        mapped.add(self.after.values().map(|(row, _)| row));
        mapped.take(self.before.values());
        for at in self.before.keys().filter(|at| !self.after.contains_key(at)) {
            let key = Key::from(rows::extent_key(id, *at));
            changes.push(RowChange {
                table: rows::EXTENTS,
                key,
                session,
                value: None,
            });
        }
        for (at, (row, session)) in self.after {
            if self.before.get(&at) != Some(&row) {
                let key = Key::from(rows::extent_key(id, at));
                let value = Some(Bytes::from(row.encode()));
                changes.push(RowChange {
                    table: rows::EXTENTS,
                    key,
                    session,
                    value,
                });
            }
        }
        mapped
    }
}

fn u32_of(len: u64) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
