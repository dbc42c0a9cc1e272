//! The past, read at the index: what keys held once a transaction group was done.
//!
//! History holds every value that a kept instant saw or that another session ended, so an answer is exact at kept
//! instants inside the window. Data rows of a dead object are answered as they were at its death until it is reaped.
//!
//! Where one key goes on behind the end of another of its table, it goes on with another byte than 0: no name holds one,
//! and keys without names have the same length. As the first byte of a group's number is 0 for the next two million
//! years, the rows of history stand in the order of their keys.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use bytes::Bytes;
use strongroom_device::Timestamp;
use strongroom_pool::Txg;

use crate::engine::Engine;
use crate::index::Snapshot;
use crate::rows::{
    self, HEADS, HISTORY, Header, HistoryKey, HistoryRow, INSTANTS, InstantRow, Stored,
};
use crate::{Instant, Realm, Result, StoreError, Table};

/// Rows that one look at the index brings in.
const BATCH: usize = 256;
/// How many seconds back an instant is searched, step by step.
const SEARCHES: [u64; 4] = [60, 3600, 86_400, u64::MAX];
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
    seconds: RangeInclusive<u64>,
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
#[cfg(test)]
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
    /// Instants that are kept for a realm and whose seconds lie in a range, oldest first, the newest `limit` of them. What
    /// a later group of the same second may yet take the place of is none.
    pub(crate) fn kept_instants(
        &self,
        realm: Realm,
        seconds: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<Instant>> {
        let rules = self.rules()?;
        let all = self.instants_from(*seconds.start(), *seconds.end())?;
        let (now, durable) = (self.group_time().seconds(), self.durable_txg());
        let scheduled = rules.kept(Some(realm), now, &all).into_iter();
        let mut found: Vec<_> = scheduled
            .map(|(instant, _)| instant)
            .filter(|instant| instant.time.seconds() < now)
            .collect();
        found.extend(rules.pins.of(Some(realm)).map(|pin| pin.instant));
        found.retain(|instant| seconds.contains(&instant.time.seconds()) && instant.txg <= durable);
        found.sort_unstable_by_key(|instant| instant.txg);
        found.dedup_by_key(|instant| instant.txg);
        found.drain(..found.len().saturating_sub(limit));
        Ok(found)
    }

    /// The last instant of a second that has passed, not later than another instant, in the hour before.
    pub(crate) fn instant_before(&self, instant: Instant) -> Result<Option<Instant>> {
        let (second, now) = (instant.time.seconds(), self.group_time().seconds());
        let mut found = self.instants_from(second.saturating_sub(3_600), second)?;
        found.retain(|kept| kept.txg <= instant.txg && kept.time.seconds() < now);
        Ok(found.pop())
    }

    /// The last groups of all seconds from one to another, and of the one that follows.
    fn instants_from(&self, start: u64, end: u64) -> Result<Vec<Instant>> {
        // Asked before the index, which may take them in between.
        let recent = self.recent.lock().clone();
        let mut found = Vec::new();
        instants(&*self.index.snapshot(), start..=u64::MAX, &mut |instant| {
            found.push(instant);
            Ok(instant.time.seconds() <= end)
        })?;
        for group in recent {
            let second = group.time.seconds();
            if second < start {
                continue;
            }
            match found.last_mut() {
                Some(last) if last.txg >= group.txg => {}
                Some(last) if last.time.seconds() == second => *last = group,
                _ => found.push(group),
            }
        }
        Ok(found)
    }

    /// When the second of a group ended that is in the window or waits for the index.
    pub(crate) fn time_about(&self, txg: Txg) -> Result<Timestamp> {
        let rules = self.rules()?;
        let now = self.group_time();
        let start = rules.edge(now.seconds()).map_or(0, |edge| edge + 1);
        let all = self.instants_from(start, u64::MAX)?;
        let place = all.partition_point(|instant| instant.txg < txg);
        match all.get(place) {
            // The first one may be the end of a second that began before the window.
            Some(_) if place == 0 && start > 0 => Err(StoreError::Forgotten),
            Some(instant) => Ok(instant.time),
            None => Ok(now),
        }
    }

    /// The newest instant in or before a second that is kept for a realm; None before the first.
    pub(crate) fn kept_instant_at(&self, realm: Realm, second: u64) -> Result<Option<Instant>> {
        let second = second.min(self.group_time().seconds());
        for back in SEARCHES {
            let seconds = second.saturating_sub(back)..=second;
            if let Some(last) = self.kept_instants(realm, seconds, 1)?.pop() {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }
}
