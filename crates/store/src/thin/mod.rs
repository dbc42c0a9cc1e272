//! Thinning of the past and reaping of the dead, in bounded steps, for the store's cleaning job.

mod expire;
mod keepers;
mod pressure;
mod squeeze;
#[cfg(test)]
mod tests;
mod yields;

use strongroom_pool::{Address, Txg};

pub(crate) use yields::yields;

use crate::feed::DeadStripe;
use crate::feed::tally::{META_GRAVES, META_LIVE, META_PLAIN, META_PRESENT, Tally};
use crate::index::{Index, Snapshot, WriteTxn};
use crate::keep::{Realms, Rules};
use crate::lists::Lists;
use crate::rows::{self, EXTENTS, GRAVES, GraveRow, HISTORY, HistoryKey, HistoryRow, MAKERS, META};
use crate::{Result, SessionId, Table};

/// What one call may do at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Rows looked at or removed.
    pub(crate) rows: usize,
    /// Space is short: also take values inside the window, the shortest-lived first.
    pub(crate) pressure: bool,
}

/// What a call gave back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Freed {
    pub(crate) rows: u64,
    pub(crate) extents: Vec<Address>,
    pub(crate) dead_stripes: Vec<DeadStripe>,
    /// Bytes of extents that died.
    pub(crate) dead: u64,
    /// There is more to do now.
    pub(crate) more: bool,
    /// Pressure found nothing left that may go: the writer that makes most must be refused.
    pub(crate) exhausted: bool,
}

/// What thinning goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) rules: &'a Rules,
    /// Instants that somebody looks at, ascending: what they show stays.
    pub(crate) spared: &'a [Txg],
    /// Which rules count for a row. None if all rules count for all of them.
    pub(crate) realms: Option<&'a dyn Realms>,
    /// The second that it is now.
    pub(crate) now: u64,
}

impl Terms<'_> {
    /// Instants that even pressure spares, ascending.
    fn protected(&self) -> Vec<Txg> {
        let pinned = self.rules.pins.iter().map(|pin| pin.instant.txg);
        let mut protected: Vec<Txg> = pinned.chain(self.spared.iter().copied()).collect();
        protected.sort_unstable();
        protected
    }
}

/// Whether one of these instants lies between `began` and, not included, `ended`.
fn any_between(instants: &[Txg], began: Txg, ended: Txg) -> bool {
    let before = instants.partition_point(|txg| *txg < ended);
    let newest = before.checked_sub(1).map(|place| instants[place]);
    newest.is_some_and(|txg| txg >= began)
}

/// Removes what nobody keeps, reaps graves, and under pressure thins inside the window: one index write, or none when
/// nothing is due. Call it again while it says `more`.
pub(crate) fn thin(index: &dyn Index, terms: &Terms<'_>, budget: Budget) -> Result<Freed> {
    if !budget.pressure && !expire::is_due(&*index.snapshot(), terms)? {
        return Ok(Freed::default());
    }
    let protected = terms.protected();
    let mut freed = Freed::default();
    index.write(&mut |write| {
        freed = Freed::default();
        let last = write.last_txg();
        let mut pass = Pass {
            write,
            tally: Tally::default(),
            lists: Lists::default(),
            left: budget.rows,
            terms: *terms,
            protected: &protected,
            freed: &mut freed,
        };
        expire::expire(&mut pass)?;
        if budget.pressure {
            pressure::relieve(&mut pass)?;
        }
        pass.lists.finish(pass.write)?;
        let tally = std::mem::take(&mut pass.tally);
        let settled = tally.settle(write, last)?;
        (freed.extents, freed.dead_stripes) = (settled.freed, settled.dead_stripes);
        freed.dead = settled.dead;
        Ok(())
    })?;
    Ok(freed)
}

/// One call's work.
struct Pass<'a> {
    write: &'a mut dyn WriteTxn,
    tally: Tally,
    lists: Lists,
    /// Rows that may still be handled.
    left: usize,
    terms: Terms<'a>,
    /// Instants that even pressure spares, ascending.
    protected: &'a [Txg],
    freed: &'a mut Freed,
}

