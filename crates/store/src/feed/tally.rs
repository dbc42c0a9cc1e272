//! References to extents, live bytes of stripes, and who holds how much: added up over one write, then settled.

use std::collections::{BTreeMap, HashMap};

use strongroom_pool::{Address, SegmentId, Txg};

use super::chains::payload_of;
use super::{DeadObject, DeadStripe};
use crate::index::WriteTxn;
use crate::rows::{
    self, DEAD_STRIPES, EXTENTS, ExtentRow, HEADS, Header, INLINE, MAKERS, META, MOVED,
    MOVED_NAMES, REFERENCES, STRIPES, StripeRow,
};
use crate::{Result, SessionId, Table};

/// Keys of [`META`]: bytes of live extents, these before they were compressed, bytes that present rows map, bytes held by
/// graves.
pub(crate) const META_LIVE: &[u8] = b"live";
pub(crate) const META_PLAIN: &[u8] = b"plain";
pub(crate) const META_PRESENT: &[u8] = b"present";
pub(crate) const META_GRAVES: &[u8] = b"graves";

/// Bytes that an extent occupies in its stripe.
fn occupied(stored: u32) -> i64 {
    i64::from(stored.div_ceil(4096)) * 4096
}

#[derive(Debug, Default, Clone, Copy)]
struct ExtentDelta {
    rows: i64,
    fresh: bool,
    whole: u32,
    stored: u32,
}

/// Changes of counts in one write.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    extents: BTreeMap<Address, ExtentDelta>,
    present: i64,
    graves: i64,
    makers: BTreeMap<SessionId, i64>,
}

#[derive(Debug, Default)]
struct StripeDelta {
    live: i64,
    /// Offset and length of extents that nobody names any more.
    freed: Vec<(u32, u64)>,
}

/// What became of the counts.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) freed: Vec<Address>,
    pub(crate) dead_stripes: Vec<DeadStripe>,
    /// Bytes that they and other extents took in their stripes.
    pub(crate) dead: u64,
}

impl Tally {
    /// A row naming an extent was made.
    pub(crate) fn add_row(&mut self, payload: &[u8]) -> Result<()> {
        let row = ExtentRow::decode(payload)?;
        let delta = self.extents.entry(row.address).or_default();
        delta.rows += 1;
        delta.fresh |= row.fresh;
        delta.whole = row.whole;
        delta.stored = row.stored();
        Ok(())
    }

    /// A row naming an extent is gone, from the present or from history.
    pub(crate) fn drop_row(&mut self, payload: &[u8]) -> Result<()> {
        let row = ExtentRow::decode(payload)?;
        let delta = self.extents.entry(row.address).or_default();
        delta.rows -= 1;
        delta.whole = row.whole;
        delta.stored = row.stored();
        Ok(())
    }

    pub(crate) fn present_gains(&mut self, payload: &[u8]) -> Result<()> {
        self.present = self
            .present
            .saturating_add_unsigned(ExtentRow::decode(payload)?.held());
        Ok(())
    }

    pub(crate) fn present_loses(&mut self, payload: &[u8]) -> Result<()> {
        self.present = self
            .present
            .saturating_sub_unsigned(ExtentRow::decode(payload)?.held());
        Ok(())
    }

    /// `session` put a value of `table` into history; the row takes `bytes`.
    pub(crate) fn history_gains(
        &mut self,
        session: SessionId,
        table: Table,
        payload: Option<&[u8]>,
        bytes: u64,
    ) -> Result<()> {
        *self.makers.entry(session).or_default() += history_weight(table, payload, bytes)?;
        Ok(())
    }

    pub(crate) fn history_loses(
        &mut self,
        session: SessionId,
        table: Table,
        payload: Option<&[u8]>,
        bytes: u64,
    ) -> Result<()> {
        *self.makers.entry(session).or_default() -= history_weight(table, payload, bytes)?;
        Ok(())
    }

    pub(crate) fn grave_gains(&mut self, session: SessionId, allocated: u64) {
        let allocated = i64::try_from(allocated).unwrap_or(i64::MAX);
        self.graves = self.graves.saturating_add(allocated);
        *self.makers.entry(session).or_default() += allocated;
    }

    pub(crate) fn grave_loses(&mut self, session: SessionId, allocated: u64) {
        let allocated = i64::try_from(allocated).unwrap_or(i64::MAX);
        self.graves = self.graves.saturating_sub(allocated);
        *self.makers.entry(session).or_default() -= allocated;
    }

