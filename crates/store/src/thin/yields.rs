//! What the past would give up under pressure, counted before there is any.

use strongroom_pool::Txg;

use super::pressure::{LIFE_MAX, Times};
use super::{Terms, any_between, usage};
use crate::Result;
use crate::feed::DeadObject;
use crate::feed::chains::payload_of;
use crate::index::Snapshot;
use crate::rows::{
    self, EXTENTS, ExtentRow, GRAVES, GraveRow, HEADS, HISTORY, Header, HistoryKey, HistoryRow,
    INSTANTS, REFERENCES,
};

/// Bytes of extents that [`super::thin`] would free if space were short: contents that stood for less than an hour, that
/// no pin and no reader keeps, and that nothing else names; all of these where no past is kept. Looks at `rows` rows at most, so that the sum of a long past
/// may be less than what is there, never more.
pub(crate) fn yields(snapshot: &dyn Snapshot, terms: &Terms<'_>, rows: usize) -> Result<u64> {
    let mut times = Times::default();
    snapshot.scan(INSTANTS, &[], None, &mut |key, value| {
        times.add(key, value).map(|()| true)
    })?;
    let mut count = Count {
        snapshot,
        times,
        protected: terms.protected(),
        left: rows,
        bytes: 0,
    };
    count.graves()?;
    count.history()?;
    Ok(count.bytes.min(usage(snapshot)?.history))
}

struct Count<'a> {
    snapshot: &'a dyn Snapshot,
    times: Times,
    protected: Vec<Txg>,
    left: usize,
    bytes: u64,
}

impl Count<'_> {
    fn spend(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    fn may_go(&self, seen_from: Txg, began: Txg, ended: Txg) -> bool {
        !any_between(&self.protected, seen_from, ended)
            && (self.times.is_empty() || self.times.stood_less(LIFE_MAX, began, ended))
    }

    /// Adds an extent if only one row names it.
    fn add(&mut self, payload: &[u8]) -> Result<()> {
        let row = ExtentRow::decode(payload)?;
        let shared = self
            .snapshot
            .get(REFERENCES, &rows::address_key(row.address))?;
        if shared.is_none() {
            self.bytes += u64::from(row.stored()).next_multiple_of(4096);
        }
        Ok(())
    }

    fn history(&mut self) -> Result<()> {
        let (start, end) = ([EXTENTS.0], [EXTENTS.0 + 1]);
        self.snapshot
            .scan(HISTORY, &start, Some(&end), &mut |key, value| {
                let row = HistoryRow::decode(value)?;
                let ended = HistoryKey::decode(key)?.ended;
                if let Some(payload) = row.payload
                    && self.may_go(row.began, row.began, ended)
                {
                    self.add(payload)?;
                }
                Ok(self.spend())
            })
    }

    fn graves(&mut self) -> Result<()> {
        let mut dead = Vec::new();
        self.snapshot.scan(GRAVES, &[], None, &mut |key, value| {
            dead.push(GraveRow::decode(key, value)?.dead);
            Ok(self.spend())
        })?;
        for dead in dead {
            self.grave(dead)?;
        }
        Ok(())
    }

    fn grave(&mut self, dead: DeadObject) -> Result<()> {
        let head = self.snapshot.get(HEADS, &rows::object_key(dead.object))?;
        let began = head.map_or(Ok(Txg(0)), |head| {
            Header::decode(&head).map(|head| head.txg)
        })?;
        if !self.may_go(Txg(0), began, dead.txg) {
            return Ok(());
        }
        let (start, end) = (
            rows::object_key(dead.object),
            rows::extent_key(dead.object, u64::MAX),
        );
        self.snapshot
            .scan(EXTENTS, &start, Some(&end), &mut |_, value| {
                self.add(payload_of(value)?)?;
                Ok(self.spend())
            })
    }
}
