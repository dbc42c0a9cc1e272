//! Compaction: stripes that are dead for the most part, and so keep much space for little, are emptied.
//!
//! What lives in them is copied to new stripes, the emptiest first. An extent keeps its name, the address that rows say;
//! the index notes where it lies now, in the write that hands its bytes from the old stripe's account to the new one's.
//! The old stripe is dead from there on and given back like any other, once no reader looks at an older state.
//!
//! At leisure a byte that is copied gives at least half a byte back. When room is short, as much as is wanted is given
//! back, by stripes that hold more, too, but always by the emptiest there are; the pool's slack ([`crate::space`]) leaves
//! them time to die.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_pool::{Address, ExtentTag, Lane, MAX_STRIPE_PAYLOAD, SegmentId, Txg};

use crate::engine::Engine;
use crate::feed::DeadStripe;
use crate::index::{Snapshot, WriteTxn};
use crate::orphans::StripeId;
use crate::packing;
use crate::rows::{self, MOVED, MOVED_NAMES, STRIPES, StripeRow};
use crate::{Inode, ObjectId, Result};

/// Stripes are emptied when so much of them lives at most, in thousandths: at leisure, and when room is short.
const LIVES_AT_LEISURE: u64 = 666;
const LIVES_WHEN_SHORT: u64 = 970;
/// While there is room, nothing is done for less than this part of the pool.
const WORTH: u64 = 50;
/// Stripes that one survey remembers: those in which least lives.
const PLANNED_MAX: usize = 1 << 16;
/// Bytes that one round copies.
const ROUND_BYTES: u64 = 32 << 20;
/// Bytes that are copied in one write of the index.
const BATCH_BYTES: u64 = 8 << 20;
/// Surveys are this far apart, at leisure and when room is short.
const SURVEY_AT_LEISURE: Duration = Duration::from_secs(60);
const SURVEY_WHEN_SHORT: Duration = Duration::from_millis(500);
/// They take at most this part of the time.
const SURVEY_PART: u32 = 8;
/// Extents of one stripe.
const EXTENTS_MAX: usize = 256;
/// Rows that are looked at to find out whether one extent of an earlier opening is named.
const LOOK_MAX: usize = 4096;

/// A stripe worth emptying. Ordered by what lives in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// In thousandths.
    lives: u64,
    stripe: StripeId,
    /// Bytes.
    dead: u64,
}

/// What is to be emptied.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The best last.
    candidates: Vec<Candidate>,
    /// Dead bytes to be given back yet.
    wanted: u64,
    /// When the last survey began, and how long it took.
    surveyed: Option<(Duration, Duration)>,
}

impl Plan {
    /// So many dead bytes are on their way back; what is enough ends the plan.
    fn gave(&mut self, dead: u64) {
        self.wanted = self.wanted.saturating_sub(dead);
        if self.wanted == 0 {
            self.candidates.clear();
        }
    }
}

/// When compaction goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Once something dies.
    Idle,
    Now,
    Later(Duration),
}

/// One extent on its way.
#[derive(Debug)]
struct Mover {
    tag: ExtentTag,
    from: Address,
    bytes: Vec<u8>,
}

/// One extent that lies in a new place.
#[derive(Debug, Clone, Copy)]
struct Move {
    from: Address,
    to: Address,
    len: u64,
}

impl Engine {
    /// One round of compaction. `wanted` bytes are to be given back soon; None at leisure.
    pub(crate) fn compact(&self, wanted: Option<u64>) -> Result<Next> {
        let mut plan = self.compaction.lock();
        if plan.candidates.is_empty() {
            let wait = self.until_survey(&plan, wanted.is_some());
            if wait != Next::Now {
                return Ok(wait);
            }
            self.died.store(false, Ordering::Release);
            *plan = self.survey(wanted)?;
        }
        let mut copied = 0;
        while copied < ROUND_BYTES && !self.stopping() {
            let batch = self.gather_living(&mut plan)?;
            if batch.is_empty() {
                break;
            }
            copied += self.move_extents(&batch)?;
        }
        Ok(if copied > 0 { Next::Now } else { Next::Idle })
    }

    /// Nothing is to be found while nothing died.
    fn until_survey(&self, plan: &Plan, short: bool) -> Next {
        if !self.died.load(Ordering::Acquire) {
            return Next::Idle;
        }
        let every = if short {
            SURVEY_WHEN_SHORT
        } else {
            SURVEY_AT_LEISURE
        };
        let due = plan.surveyed.map_or(Duration::ZERO, |(last, took)| {
            last + every.max(took * SURVEY_PART)
        });
        match due.saturating_sub(self.env.monotonic()) {
            Duration::ZERO => Next::Now,
            wait => Next::Later(wait),
        }
    }