    /// Removes the rows of a dead object, at most `limit` of them; tells how many. The object is gone when it is fewer.
    pub(crate) fn reap(
        &mut self,
        write: &mut dyn WriteTxn,
        dead: DeadObject,
        limit: usize,
    ) -> Result<usize> {
        let start = rows::object_key(dead.object);
        let end = rows::extent_key(dead.object, u64::MAX);
        let mut keys = Vec::new();
        write.scan(EXTENTS, &start, Some(&end), &mut |key, value| {
            if keys.len() >= limit {
                return Ok(false);
            }
            if Header::decode(value)?.txg <= dead.txg {
                keys.push(key.to_vec());
            }
            Ok(true)
        })?;
        let mut old = Vec::new();
        for key in &keys {
            if write.remove(EXTENTS, key, &mut old)? {
                let payload = payload_of(&old)?;
                self.present_loses(payload)?;
                self.drop_row(payload)?;
            }
        }
        if keys.len() >= limit {
            return Ok(keys.len());
        }
        for table in [HEADS, INLINE] {
            let of_dead = write
                .get(table, &start)?
                .map(|value| Header::decode(&value))
                .transpose()?;
            if of_dead.is_some_and(|header| header.txg <= dead.txg) {
                write.remove(table, &start, &mut old)?;
            }
        }
        Ok(keys.len())
    }

    /// Writes the new counts, all absolute; tells what nobody refers to any more.
    pub(crate) fn settle(self, write: &mut dyn WriteTxn, txg: Txg) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut stripes: BTreeMap<(SegmentId, u32), StripeDelta> = BTreeMap::new();
        let (mut live, mut plain) = (0, 0);
        let mut moved = Moved::default();
        for (name, delta) in &self.extents {
            let change = settle_extent(write, *name, *delta)?;
            if change.bytes == 0 && !change.freed {
                continue;
            }
            // An extent that was never named before lies where it was appended.
            let at = if delta.fresh {
                *name
            } else {
                moved.locate(write, *name, change.freed)?
            };
            let stripe = stripes.entry((at.segment, at.stripe)).or_default();
            stripe.live += change.bytes;
            live += change.bytes;
            plain += change.plain;
            if change.freed {
                let stored = occupied(delta.stored).unsigned_abs();
                stripe.freed.push((at.offset, stored));
                settled.freed.push(*name);
            }
        }
        for ((segment, stripe), delta) in stripes {
            let dead = DeadStripe {
                txg,
                segment,
                stripe,
            };
            settled.dead += delta.freed.iter().map(|(_, len)| len).sum::<u64>();
            if settle_stripe(write, dead, &delta)? {
                settled.dead_stripes.push(dead);
            }
        }
        add_to(write, META, META_LIVE, live)?;
        add_to(write, META, META_PLAIN, plain)?;
        add_to(write, META, META_PRESENT, self.present)?;
        add_to(write, META, META_GRAVES, self.graves)?;
        for (session, bytes) in self.makers {
            add_to(write, MAKERS, &rows::number_key(session.0), bytes)?;
        }
        Ok(settled)
    }
}

/// What an ended value weighs: its row, and the file bytes that it alone may hold.
fn history_weight(table: Table, payload: Option<&[u8]>, bytes: u64) -> Result<i64> {
    let extent = payload
        .filter(|_| table == EXTENTS)
        .map(ExtentRow::decode)
        .transpose()?;
    let held = extent.map_or(0, |row| row.held());
    Ok(i64::try_from(held.saturating_add(bytes)).unwrap_or(i64::MAX))
}

/// Where extents lie that cleaning may have moved.
#[derive(Default)]
struct Moved {
    /// Whether any extent of a segment was.
    segments: HashMap<SegmentId, bool>,
}

impl Moved {
    /// Where an extent lies; if it is freed, that is forgotten.
    fn locate(&mut self, write: &mut dyn WriteTxn, name: Address, freed: bool) -> Result<Address> {
        let any = match self.segments.get(&name.segment) {
            Some(any) => *any,
            None => {
                let any = moved_any(write, name.segment)?;
                self.segments.insert(name.segment, any);
                any
            }
        };
        let key = rows::address_key(name);
        let moved = if any { write.get(MOVED, &key)? } else { None };
        let Some(moved) = moved else {
            return Ok(name);
        };
        if freed {
            let mut old = Vec::new();
            write.remove(MOVED, &key, &mut old)?;
            write.remove(MOVED_NAMES, &moved, &mut old)?;
        }
        rows::decode_address(&moved)
    }
}

