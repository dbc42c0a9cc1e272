//! The past, read at the index: what keys held once a transaction group was done.
//!
//! History holds every value that a kept instant saw or that another session ended, so an answer is exact at kept
//! instants inside the window. Data rows of a dead object are answered as they were at its death until it is reaped.
//!
//! Where one key goes on behind the end of another of its table, it goes on with another byte than 0: no name holds one,
//! and keys without names have the same length. As the first byte of a group's number is 0 for the next two million
//! years, the rows of history stand in the order of their keys.

use std::collections::VecDeque;

use bytes::Bytes;
use strongroom_pool::Txg;

use crate::engine::Engine;
use crate::index::Snapshot;
use crate::rows::{
    self, HEADS, HISTORY, Header, HistoryKey, HistoryRow, INSTANTS, InstantRow, Stored,
};
use crate::{Instant, Result, StoreError, Table};

/// Rows that one look at the index brings in.
const BATCH: usize = 256;
/// Seconds looked at before a search through all instants.
const RECENT: u64 = 60;
/// Rows passed over one by one before the scan jumps to where it wants to go, which costs as much as these.
const PATIENCE: u32 = 16;

/// What a key held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Past {
    Absent,
    Value(Stored),
    /// There was a value; it was given up when space was short.
    Thinned,
}

impl Past {
    /// The value without its header.
    pub(crate) fn payload(self) -> Result<Option<Bytes>> {
        match self {
            Self::Absent => Ok(None),
            Self::Value(stored) => Ok(Some(stored.payload)),
            Self::Thinned => Err(StoreError::Forgotten),
        }
    }
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
    // What stands now and stood then has not ended in between. Only a head may have been given up while it still stands:
    // that of a dead object whose data is on its way out.
    if table != HEADS
        && let Some(stored) = present_at(snapshot, table, key, at)?
    {
        return Ok(Past::Value(stored));
    }
    if let Some((began, past)) = first_ended_after(snapshot, table, key, at)? {
        return Ok(if began <= at { past } else { Past::Absent });
    }
    if table != HEADS {
        return Ok(Past::Absent);
    }
    let present = present_at(snapshot, table, key, at)?;
    Ok(present.map_or(Past::Absent, Past::Value))
}

/// The value of now, if it stood already then.
fn present_at(
    snapshot: &dyn Snapshot,
    table: Table,
    key: &[u8],
    at: Txg,
) -> Result<Option<Stored>> {
    let present = snapshot.get(table, key)?.map(Stored::decode).transpose()?;
    Ok(present.filter(|stored| stored.txg <= at))
}

/// The first value of a key that ended after group `at`: when it began, and what it was.
fn first_ended_after(
    snapshot: &dyn Snapshot,
    table: Table,
    key: &[u8],
    at: Txg,
) -> Result<Option<(Txg, Past)>> {
    let end = after_key(table, key);
    let mut found = None;
    snapshot.scan(
        HISTORY,
        &ended_after(table, key, at),
        Some(&end),
        &mut |row_key, value| {
            if HistoryKey::decode(row_key)?.key != key {
                return Ok(true);
            }
            let row = HistoryRow::decode(value)?;
            found = Some((row.began, past_of(&row)));
            Ok(false)
        },
    )?;
    Ok(found)
}

/// Where the history of a key begins that ended after group `at`.
fn ended_after(table: Table, key: &[u8], at: Txg) -> Vec<u8> {
    let mut start = Vec::with_capacity(key.len() + 11);
    rows::history_key(&mut start, table, key, Txg(at.0.saturating_add(1)), 0);
    start
}

/// Where the history of a key ends.
fn after_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut end = Vec::with_capacity(key.len() + 12);
    rows::history_key(&mut end, table, key, Txg(u64::MAX), u16::MAX);
    end.push(0);
    end
}

/// Shows rows with `start <= key < end` as they were once group `at` was done, in order, until `visit` returns false.
/// None of them is [`Past::Absent`].
pub(crate) fn scan_at(
    snapshot: &dyn Snapshot,
    table: Table,
    (start, end): (&[u8], &[u8]),
    at: Txg,
    visit: &mut dyn FnMut(&[u8], Past) -> Result<bool>,
) -> Result<()> {
    let range = Range {
        snapshot,
        table,
        start,
        end,
        at,
    };
    let mut ended = Batches::new(range.history_start());
    let mut present = Batches::new(start.to_vec());
    loop {
        ended.fill(|from, found| range.more_ended(from, found))?;
        present.fill(|from, found| range.more_present(from, found))?;
        let (ended_first, present_first) = (ended.found.front(), present.found.front());
        let from_history = match (ended_first, present_first) {
            (None, None) => return Ok(()),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(ended), Some(present)) => ended.0 <= present.0,
        };
        let next = if from_history {
            let next = ended.found.pop_front();
            // What stands now began after this ended, or the two are one that is on its way out.
            let same = |first: &mut Found| next.as_ref().is_some_and(|next| next.0 == first.0);
            drop(present.found.pop_front_if(same));
            next
        } else {
            present.found.pop_front()
        };
        if let Some((key, began, past)) = next
            && began <= at
            && !visit(&key, past)?
        {
            return Ok(());
        }
    }
}

/// A key, when its value began, and the value.
type Found = (Vec<u8>, Txg, Past);

/// Rows that are read ahead, some at a time.
struct Batches {
    found: VecDeque<Found>,
    /// Where reading goes on; None at the end.
    next: Option<Vec<u8>>,
}

impl Batches {
    fn new(start: Vec<u8>) -> Self {
        Self {
            found: VecDeque::new(),
            next: Some(start),
        }
    }

