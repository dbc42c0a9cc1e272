//! Who keeps what of the part of the past that the shortest window has left behind.

use std::collections::HashMap;

use strongroom_pool::Txg;

use super::Pass;
use crate::keep::Whose;
use crate::lists::Due;
use crate::rows::{self, HISTORY, HistoryKey, HistoryRow};
use crate::types::inode_of;
use crate::{Inode, Instant, Realm, Result, Table};

/// What only somebody who looks at it keeps is looked at again after so many seconds.
const LOOK_AGAIN: u64 = 60;

/// Why an instant is kept. Of several reasons for one the last counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    /// Somebody looks at it.
    Look,
    /// A schedule, until a second.
    Schedule {
        until: u64,
    },
    Pin(u64),
}

/// An instant that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Keeper {
    txg: Txg,
    by: By,
}

/// The part of the past that the shortest window has left behind.
#[derive(Debug)]
pub(super) struct Behind {
    /// The last second of it, and now.
    pub(super) second: u64,
    pub(super) now: u64,
    /// Its instants that somebody keeps, ascending.
    pub(super) instants: Vec<Instant>,
    /// The last group that the longest window has left behind.
    pub(super) far: Txg,
    /// The oldest instant that can still be gone back to.
    pub(super) horizon: Txg,
    by_realm: HashMap<Option<Realm>, Vec<Keeper>>,
    whose: HashMap<(Table, Inode), Whose>,
}

impl Behind {
    pub(super) fn new(second: u64, now: u64) -> Self {
        Self {
            second,
            now,
            instants: Vec::new(),
            far: Txg(0),
            horizon: Txg(0),
            by_realm: HashMap::new(),
            whose: HashMap::new(),
        }
    }

    /// Who keeps a value that was alive from `began` to `ended`: the newest that does.
    pub(super) fn keeper(
        &mut self,
        pass: &mut Pass<'_>,
        (table, key): (Table, &[u8]),
        began: Txg,
        ended: Txg,
    ) -> Result<Option<By>> {
        let realm = match self.whose(pass, table, key)? {
            Whose::Realm(realm) => Some(realm),
            Whose::All => None,
            // Who has it open looks at it still.
            Whose::Nobody => {
                let mut spared = pass.terms.spared.iter();
                let seen = spared.any(|txg| (began..ended).contains(txg));
                return Ok(seen.then_some(By::Look));
            }
        };
        let (instants, now) = (&self.instants, self.now);
        let keepers = self
            .by_realm
            .entry(realm)
            .or_insert_with(|| keepers_of(pass, realm, now, instants));
        let before = keepers.partition_point(|keeper| keeper.txg < ended);
        let newest = before.checked_sub(1).map(|place| keepers[place]);
        Ok(newest
            .filter(|keeper| keeper.txg >= began)
            .map(|keeper| keeper.by))
    }

    fn whose(&mut self, pass: &mut Pass<'_>, table: Table, key: &[u8]) -> Result<Whose> {
        let uniform = pass.terms.rules.are_uniform();
        let Some(realms) = pass.terms.realms.filter(|_| !uniform) else {
            return Ok(Whose::All);
        };
        let cached = (table, inode_of(key));
        if let Some(whose) = self.whose.get(&cached) {
            return Ok(*whose);
        }
        let whose = realms.whose(table, key, &mut |table, key| pass.last_known(table, key))?;
        self.whose.insert(cached, whose);
        Ok(whose)
    }

    /// When to look again at what is kept.
    pub(super) fn due(&self, pass: &Pass<'_>, by: By, txg: Txg) -> Due {
        let again = match by {
            By::Pin(pin) => return Due::Unpinned(pin),
            By::Look => self.second + LOOK_AGAIN,
            // What sees it is past every level only until a newer instant takes its place: look again soon.
            By::Schedule { until } => until.saturating_sub(pass.terms.rules.window()),
        };
        Due::Second(again.max(self.second + 1), txg)
    }
}

/// Everybody who keeps something of a realm.
fn keepers_of(
    pass: &Pass<'_>,
    realm: Option<Realm>,
    now: u64,
    instants: &[Instant],
) -> Vec<Keeper> {
    let rules = pass.terms.rules;
    let scheduled = rules.kept(realm, now, instants).into_iter();
    let scheduled = scheduled.map(|(instant, until)| Keeper {
        txg: instant.txg,
        by: By::Schedule { until },
    });
    let pinned = rules.pins.of(realm).map(|pin| Keeper {
        txg: pin.instant.txg,
        by: By::Pin(pin.id),
    });
    let looked_at = pass.terms.spared.iter().map(|txg| Keeper {
        txg: *txg,
        by: By::Look,
    });
    let mut keepers: Vec<_> = scheduled.chain(pinned).chain(looked_at).collect();
    keepers.sort_unstable();
    keepers
}

impl Pass<'_> {
    /// The payload of a row as it is or, if it is gone, as it was last.
    fn last_known(&mut self, table: Table, key: &[u8]) -> Result<Option<bytes::Bytes>> {
        if let Some(stored) = self.write.get(table, key)? {
            return Ok(Some(rows::Stored::decode(stored)?.payload));
        }
        let mut after = Vec::with_capacity(key.len() + 11);
        rows::history_key(&mut after, table, key, Txg(u64::MAX), u16::MAX);
        let Some((found, value)) = self.write.last_row(HISTORY, Some(&after))? else {
            return Ok(None);
        };
        let found = HistoryKey::decode(&found)?;
        if found.table != table || found.key != key {
            return Ok(None);
        }
        let row = HistoryRow::decode(&value)?;
        Ok(row.payload.map(bytes::Bytes::copy_from_slice))
    }
}