fn moved_any(write: &mut dyn WriteTxn, segment: SegmentId) -> Result<bool> {
    let at = |stripe, offset| {
        rows::address_key(Address {
            segment,
            stripe,
            offset,
        })
    };
    let mut any = false;
    write.scan(
        MOVED,
        &at(0, 0),
        Some(&at(u32::MAX, u32::MAX)),
        &mut |_, _| {
            any = true;
            Ok(false)
        },
    )?;
    Ok(any)
}

struct ExtentChange {
    bytes: i64,
    /// Before it was compressed.
    plain: i64,
    freed: bool,
}

fn settle_extent(
    write: &mut dyn WriteTxn,
    address: Address,
    delta: ExtentDelta,
) -> Result<ExtentChange> {
    if delta.rows == 0 && !delta.fresh {
        return Ok(ExtentChange {
            bytes: 0,
            plain: 0,
            freed: false,
        });
    }
    let key = rows::address_key(address);
    let counted = if delta.fresh {
        None
    } else {
        write.get(REFERENCES, &key)?
    };
    let counted = counted
        .map(|value| rows::decode_number(&value))
        .transpose()?;
    let before = if delta.fresh { 0 } else { counted.unwrap_or(1) };
    let after = before.checked_add_signed(delta.rows);
    let after = after.unwrap_or_else(|| panic_negative(address, before, delta.rows));
    let mut old = Vec::new();
    if after > 1 {
        write.insert(REFERENCES, &key, &rows::encode_number(after), &mut old)?;
    } else if counted.is_some() {
        write.remove(REFERENCES, &key, &mut old)?;
    }
    let sign = match (before, after) {
        (0, 1..) => 1,
        (1.., 0) => -1,
        _ => 0,
    };
    Ok(ExtentChange {
        bytes: sign * occupied(delta.stored),
        plain: sign * occupied(delta.whole),
        freed: after == 0,
    })
}

#[expect(
    clippy::panic,
    reason = "an extent referred to less than never is our own broken invariant"
)]
fn panic_negative(address: Address, before: u64, rows: i64) -> u64 {
    panic!("extent {address:?} had {before} references and lost {rows}")
}

/// Adds to a stripe's counts; true when nothing that was named is alive in it any more.
fn settle_stripe(
    write: &mut dyn WriteTxn,
    stripe: DeadStripe,
    delta: &StripeDelta,
) -> Result<bool> {
    if delta.live == 0 && delta.freed.is_empty() {
        return Ok(false);
    }
    let key = rows::stripe_key(stripe.segment, stripe.stripe);
    let row = write.get(STRIPES, &key)?;
    let mut row = row.map_or(Ok(StripeRow::default()), |row| StripeRow::decode(&row))?;
    let live = row.live.checked_add_signed(delta.live);
    assert!(live.is_some(), "a stripe's live bytes fell below zero");
    row.live = live.unwrap_or_default();
    for (offset, len) in &delta.freed {
        row.free(*offset, *len);
    }
    let mut old = Vec::new();
    write.insert(STRIPES, &key, &row.encode(), &mut old)?;
    if row.live == 0 {
        let key = rows::dead_stripe_key(stripe);
        write.insert(DEAD_STRIPES, &key, &[], &mut old)?;
    }
    Ok(row.live == 0)
}

/// Adds to a row that is one number; a row of zero is removed. Tells the sum.
fn add_to(write: &mut dyn WriteTxn, table: Table, key: &[u8], delta: i64) -> Result<u64> {
    let before = write
        .get(table, key)?
        .map_or(Ok(0), |value| rows::decode_number(&value))?;
    let after = before.checked_add_signed(delta);
    assert!(after.is_some(), "a count in the index fell below zero");
    let after = after.unwrap_or_default();
    let mut old = Vec::new();
    match (before, after) {
        (before, after) if before == after => {}
        (_, 0) => drop(write.remove(table, key, &mut old)?),
        _ => drop(write.insert(table, key, &rows::encode_number(after), &mut old)?),
    }
    Ok(after)
}