    /// Looks at every stripe's account for those that keep much space for little.
    fn survey(&self, wanted: Option<u64>) -> Result<Plan> {
        let begun = self.env.monotonic();
        let lives_max = match wanted {
            Some(_) => LIVES_WHEN_SHORT,
            None => LIVES_AT_LEISURE,
        };
        let snapshot = self.index.snapshot();
        let mut best = BinaryHeap::new();
        let mut gain = 0;
        snapshot.scan(STRIPES, &[], None, &mut |key, value| {
            let (stripe, row) = (rows::decode_stripe_key(key)?, StripeRow::decode(value)?);
            let dead = row.freed + self.orphans.lock().dropped(stripe);
            let lives = row.live * 1000 / (row.live + dead).max(1);
            if row.live > 0 && dead > 0 && lives <= lives_max {
                gain += dead;
                best.push(Candidate {
                    lives,
                    stripe,
                    dead,
                });
                if best.len() > PLANNED_MAX {
                    best.pop();
                }
            }
            Ok(!self.stopping())
        })?;
        let worth = wanted.is_some() || gain.saturating_mul(WORTH) >= self.space.total();
        let mut candidates = best.into_sorted_vec();
        candidates.reverse();
        if !worth {
            candidates.clear();
        }
        Ok(Plan {
            candidates,
            wanted: wanted.unwrap_or(u64::MAX),
            surveyed: Some((begun, self.env.monotonic().saturating_sub(begun))),
        })
    }

