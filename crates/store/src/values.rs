//! What rows were: every value that is known of them, with who began and who ended it.

use std::collections::BTreeMap;

use bytes::Bytes;
use strongroom_pool::Txg;

use crate::engine::Engine;
use crate::feed::{Change, Version};
use crate::index::Snapshot;
use crate::rows::{self, HISTORY, HistoryKey, HistoryRow, Stored};
use crate::{Aspect, Inode, Result, SessionId, Table};

/// Changes that are read in one go.
const CHANGES_AT_ONCE: usize = 4_096;

/// A value that a row had, or has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastValue {
    pub key: Bytes,
    pub began: Txg,
    pub began_by: SessionId,
    /// When it was replaced or removed, and by whom; None while it stands.
    pub ended: Option<(Txg, SessionId)>,
    /// None when it was given up for want of space.
    pub value: Option<Bytes>,
}

impl PastValue {
    fn of_history(key: &[u8], value: &[u8]) -> Result<Self> {
        let key = HistoryKey::decode(key)?;
        let row = HistoryRow::decode(value)?;
        Ok(Self {
            key: Bytes::copy_from_slice(key.key),
            began: row.began,
            began_by: row.began_by,
            ended: Some((key.ended, row.ended_by)),
            value: row.payload.map(Bytes::copy_from_slice),
        })
    }

    fn of_present(key: &[u8], value: &[u8]) -> Result<Self> {
        let stored = Stored::decode(Bytes::copy_from_slice(value))?;
        Ok(Self {
            key: Bytes::copy_from_slice(key),
            began: stored.txg,
            began_by: stored.session,
            ended: None,
            value: Some(stored.payload),
        })
    }
}

/// One line of the log of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedChange {
    pub txg: Txg,
    pub inode: Inode,
    pub aspect: Aspect,
    pub session: SessionId,
}

impl LoggedChange {
    fn of(txg: Txg, change: &Change) -> Self {
        Self {
            txg,
            inode: change.inode,
            aspect: change.aspect,
            session: change.session,
        }
    }
}

type ByKey = BTreeMap<Bytes, Vec<PastValue>>;

impl Engine {
    /// The values of the keys of a range, which share their first 8 bytes: by key, and of each oldest first. Stops when
    /// `limit` of them that have ended were found.
    pub(crate) fn values(
        &self,
        table: Table,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<PastValue>> {
        let (chains, snapshot) = self
            .overlay
            .chains(table, (start, end), || self.index.snapshot());
        let mut found = ByKey::new();
        let mut add = |value: PastValue| {
            found.entry(value.key.clone()).or_default().push(value);
        };
        let in_history = |key: &[u8]| [&[table.0], key].concat();
        let mut left = limit;
        snapshot.scan(
            HISTORY,
            &in_history(start),
            Some(&in_history(end)),
            &mut |key, value| {
                let inside = HistoryKey::decode(key)?.key;
                if inside >= start && inside < end {
                    add(PastValue::of_history(key, value)?);
                    left = left.saturating_sub(1);
                }
                Ok(left > 0)
            },
        )?;
        snapshot.scan(table, start, Some(end), &mut |key, value| {
            add(PastValue::of_present(key, value)?);
            Ok(true)
        })?;
        let held = snapshot.last_txg();
        for (key, versions) in chains {
            let values = found.entry(Bytes::copy_from_slice(&key)).or_default();
            add_versions(values, &key, table, &versions, held);
        }
        Ok(found.into_values().flatten().collect())
    }

    /// The changes of some groups before one, newest first and whole groups; none at the beginning of the log.
    pub(crate) fn changes_before(&self, before: Txg) -> Result<Vec<LoggedChange>> {
        let mut waiting = Vec::new();
        for group in self.groups.lock().iter().filter(|group| group.txg < before) {
            let changes = group.changes.iter();
            waiting.extend(changes.map(|change| LoggedChange::of(group.txg, change)));
        }
        if !waiting.is_empty() {
            waiting.reverse();
            return Ok(waiting);
        }
        let snapshot = self.index.snapshot();
        let mut bound = rows::change_key(before, 0).to_vec();
        let mut found: Vec<LoggedChange> = Vec::new();
        while let Some((key, value)) = snapshot.last_row(rows::CHANGES, Some(&bound))? {
            let (txg, _) = rows::decode_change_key(&key)?;
            if found.len() >= CHANGES_AT_ONCE && found.last().is_some_and(|last| last.txg != txg) {
                break;
            }
            let changes = rows::decode_changes(&value)?;
            let changes = changes.iter().rev();
            found.extend(changes.map(|change| LoggedChange::of(txg, change)));
            bound = key.to_vec();
        }
        Ok(found)
    }

    /// The values of one key, newest first, at most `limit`.
    pub(crate) fn values_of(
        &self,
        table: Table,
        key: &[u8],
        limit: usize,
    ) -> Result<Vec<PastValue>> {
        let mut end = key.to_vec();
        end.push(0);
        let (chains, snapshot) = self
            .overlay
            .chains(table, (key, &end), || self.index.snapshot());
        let mut found = newest_indexed(&*snapshot, table, key, limit)?;
        found.reverse();
        for (key, versions) in chains {
            add_versions(&mut found, &key, table, &versions, snapshot.last_txg());
        }
        found.reverse();
        found.truncate(limit);
        Ok(found)
    }
}

/// Of one key, what the index has, newest first.
fn newest_indexed(
    snapshot: &dyn Snapshot,
    table: Table,
    key: &[u8],
    limit: usize,
) -> Result<Vec<PastValue>> {
    let mut found = Vec::new();
    if let Some(value) = snapshot.get(table, key)? {
        found.push(PastValue::of_present(key, &value)?);
    }
    let mut before = Vec::with_capacity(key.len() + 12);
    rows::history_key(&mut before, table, key, Txg(u64::MAX), u16::MAX);
    before.push(0);
    while found.len() < limit {
        let Some((row_key, value)) = snapshot.last_row(HISTORY, Some(&before))? else {
            break;
        };
        let of = HistoryKey::decode(&row_key)?;
        if of.table != table || of.key != key {
            break;
        }
        found.push(PastValue::of_history(&row_key, &value)?);
        before = row_key.to_vec();
    }
    Ok(found)
}

/// Adds what the overlay has behind what the index holds.
fn add_versions(
    values: &mut Vec<PastValue>,
    key: &[u8],
    table: Table,
    versions: &[Version],
    held: Txg,
) {
    let logged = |version: &Version| {
        let value = version.value.as_deref();
        table == rows::HEADS && value.is_some_and(rows::HeadRow::is_logged)
    };
    for version in versions {
        if version.txg <= held || logged(version) {
            continue;
        }
        if let Some(last) = values.last_mut()
            && last.ended.is_none()
        {
            last.ended = Some((version.txg, version.session));
        }
        if version.value.is_some() {
            values.push(PastValue {
                key: Bytes::copy_from_slice(key),
                began: version.txg,
                began_by: version.session,
                ended: None,
                value: version.value.clone(),
            });
        }
    }
}
