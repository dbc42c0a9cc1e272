//! Which groups are kept instants: the last of each second, on a map from time to group that never runs backwards.

use strongroom_device::Timestamp;
use strongroom_pool::Txg;

use super::TxgInfo;
use crate::Result;
use crate::index::WriteTxn;
use crate::rows::{INSTANTS, InstantRow, PINS, PinRow, Stored, number_key};

/// Kept instants up to the end of a run. What is the run's last second may yet get a later group, so its last group
/// counts as kept only for values that end after the run.
#[derive(Debug)]
pub(super) struct Kept {
    /// The newest one before the run; 0 when there is none.
    before: Txg,
    /// Those inside the run, ascending.
    inside: Vec<Txg>,
    /// The run's last instant.
    last: InstantRow,
}

impl Kept {
    /// Writes the instants of a run and tells which groups are kept.
    /// Pins made in the run are kept as well.
    pub(super) fn record(
        write: &mut dyn WriteTxn,
        txgs: &[TxgInfo<'_>],
        pins: &[Txg],
    ) -> Result<Self> {
        let [older, newest] = last_two(write)?;
        let nothing = InstantRow {
            txg: Txg(0),
            time: Timestamp(0),
        };
        let pinned = newest_pin(write)?;
        let before = older.map_or(Txg(0), |row| row.txg).max(pinned);
        let mut kept = Self {
            before,
            inside: Vec::new(),
            last: nothing,
        };
        let mut last = newest;
        let mut ended = Vec::new();
        for group in txgs {
            let time = last.map_or(group.time, |last| group.time.max(last.time));
            if let Some(last) = last.filter(|last| last.time.seconds() != time.seconds()) {
                kept.inside.push(last.txg);
                ended.push(last);
            }
            last = Some(InstantRow {
                txg: group.txg,
                time,
            });
        }
        let mut old = Vec::new();
        for row in ended.iter().chain(&last) {
            write.insert(
                INSTANTS,
                &number_key(row.time.seconds()),
                &row.encode(),
                &mut old,
            )?;
        }
        kept.last = last.unwrap_or(nothing);
        // Pins of the past are of instants that were kept before.
        kept.inside.extend(pins.iter().filter(|pin| **pin > before));
        kept.inside.sort_unstable();
        Ok(kept)
    }

    pub(super) fn last_second(&self) -> u64 {
        self.last.time.seconds()
    }

    pub(super) fn last_txg(&self) -> Txg {
        self.last.txg
    }

    /// The newest kept instant before a group; 0 when there is none.
    fn newest_before(&self, group: Txg) -> Txg {
        let place = self.inside.partition_point(|kept| *kept < group);
        place
            .checked_sub(1)
            .map_or(self.before, |place| self.inside[place])
    }

    /// True when a value from `began` up to, not including, `ended` was alive at a kept instant.
    pub(super) fn saw(&self, began: Txg, ended: Txg) -> bool {
        self.newest_before(ended) >= began
    }
}

/// The newest group that a pin of an earlier run keeps; 0 without any.
fn newest_pin(write: &mut dyn WriteTxn) -> Result<Txg> {
    // Their numbers rise with the groups that made them, which are those that they keep but for pins of the past.
    let mut below = None;
    while let Some((key, value)) = write.last_row(PINS, below.as_deref())? {
        let stored = Stored::decode(value)?;
        let pin = PinRow::decode(&stored.payload)?;
        if pin.txg >= stored.txg {
            return Ok(pin.txg);
        }
        below = Some(key);
    }
    Ok(Txg(0))
}

/// The last instant of all and the one before it, oldest first.
fn last_two(write: &mut dyn WriteTxn) -> Result<[Option<InstantRow>; 2]> {
    let newest = write.last_row(INSTANTS, None)?;
    let Some((key, value)) = newest else {
        return Ok([None, None]);
    };
    let older = write.last_row(INSTANTS, Some(&key))?;
    let older = older
        .map(|(_, value)| InstantRow::decode(&value))
        .transpose()?;
    Ok([older, Some(InstantRow::decode(&value)?)])
}
