//! Feeds runs of whole transaction groups to the index, and makes history on the way.

pub(crate) mod chains;
mod kept;
#[cfg(test)]
mod measure;
pub(crate) mod tally;
#[cfg(test)]
pub(crate) mod tests;

use strongroom_device::Timestamp;
use strongroom_pool::{Address, SegmentId, Txg};

use crate::index::{Index, Snapshot, WriteTxn};
use crate::rows::{self, StripeRow};
use crate::{Aspect, Inode, ObjectId, Result, SessionId, StoreError, Table};
use bytes::Bytes;
use chains::Chains;
use kept::Kept;
use tally::Tally;

/// One value that a key took, or its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) txg: Txg,
    pub(crate) session: SessionId,
    /// None deletes. The payload, without header.
    pub(crate) value: Option<Bytes>,
}

/// All versions of one key inside a run, oldest first. Inside one group the overlay may forget all but the last version
/// of one session, but never one of [`crate::rows::EXTENTS`]: each is a reference to count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowChain<'a> {
    pub(crate) table: Table,
    pub(crate) key: &'a [u8],
    pub(crate) versions: &'a [Version],
}

/// What a transaction group says about itself.
#[derive(Debug, Clone)]
pub(crate) struct TxgInfo<'a> {
    pub(crate) txg: Txg,
    pub(crate) time: Timestamp,
    pub(crate) changes: &'a [Change],
}

/// One line of the change log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) inode: Inode,
    pub(crate) aspect: Aspect,
    pub(crate) session: SessionId,
}

/// An object whose data died: its rows stay until the retention passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeadObject {
    pub(crate) txg: Txg,
    pub(crate) session: SessionId,
    pub(crate) object: ObjectId,
}

/// Whole transaction groups, in order, without a gap to what the index holds.
#[derive(Debug, Clone)]
pub(crate) struct Run<'a> {
    /// Sorted by table and key, each once.
    pub(crate) rows: &'a [RowChain<'a>],
    /// Every group of the run, ascending.
    pub(crate) txgs: &'a [TxgInfo<'a>],
    pub(crate) dead: &'a [DeadObject],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FeedOptions {
    /// False keeps no past.
    pub(crate) history: bool,
}

/// A stripe in which nothing is alive any more. It may be punched once no snapshot is held that does not say so, and if
/// its freed bytes account for all that it holds (see [`Listed`]); it stays on the list of [`dead_stripes`] until
/// [`forget_dead_stripes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeadStripe {
    pub(crate) txg: Txg,
    pub(crate) segment: SegmentId,
    pub(crate) stripe: u32,
}

/// What a run did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fed {
    /// The last group held now.
    pub(crate) last: Txg,
    /// Extents whose last reference went.
    pub(crate) freed: Vec<Address>,
    pub(crate) dead_stripes: Vec<DeadStripe>,
    /// Bytes of extents that died.
    pub(crate) dead: u64,
    pub(crate) history_rows: u64,
}

/// Bytes of changes in one row of the change log.
const CHANGES_MAX: usize = 16 * 1024;

/// Feeds a run in one write of the index. A run that is held already changes nothing.
///
/// # Errors
/// [`StoreError::Invalid`] for a run that does not follow what is held; damage found on the way.
pub(crate) fn feed(index: &dyn Index, options: FeedOptions, run: &Run<'_>) -> Result<Fed> {
    let (Some(first), Some(last)) = (run.txgs.first(), run.txgs.last()) else {
        return Ok(Fed {
            last: index.last_txg(),
            ..Fed::default()
        });
    };
    assert!(
        run.txgs.is_sorted_by(|a, b| a.txg < b.txg),
        "groups of a run must ascend"
    );
    let keys: Vec<_> = run
        .rows
        .iter()
        .map(|chain| (chain.table, chain.key))
        .collect();
    index.prefetch(&keys);
    let mut fed = Fed::default();
    index.write(&mut |write| {
        fed = Fed {
            last: last.txg,
            ..Fed::default()
        };
        if write.last_txg() >= last.txg {
            return Ok(());
        }
        if write.last_txg() >= first.txg {
            return Err(StoreError::Invalid {
                what: "a run overlaps what the index holds".into(),
            });
        }
        feed_once(write, options, run, &mut fed)
    })?;
    Ok(fed)
}

