//! The past, read at the index: what a key held at a transaction group.
//!
//! History holds every value that a kept instant saw or that another session ended, so an answer is exact at kept
//! instants inside the window. Data rows of a dead object are answered as they were at its death until it is reaped.

#![cfg_attr(
    not(test),
    allow(dead_code, reason = "for browsing the past; tests use it")
)]

use std::collections::BTreeMap;

use bytes::Bytes;
use strongroom_device::Timestamp;
use strongroom_pool::Txg;

use crate::index::Snapshot;
use crate::rows::{self, HISTORY, HistoryKey, HistoryRow, INSTANTS, InstantRow, Stored};
use crate::{Result, Table};

/// What a key held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Past {
    Absent,
    Value(Stored),
    /// There was a value; it was given up when space was short.
    Thinned,
}

fn past_of(row: &HistoryRow<'_>) -> Past {
    match row.payload {
        Some(payload) => Past::Value(Stored {
            txg: row.began,
            session: row.began_by,
            payload: Bytes::copy_from_slice(payload),
        }),
        None => Past::Thinned,
    }
}

/// What `key` held once group `at` was done.
pub(crate) fn get_at(snapshot: &dyn Snapshot, table: Table, key: &[u8], at: Txg) -> Result<Past> {
    if let Some((began, past)) = first_ended_after(snapshot, table, key, at)? {
        return Ok(if began <= at { past } else { Past::Absent });
    }
    let present = snapshot.get(table, key)?.map(Stored::decode).transpose()?;
    Ok(present
        .filter(|stored| stored.txg <= at)
        .map_or(Past::Absent, Past::Value))
}

/// The first value of a key that ended after group `at`: when it began, and what it was.
fn first_ended_after(
    snapshot: &dyn Snapshot,
    table: Table,
    key: &[u8],
    at: Txg,
) -> Result<Option<(Txg, Past)>> {
    let (mut start, mut end) = (Vec::new(), Vec::new());
    rows::history_key(&mut start, table, key, Txg(at.0.saturating_add(1)), 0);
    rows::history_key(&mut end, table, key, Txg(u64::MAX), u16::MAX);
    let mut found = None;
    snapshot.scan(HISTORY, &start, Some(&end), &mut |row_key, value| {
        if HistoryKey::decode(row_key)?.key != key {
            return Ok(true);
        }
        let row = HistoryRow::decode(value)?;
        found = Some((row.began, past_of(&row)));
        Ok(false)
    })?;
    Ok(found)
}

/// Rows with `start <= key < end` as they were once group `at` was done, in order, at most `limit`. The whole range is
/// gathered first, so it is for ranges that fit in memory.
pub(crate) fn scan_at(
    snapshot: &dyn Snapshot,
    table: Table,
    start: &[u8],
    end: &[u8],
    at: Txg,
    limit: usize,
) -> Result<Vec<(Bytes, Past)>> {
    let mut gathered = ended_after(snapshot, table, start, end, at)?;
    snapshot.scan(table, start, Some(end), &mut |key, value| {
        if !gathered.contains_key(key) {
            let stored = Stored::decode(Bytes::copy_from_slice(value))?;
            if stored.txg <= at {
                gathered.insert(key.to_vec(), (stored.txg, Past::Value(stored)));
            }
        }
        Ok(true)
    })?;
    let alive = gathered.into_iter().filter(|(_, (began, _))| *began <= at);
    Ok(alive
        .take(limit)
        .map(|(key, (_, past))| (Bytes::from(key), past))
        .collect())
}

type Gathered = BTreeMap<Vec<u8>, (Txg, Past)>;

/// For each key of a range, its first value that ended after group `at`.
fn ended_after(
    snapshot: &dyn Snapshot,
    table: Table,
    start: &[u8],
    end: &[u8],
    at: Txg,
) -> Result<Gathered> {
    let in_history = |key: &[u8]| [&[table.0], key].concat();
    let mut gathered = Gathered::new();
    snapshot.scan(
        HISTORY,
        &in_history(start),
        Some(&in_history(end)),
        &mut |key, value| {
            let key = HistoryKey::decode(key)?;
            if key.ended > at
                && key.key >= start
                && key.key < end
                && !gathered.contains_key(key.key)
            {
                let row = HistoryRow::decode(value)?;
                gathered.insert(key.key.to_vec(), (row.began, past_of(&row)));
            }
            Ok(true)
        },
    )?;
    // A key that is the beginning of `end` has its history rows on both sides of that bound.
    for len in 8..end.len() {
        let key = &end[..len];
        if key >= start
            && let Some(found) = first_ended_after(snapshot, table, key, at)?
        {
            gathered.insert(key.to_vec(), found);
        }
    }
    Ok(gathered)
}

/// The last instant in or before the second of `time`; None before the first.
pub(crate) fn instant_at(
    snapshot: &dyn Snapshot,
    time: Timestamp,
) -> Result<Option<(Timestamp, Txg)>> {
    let after = rows::number_key(time.seconds() + 1);
    let Some((_, value)) = snapshot.last_row(INSTANTS, Some(&after))? else {
        return Ok(None);
    };
    let row = InstantRow::decode(&value)?;
    Ok(Some((row.time, row.txg)))
}

/// The oldest instant that can be gone back to.
pub(crate) fn horizon(snapshot: &dyn Snapshot) -> Result<Option<Timestamp>> {
    let mut oldest = None;
    snapshot.scan(INSTANTS, &[], None, &mut |_, value| {
        oldest = Some(InstantRow::decode(value)?.time);
        Ok(false)
    })?;
    Ok(oldest)
}