    /// Reads on when nothing is left, until something is found or nothing is there.
    fn fill(
        &mut self,
        mut more: impl FnMut(&[u8], &mut VecDeque<Found>) -> Result<Option<Vec<u8>>>,
    ) -> Result<()> {
        while self.found.is_empty()
            && let Some(from) = self.next.take()
        {
            self.next = more(&from, &mut self.found)?;
        }
        Ok(())
    }
}

/// A range of rows at an instant.
struct Range<'a> {
    snapshot: &'a dyn Snapshot,
    table: Table,
    start: &'a [u8],
    end: &'a [u8],
    at: Txg,
}

impl Range<'_> {
    fn history_start(&self) -> Vec<u8> {
        [&[self.table.0], self.start].concat()
    }

    /// For each key, its first value that ended after the instant. Returns where to go on.
    fn more_ended(&self, from: &[u8], found: &mut VecDeque<Found>) -> Result<Option<Vec<u8>>> {
        let end = [&[self.table.0], self.end].concat();
        let (mut passed, mut next) = (0, None);
        self.snapshot
            .scan(HISTORY, from, Some(&end), &mut |row_key, value| {
                let key = HistoryKey::decode(row_key)?;
                let done = found.back().is_some_and(|(last, ..)| last == key.key);
                let outside = key.key < self.start || key.key >= self.end;
                if done || outside || key.ended <= self.at {
                    passed += 1;
                    if passed > PATIENCE {
                        next = Some(if done || outside {
                            after_key(self.table, key.key)
                        } else {
                            ended_after(self.table, key.key, self.at)
                        });
                    }
                    return Ok(next.is_none());
                }
                passed = 0;
                let row = HistoryRow::decode(value)?;
                found.push_back((key.key.to_vec(), row.began, past_of(&row)));
                if found.len() >= BATCH {
                    next = Some(after_key(self.table, key.key));
                }
                Ok(next.is_none())
            })?;
        Ok(next)
    }

    /// Rows of now that stood already then. Returns where to go on.
    fn more_present(&self, from: &[u8], found: &mut VecDeque<Found>) -> Result<Option<Vec<u8>>> {
        let mut next = None;
        self.snapshot
            .scan(self.table, from, Some(self.end), &mut |key, value| {
                if Header::decode(value)?.txg <= self.at {
                    let stored = Stored::decode(Bytes::copy_from_slice(value))?;
                    found.push_back((key.to_vec(), stored.txg, Past::Value(stored)));
                }
                if found.len() >= BATCH {
                    next = Some([key, &[0]].concat());
                }
                Ok(next.is_none())
            })?;
        Ok(next)
    }
}

/// Instants that the index keeps whose seconds lie in a range, in order, until `visit` returns false.
pub(crate) fn instants(
    snapshot: &dyn Snapshot,
    seconds: std::ops::RangeInclusive<u64>,
    visit: &mut dyn FnMut(Instant) -> Result<bool>,
) -> Result<()> {
    let start = rows::number_key(*seconds.start());
    let end = seconds.end().checked_add(1).map(rows::number_key);
    let end = end.as_ref().map(<[u8; 8]>::as_slice);
    snapshot.scan(INSTANTS, &start, end, &mut |_, value| {
        visit(instant_of(&InstantRow::decode(value)?))
    })
}

fn instant_of(row: &InstantRow) -> Instant {
    Instant {
        txg: row.txg,
        time: row.time,
    }
}

/// The newest instant that the index has in or before a second.
pub(crate) fn instant_at(snapshot: &dyn Snapshot, second: u64) -> Result<Option<Instant>> {
    let after = rows::number_key(second.saturating_add(1));
    let found = snapshot.last_row(INSTANTS, Some(&after))?;
    let found = found
        .map(|(_, value)| InstantRow::decode(&value))
        .transpose()?;
    Ok(found.as_ref().map(instant_of))
}

/// The oldest instant that can be gone back to.
pub(crate) fn horizon(snapshot: &dyn Snapshot) -> Result<Option<Instant>> {
    let mut oldest = None;
    instants(snapshot, 0..=u64::MAX, &mut |instant| {
        oldest = Some(instant);
        Ok(false)
    })?;
    Ok(oldest)
}

impl Engine {
    /// Kept instants whose seconds lie in a range, oldest first, at most `limit`. What a later group of the same second
    /// may yet take the place of is none.
    pub(crate) fn kept_instants(
        &self,
        seconds: std::ops::RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<Instant>> {
        let groups = self.recent.lock().clone();
        let mut found = Vec::new();
        let snapshot = self.index.snapshot();
        instants(&*snapshot, seconds.clone(), &mut |instant| {
            found.push(instant);
            Ok(found.len() < limit)
        })?;
        for group in groups {
            let second = group.time.seconds();
            if !seconds.contains(&second) {
                continue;
            }
            match found.last_mut() {
                Some(last) if last.txg >= group.txg => {}
                Some(last) if last.time.seconds() == second => *last = group,
                _ => found.push(group),
            }
        }
        let (now, durable) = (self.group_time().seconds(), self.durable_txg());
        found.retain(|instant| instant.time.seconds() < now && instant.txg <= durable);
        found.truncate(limit);
        Ok(found)
    }

    /// The newest kept instant in or before a second; None before the first.
    pub(crate) fn kept_instant_at(&self, second: u64) -> Result<Option<Instant>> {
        let second = second.min(self.group_time().seconds());
        let waiting = self
            .recent
            .lock()
            .front()
            .map_or(second, |first| first.time.seconds());
        let start = second.saturating_sub(RECENT).min(waiting);
        let recent = self.kept_instants(start..=second, usize::MAX)?;
        if let Some(last) = recent.last() {
            return Ok(Some(*last));
        }
        let before = instant_at(&*self.index.snapshot(), second)?;
        Ok(before.filter(|instant| instant.time.seconds() < start))
    }
}