impl Pass<'_> {
    /// Whether anything from `began` up to, not including, `ended` is spared.
    fn spares(&self, began: Txg, ended: Txg) -> bool {
        any_between(self.protected, began, ended)
    }

    /// Takes one row off the budget; false when it is used up.
    fn spend(&mut self) -> bool {
        if self.left == 0 {
            self.freed.more = true;
            return false;
        }
        self.left -= 1;
        true
    }

    /// At most as many rows of a table as the budget allows, from its beginning or after a key, while `wanted`.
    fn first_rows(
        &mut self,
        table: Table,
        after: &[u8],
        mut wanted: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let (mut found, mut cut, left) = (Vec::new(), false, self.left);
        self.write.scan(table, after, None, &mut |key, value| {
            if key == after {
                return Ok(true);
            }
            if !wanted(key, value)? {
                return Ok(false);
            }
            cut = found.len() >= left;
            if !cut {
                found.push((key.to_vec(), value.to_vec()));
            }
            Ok(!cut)
        })?;
        self.left -= found.len();
        self.freed.more |= cut;
        Ok(found)
    }

    /// Removes a history row and what it held.
    fn remove_history(&mut self, key: &[u8], row: &HistoryRow<'_>, bytes: usize) -> Result<()> {
        let table = HistoryKey::decode(key)?.table;
        self.tally
            .history_loses(row.ended_by, table, row.payload, bytes as u64)?;
        if let Some(payload) = row.payload.filter(|_| table == EXTENTS) {
            self.tally.drop_row(payload)?;
        }
        self.write.remove(HISTORY, key, &mut Vec::new())?;
        self.freed.rows += 1;
        Ok(())
    }

    /// Gives up what a history row holds; a mark that there was a value stays, so that nobody takes it for absent.
    fn thin_history(&mut self, key: &[u8], row: &HistoryRow<'_>, bytes: usize) -> Result<()> {
        let table = HistoryKey::decode(key)?.table;
        let Some(payload) = row.payload else {
            return Ok(());
        };
        self.tally
            .history_loses(row.ended_by, table, row.payload, bytes as u64)?;
        if table == EXTENTS {
            self.tally.drop_row(payload)?;
        }
        let mark = row.thinned();
        self.tally
            .history_gains(row.ended_by, table, None, (key.len() + mark.len()) as u64)?;
        self.write.insert(HISTORY, key, &mark, &mut Vec::new())?;
        self.freed.rows += 1;
        Ok(())
    }

    /// Removes a dead object's rows as far as the budget goes; true when it is gone.
    fn reap(&mut self, key: &[u8], grave: &GraveRow) -> Result<bool> {
        if !self.spend() {
            return Ok(false);
        }
        let limit = self.left.max(1);
        let rows = self.tally.reap(self.write, grave.dead, limit)?;
        self.left = self.left.saturating_sub(rows);
        self.freed.rows += rows as u64;
        if rows >= limit {
            self.freed.more = true;
            return Ok(false);
        }
        self.tally.grave_loses(grave.dead.session, grave.allocated);
        self.write.remove(GRAVES, key, &mut Vec::new())?;
        Ok(true)
    }
}

/// The client session that made the most history, and how many bytes.
#[cfg_attr(
    not(test),
    allow(
        dead_code,
        reason = "for browsing the past and for status; tests use it"
    )
)]
pub(crate) fn largest_maker(snapshot: &dyn Snapshot) -> Result<Option<(SessionId, u64)>> {
    let mut largest = None;
    snapshot.scan(MAKERS, &[], None, &mut |key, value| {
        pressure::larger(&mut largest, key, value)?;
        Ok(true)
    })?;
    Ok(largest)
}

/// Bytes of extents, before mirroring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Extents that are referred to at all, rounded up to 4 KiB.
    pub(crate) live: u64,
    /// Of these, what the present maps.
    pub(crate) present: u64,
    /// What only history and graves hold.
    pub(crate) history: u64,
    /// What the live ones would take if none were compressed.
    pub(crate) plain: u64,
}

/// Space by what holds it.
pub(crate) fn usage(snapshot: &dyn Snapshot) -> Result<Usage> {
    let number = |key| {
        snapshot
            .get(META, key)?
            .map_or(Ok(0), |value| rows::decode_number(&value))
    };
    let live = number(META_LIVE)?;
    // What a grave holds is still mapped by rows of the present.
    let present = number(META_PRESENT)?.saturating_sub(number(META_GRAVES)?);
    // Clones map more than there is.
    let present = present.min(live);
    Ok(Usage {
        live,
        present,
        history: live.saturating_sub(present),
        plain: number(META_PLAIN)?,
    })
}
