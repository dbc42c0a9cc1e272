//! Rows of a run: the newest value goes to the present, those before it to history or nowhere.

use std::collections::HashMap;

use strongroom_pool::Txg;

use super::kept::Kept;
use super::tally::Tally;
use super::{DeadObject, FeedOptions, RowChain, Version};
use crate::index::WriteTxn;
use crate::lists::{Due, Lists};
use crate::rows::{self, EXTENTS, GraveRow, HEADS, HISTORY, HeadRow, Header};
use crate::{ObjectId, Result, SessionId, Table};

/// History rows of a run, one behind the other.
#[derive(Debug, Default)]
struct Arena {
    bytes: Vec<u8>,
    /// End of the key, end of the value.
    rows: Vec<(usize, usize)>,
}

/// Walks the row chains of one run.
pub(super) struct Chains<'a> {
    write: &'a mut dyn WriteTxn,
    options: FeedOptions,
    kept: &'a Kept,
    tally: &'a mut Tally,
    history: Arena,
    /// The number of their table, and the key, of graves that were made.
    graves: Vec<Vec<u8>>,
    /// Objects whose head appeared in this run: when, and by whom if it was one session only.
    born: HashMap<ObjectId, (Txg, Option<SessionId>)>,
    value: Vec<u8>,
    old: Vec<u8>,
}

/// A value that was replaced or removed.
#[derive(Clone, Copy)]
struct Ended<'v> {
    stored: &'v [u8],
    header: Header,
    at: Txg,
    by: SessionId,
}

impl<'a> Chains<'a> {
    pub(super) fn new(
        write: &'a mut dyn WriteTxn,
        options: FeedOptions,
        kept: &'a Kept,
        tally: &'a mut Tally,
    ) -> Self {
        Self {
            write,
            options,
            kept,
            tally,
            history: Arena::default(),
            graves: Vec::new(),
            born: HashMap::new(),
            value: Vec::new(),
            old: Vec::new(),
        }
    }

    pub(super) fn walk(&mut self, chain: &RowChain<'_>) -> Result<()> {
        let logged = |version: &&Version| version.value.as_deref().is_some_and(HeadRow::is_logged);
        if chain.table != HEADS || !chain.versions.iter().any(|version| logged(&version)) {
            return self.walk_versions(chain);
        }
        // A head whose bytes only the log had is no state that a kept instant could show: what it says comes with the
        // group that moved the bytes. If that is not in this run, the overlay has its head meanwhile.
        let versions = chain.versions.iter().filter(|version| !logged(version));
        let versions: Vec<Version> = versions.cloned().collect();
        self.walk_versions(&RowChain {
            versions: &versions,
            ..*chain
        })
    }

    fn walk_versions(&mut self, chain: &RowChain<'_>) -> Result<()> {
        let Some(newest) = chain.versions.last() else {
            return Ok(());
        };
        let mut old = std::mem::take(&mut self.old);
        let had_old = if let Some(payload) = &newest.value {
            rows::encode_stored(&mut self.value, newest.txg, newest.session, payload);
            self.write
                .insert(chain.table, chain.key, &self.value, &mut old)?
        } else {
            self.write.remove(chain.table, chain.key, &mut old)?
        };
        if rows::keeps_history(chain.table) {
            self.note_birth(chain, had_old)?;
            self.end_versions(chain, had_old.then_some(old.as_slice()))?;
        }
        self.old = old;
        Ok(())
    }

    fn note_birth(&mut self, chain: &RowChain<'_>, had_old: bool) -> Result<()> {
        if chain.table != HEADS || had_old {
            return Ok(());
        }
        if let Some(first) = chain.versions.first() {
            let one = chain
                .versions
                .iter()
                .all(|version| version.session == first.session);
            let object = rows::decode_object_key(chain.key)?;
            self.born
                .insert(object, (first.txg, one.then_some(first.session)));
        }
        Ok(())
    }