    /// Reads what lives in the next stripes. A stripe that cannot be emptied now is passed over.
    fn gather_living(&self, plan: &mut Plan) -> Result<Vec<Mover>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let enough = BATCH_BYTES.min(self.space.total() / 64);
        while bytes < enough {
            let Some(Candidate { stripe, dead, .. }) = plan.candidates.pop() else {
                break;
            };
            let recovered = self.index.last_txg() >= self.opened_txg;
            let snapshot = self.index.snapshot();
            let Some(alive) = self.alive_in(&*snapshot, stripe, recovered)? else {
                continue;
            };
            // The snapshot keeps it in place until it was read.
            match self.read_all(&alive) {
                Ok(mut movers) => {
                    bytes += alive.iter().map(|(tag, _)| u64::from(tag.len)).sum::<u64>();
                    batch.append(&mut movers);
                    plan.gave(dead);
                }
                Err(error) => {
                    tracing::warn!(segment = %stripe.0, stripe = stripe.1, %error, "not compacted");
                }
            }
        }
        Ok(batch)
    }

    fn read_all(&self, alive: &[(ExtentTag, Address)]) -> Result<Vec<Mover>> {
        let read = |(tag, from): &(ExtentTag, Address)| {
            let mut bytes = vec![0; tag.len as usize];
            self.pool.read(*from, 0, &mut bytes)?;
            Ok(Mover {
                tag: *tag,
                from: *from,
                bytes,
            })
        };
        alive.iter().map(read).collect()
    }

    /// The extents that live in a stripe; None if that is not certain, as while one of them is still to be named.
    fn alive_in(
        &self,
        snapshot: &dyn Snapshot,
        stripe: StripeId,
        recovered: bool,
    ) -> Result<Option<Vec<(ExtentTag, Address)>>> {
        let row = snapshot.get(STRIPES, &rows::stripe_key(stripe.0, stripe.1))?;
        let info = self.pool.stripe(stripe.0, stripe.1);
        let (Some(row), Some(info)) = (row, info.filter(|info| !info.punched)) else {
            return Ok(None);
        };
        let row = StripeRow::decode(&row)?;
        let dropped = self.orphans.lock().dropped_blocks(stripe);
        let mut alive = info.extents;
        alive.retain(|(_, at)| !row.gone.holds(at.offset) && !dropped.holds(at.offset));
        if occupied(&alive) > row.live && stripe.0.0 >> 32 < self.opened_sequence && recovered {
            // What an earlier opening left unnamed, no list tells.
            let mut named = Vec::with_capacity(alive.len());
            for extent in alive {
                if is_named(snapshot, &extent.0, extent.1)? {
                    named.push(extent);
                }
            }
            alive = named;
        }
        Ok((row.live > 0 && occupied(&alive) == row.live).then_some(alive))
    }

    /// Writes extents to new stripes and tells the index; returns how many bytes that were.
    fn move_extents(&self, batch: &[Mover]) -> Result<u64> {
        let mut moves = Vec::with_capacity(batch.len());
        if let Err(error) = self.copy(batch, &mut moves) {
            // Nobody names the copies, nor ever will.
            let mut orphans = self.orphans.lock();
            for Move { to, len, .. } in &moves {
                orphans.drop_bytes(*to, (*len, *len), *len);
            }
            return Err(error);
        }
        let segments: BTreeSet<SegmentId> = moves.iter().map(|m| m.to.segment).collect();
        let segments: Vec<SegmentId> = segments.into_iter().collect();
        self.sync_segments(&segments)?;
        // If this fails it may have been done all the same: the copies stay until the next opening knows.
        self.note_moves(&moves)?;
        let bytes = moves.iter().map(|m| m.len).sum();
        self.compacted.fetch_add(bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    fn copy(&self, batch: &[Mover], moves: &mut Vec<Move>) -> Result<()> {
        let room = MAX_STRIPE_PAYLOAD * usize::from(self.pool.layout().data.max(1));
        let mut rest = batch;
        while !rest.is_empty() {
            let mut used = 0;
            let fitting = rest.iter().take(EXTENTS_MAX).take_while(|mover| {
                used += mover.bytes.len().next_multiple_of(4096);
                used <= room
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            let parts: Vec<[&[u8]; 1]> = now.iter().map(|mover| [&mover.bytes[..]]).collect();
            let extents = now.iter().zip(&parts);
            let extents: Vec<(ExtentTag, &[&[u8]])> = extents
                .map(|(mover, part)| (mover.tag, &part[..]))
                .collect();
            let addresses = self.append(Lane::Compact, &extents)?;
            moves.extend(now.iter().zip(addresses).map(|(mover, to)| Move {
                from: mover.from,
                to,
                len: u64::from(mover.tag.len),
            }));
            rest = later;
        }
        Ok(())
    }

    fn note_moves(&self, moves: &[Move]) -> Result<()> {
        let _feeding = self.feeding.lock();
        let mut moved = HashSet::clone(&self.moved.load());
        let snapshot = self.index.snapshot();
        for Move { from, .. } in moves {
            moved.insert(name_of(&*snapshot, *from)?.segment);
        }
        drop(snapshot);
        // Before any reader can see that they moved, readers know to ask.
        self.moved.store(Arc::new(moved));
        let mut dead = 0;
        let noted = self.index.write(&mut |write| {
            dead = apply(write, moves)?;
            Ok(())
        });
        self.note_dead(&noted, |()| dead);
        noted
    }

    /// Where an extent lies, as a snapshot shows it that is held until its bytes were read.
    pub(crate) fn locate(&self, snapshot: &dyn Snapshot, name: Address) -> Result<Address> {
        if !self.moved.load().contains(&name.segment) {
            return Ok(name);
        }
        let moved = snapshot.get(MOVED, &rows::address_key(name))?;
        moved.map_or(Ok(name), |at| rows::decode_address(&at))
    }

    /// Learns of which segments extents were moved away before this opening.
    pub(crate) fn load_moved(&self) -> Result<()> {
        let snapshot = self.index.snapshot();
        let mut moved = HashSet::new();
        let mut next = Some(SegmentId(0));
        while let Some(from) = next.take() {
            let start = rows::stripe_key(from, 0);
            snapshot.scan(MOVED, &start, None, &mut |key, _| {
                let segment = rows::decode_address(key)?.segment;
                moved.insert(segment);
                next = segment.0.checked_add(1).map(SegmentId);
                Ok(false)
            })?;
        }
        self.moved.store(Arc::new(moved));
        Ok(())
    }
}

/// Bytes of extents in their stripe.
fn occupied(extents: &[(ExtentTag, Address)]) -> u64 {
    let len = |(tag, _): &(ExtentTag, Address)| u64::from(tag.len).next_multiple_of(4096);
    extents.iter().map(len).sum()
}

fn name_of(snapshot: &dyn Snapshot, at: Address) -> Result<Address> {
    let name = snapshot.get(MOVED_NAMES, &rows::address_key(at))?;
    name.map_or(Ok(at), |name| rows::decode_address(&name))
}

/// Whether a row of the present or of history names an extent. Rows that do lie within the bytes of the file that it was
/// written for.
fn is_named(snapshot: &dyn Snapshot, tag: &ExtentTag, at: Address) -> Result<bool> {
    let name = name_of(snapshot, at)?;
    let object = ObjectId {
        inode: Inode(tag.inode),
        stream: tag.stream,
    };
    let start = rows::extent_key(object, tag.offset);
    let len = u64::from(packing::plain_len(tag));
    let end = rows::extent_key(object, tag.offset.saturating_add(len));
    let (mut named, mut looked) = (false, 0);
    let mut names = |payload: &[u8]| {
        looked += 1;
        named |= rows::ExtentRow::decode(payload)?.address == name;
        Ok(!named && looked < LOOK_MAX)
    };
    snapshot.scan(rows::EXTENTS, &start, Some(&end), &mut |_, value| {
        let header = rows::Header::decode(value)?;
        names(value.get(header.len..).unwrap_or_default())
    })?;
    let in_history = |key: &[u8]| [&[rows::EXTENTS.0], key].concat();
    let (start, end) = (in_history(&start), in_history(&end));
    snapshot.scan(rows::HISTORY, &start, Some(&end), &mut |_, value| {
        match rows::HistoryRow::decode(value)?.payload {
            Some(payload) => names(payload),
            None => Ok(true),
        }
    })?;
    Ok(named)
}

/// Accounts of stripes while moves are noted.
struct Accounts<'a> {
    write: &'a mut dyn WriteTxn,
    rows: BTreeMap<StripeId, StripeRow>,
}

impl Accounts<'_> {
    fn of(&mut self, at: Address) -> Result<&mut StripeRow> {
        let stripe = (at.segment, at.stripe);
        if !self.rows.contains_key(&stripe) {
            let row = self
                .write
                .get(STRIPES, &rows::stripe_key(stripe.0, stripe.1))?;
            let row = row.map_or(Ok(StripeRow::default()), |row| StripeRow::decode(&row))?;
            self.rows.insert(stripe, row);
        }
        Ok(self.rows.entry(stripe).or_default())
    }

    /// Writes the accounts; stripes in which nothing lives go on the list of the dead.
    fn settle(self, txg: Txg) -> Result<()> {
        let mut old = Vec::new();
        for ((segment, stripe), row) in &self.rows {
            let key = rows::stripe_key(*segment, *stripe);
            self.write.insert(STRIPES, &key, &row.encode(), &mut old)?;
            if row.live == 0 {
                let dead = DeadStripe {
                    txg,
                    segment: *segment,
                    stripe: *stripe,
                };
                let key = rows::dead_stripe_key(dead);
                self.write.insert(rows::DEAD_STRIPES, &key, &[], &mut old)?;
            }
        }
        Ok(())
    }
}

/// Notes where extents lie now. What died while it was copied is as dead in its new place. Returns the bytes that are
/// dead now.
fn apply(write: &mut dyn WriteTxn, moves: &[Move]) -> Result<u64> {
    let Some(first) = moves.first() else {
        return Ok(0);
    };
    // The new stripes have no account before; if they have one, this write is run again after it was done.
    let account = rows::stripe_key(first.to.segment, first.to.stripe);
    if write.get(STRIPES, &account)?.is_some() {
        return Ok(0);
    }
    let txg = write.last_txg();
    let mut accounts = Accounts {
        write,
        rows: BTreeMap::new(),
    };
    for Move { from, to, len } in moves {
        let bytes = len.next_multiple_of(4096);
        let old = accounts.of(*from)?;
        let alive = old.live >= bytes && !old.gone.holds(from.offset);
        if !alive {
            accounts.of(*to)?.free(to.offset, *len);
            continue;
        }
        old.live -= bytes;
        old.free(from.offset, *len);
        accounts.of(*to)?.live += bytes;
        rename(accounts.write, *from, *to)?;
    }
    accounts.settle(txg)?;
    // Each of them is dead in one of its two places.
    Ok(moves
        .iter()
        .map(|moved| moved.len.next_multiple_of(4096))
        .sum())
}

fn rename(write: &mut dyn WriteTxn, from: Address, to: Address) -> Result<()> {
    let (from, to) = (rows::address_key(from), rows::address_key(to));
    let mut old = Vec::new();
    let name = match write.remove(MOVED_NAMES, &from, &mut old)? {
        true => old.clone(),
        false => from.to_vec(),
    };
    write.insert(MOVED, &name, &to, &mut old)?;
    write.insert(MOVED_NAMES, &to, &name, &mut old)?;
    Ok(())
}

#[cfg(test)]
mod tests;