fn feed_once(
    write: &mut dyn WriteTxn,
    options: FeedOptions,
    run: &Run<'_>,
    fed: &mut Fed,
) -> Result<()> {
    let kept = Kept::record(write, run.txgs, &pins_of(run)?)?;
    let mut tally = Tally::default();
    let mut chains = Chains::new(write, options, &kept, &mut tally);
    for chain in run.rows {
        chains.walk(chain)?;
    }
    chains.bury(run.dead)?;
    fed.history_rows = chains.finish()?;
    if options.history {
        write_changes(write, run.txgs)?;
    }
    let settled = tally.settle(write, fed.last)?;
    (fed.freed, fed.dead_stripes) = (settled.freed, settled.dead_stripes);
    fed.dead = settled.dead;
    write.set_last_txg(fed.last)
}

/// Groups that pins of this run keep.
fn pins_of(run: &Run<'_>) -> Result<Vec<Txg>> {
    let chains = run.rows.iter().filter(|chain| chain.table == rows::PINS);
    let values = chains.flat_map(|chain| chain.versions);
    let values = values.filter_map(|version| version.value.as_ref());
    values
        .map(|value| Ok(rows::PinRow::decode(value)?.txg))
        .collect()
}

fn write_changes(write: &mut dyn WriteTxn, txgs: &[TxgInfo<'_>]) -> Result<()> {
    let (mut row, mut old) = (Vec::new(), Vec::new());
    for group in txgs {
        let mut chunk = 0;
        for change in group.changes {
            rows::encode_change(&mut row, change);
            if row.len() >= CHANGES_MAX {
                write.insert(
                    rows::CHANGES,
                    &rows::change_key(group.txg, chunk),
                    &row,
                    &mut old,
                )?;
                chunk += 1;
                row.clear();
            }
        }
        if !row.is_empty() {
            write.insert(
                rows::CHANGES,
                &rows::change_key(group.txg, chunk),
                &row,
                &mut old,
            )?;
            row.clear();
        }
    }
    Ok(())
}

/// A stripe on the list of the dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) dead: DeadStripe,
    /// Bytes of its extents that were named once and are free now. When they are fewer than the stripe holds, the rest
    /// may be on its way to be named: the stripe must stay.
    pub(crate) freed: u64,
}

/// A part of the list of dead stripes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeadPage {
    pub(crate) listed: Vec<Listed>,
    /// Came to life again when another of their extents was named; they are listed anew when that dies.
    pub(crate) revived: Vec<DeadStripe>,
    /// Where the next part begins after; None at the end of the list.
    pub(crate) next: Option<DeadStripe>,
}

/// Stripes not yet given back that were dead already in `held`, and still are in `newest`, oldest first: `limit` of the
/// list after `after`.
pub(crate) fn dead_stripes(
    held: &dyn Snapshot,
    newest: &dyn Snapshot,
    after: Option<DeadStripe>,
    limit: usize,
) -> Result<DeadPage> {
    let mut dead = Vec::new();
    let start = after.map(|after| rows::dead_stripe_key(after).to_vec());
    let start = start.unwrap_or_default();
    held.scan(rows::DEAD_STRIPES, &start, None, &mut |key, _| {
        if key != start.as_slice() {
            dead.push(rows::decode_dead_stripe_key(key)?);
        }
        Ok(dead.len() < limit)
    })?;
    let mut page = DeadPage {
        next: dead.last().copied().filter(|_| dead.len() >= limit),
        ..DeadPage::default()
    };
    for dead in dead {
        let row = newest.get(rows::STRIPES, &rows::stripe_key(dead.segment, dead.stripe))?;
        let row = row.map_or(Ok(StripeRow::default()), |row| StripeRow::decode(&row))?;
        if row.live > 0 {
            page.revived.push(dead);
        } else {
            let freed = row.freed;
            page.listed.push(Listed { dead, freed });
        }
    }
    Ok(page)
}

/// Forgets stripes that were given back, and that those which came to life again were dead.
pub(crate) fn forget_dead_stripes(
    index: &dyn Index,
    punched: &[DeadStripe],
    revived: &[DeadStripe],
) -> Result<()> {
    index.write(&mut |write| {
        let mut old = Vec::new();
        for stripe in revived {
            let key = rows::dead_stripe_key(*stripe);
            let row = write.get(
                rows::STRIPES,
                &rows::stripe_key(stripe.segment, stripe.stripe),
            )?;
            // It may have died meanwhile.
            if row.is_some_and(|row| StripeRow::decode(&row).is_ok_and(|row| row.live > 0)) {
                write.remove(rows::DEAD_STRIPES, &key, &mut old)?;
            }
        }
        for stripe in punched {
            write.remove(
                rows::DEAD_STRIPES,
                &rows::dead_stripe_key(*stripe),
                &mut old,
            )?;
            let key = rows::stripe_key(stripe.segment, stripe.stripe);
            write.remove(rows::STRIPES, &key, &mut old)?;
        }
        Ok(())
    })
}