    /// Decides about every value of a chain but the newest.
    fn end_versions(&mut self, chain: &RowChain<'_>, old: Option<&[u8]>) -> Result<()> {
        let mut before = old.map(<[u8]>::to_vec);
        let mut place = (Txg(0), 0_u16);
        let last = chain.versions.len().saturating_sub(1);
        for (number, version) in chain.versions.iter().enumerate() {
            if let Some(stored) = before.take() {
                let header = Header::decode(&stored)?;
                let ended = Ended {
                    stored: &stored,
                    header,
                    at: version.txg,
                    by: version.session,
                };
                if place.0 != version.txg {
                    place = (version.txg, 0);
                }
                place.1 =
                    place
                        .1
                        .saturating_add(self.end(chain.table, chain.key, ended, place.1)?);
            }
            let Some(payload) = &version.value else {
                continue;
            };
            if chain.table == EXTENTS {
                self.tally.add_row(payload)?;
            }
            if number < last {
                let mut stored = Vec::with_capacity(payload.len() + 12);
                rows::encode_stored(&mut stored, version.txg, version.session, payload);
                before = Some(stored);
            } else if chain.table == EXTENTS {
                self.tally.present_gains(payload)?;
            }
        }
        if chain.table == EXTENTS
            && let Some(old) = old
        {
            self.tally.present_loses(payload_of(old)?)?;
        }
        Ok(())
    }

    /// Moves a value to history or lets it go; tells how many history rows it made.
    fn end(&mut self, table: Table, key: &[u8], ended: Ended<'_>, place: u16) -> Result<u16> {
        let payload = ended.stored.get(ended.header.len..).unwrap_or_default();
        let keep = self.options.history
            && (ended.by != ended.header.session || self.kept.saw(ended.header.txg, ended.at));
        if !keep {
            if table == EXTENTS {
                self.tally.drop_row(payload)?;
            }
            return Ok(0);
        }
        let arena = &mut self.history;
        let start = arena.bytes.len();
        rows::history_key(&mut arena.bytes, table, key, ended.at, place);
        let key_end = arena.bytes.len();
        rows::encode_history(&mut arena.bytes, ended.by, ended.stored);
        arena.rows.push((key_end, arena.bytes.len()));
        let bytes = (arena.bytes.len() - start) as u64;
        self.tally
            .history_gains(ended.by, table, Some(payload), bytes)?;
        Ok(1)
    }

    /// Objects that nobody can ever see again go at once; the others get a grave.
    pub(super) fn bury(&mut self, dead: &[DeadObject]) -> Result<()> {
        for dead in dead {
            let unseen = self.born.get(&dead.object).is_some_and(|(born, session)| {
                *session == Some(dead.session) && !self.kept.saw(*born, dead.txg)
            });
            if unseen {
                self.tally.reap(self.write, *dead, usize::MAX)?;
                continue;
            }
            let head = self.write.get(HEADS, &rows::object_key(dead.object))?;
            let Some(head) = head else { continue };
            let allocated = HeadRow::decode(payload_of(&head)?)?.held;
            let grave = GraveRow {
                dead: *dead,
                allocated,
            };
            let key = rows::grave_key(dead.txg, dead.object);
            self.write
                .insert(rows::GRAVES, &key, &grave.encode(), &mut self.old)?;
            self.graves.push([&[rows::GRAVES.0], &key[..]].concat());
            self.tally.grave_gains(dead.session, allocated);
        }
        Ok(())
    }

    /// Writes the history rows and the list by which they are found when they are old; tells how many.
    pub(super) fn finish(self) -> Result<u64> {
        let Arena { bytes, rows: ends } = &self.history;
        let mut old = self.old;
        let mut lists = Lists::default();
        let due = Due::Second(self.kept.last_second(), self.kept.last_txg());
        let mut start = 0;
        for (key_end, end) in ends {
            let key = &bytes[start..*key_end];
            let replaced = self
                .write
                .insert(HISTORY, key, &bytes[*key_end..*end], &mut old)?;
            assert!(!replaced, "a value ended twice in one group");
            lists.add(self.write, due, key)?;
            start = *end;
        }
        for grave in &self.graves {
            lists.add(self.write, due, grave)?;
        }
        lists.finish(self.write)?;
        Ok(ends.len() as u64)
    }
}

/// A stored value without its header.
pub(crate) fn payload_of(stored: &[u8]) -> Result<&[u8]> {
    let header = Header::decode(stored)?;
    Ok(stored.get(header.len..).unwrap_or_default())
}
