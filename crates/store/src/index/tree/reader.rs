//! A snapshot of the tree.

use std::ops::Bound;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadableDatabase};
use strongroom_pool::Txg;

use super::{META_LAST, Opened, ROWS, Shared, engine, tree_key};
use crate::index::{Row, Snapshot, Visit};
use crate::rows;
use crate::{Result, Table};

/// A commit that readers look at.
pub(super) struct TreeSnapshot {
    generation: u64,
    txg: Txg,
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    shared: Weak<Shared>,
}

impl std::fmt::Debug for TreeSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeSnapshot")
            .field("txg", &self.txg)
            .finish_non_exhaustive()
    }
}

/// How far a scan got when the engine failed.
enum Broken {
    Engine(crate::StoreError),
    Visitor(crate::StoreError),
}

impl TreeSnapshot {
    pub(super) fn take(opened: &Opened, shared: Weak<Shared>) -> Result<Self> {
        let transaction = opened.database.begin_read().map_err(engine)?;
        let table = transaction.open_table(ROWS).map_err(engine)?;
        let mut snapshot = Self {
            generation: opened.generation,
            txg: Txg(0),
            table,
            shared,
        };
        let last = snapshot.value(rows::META, META_LAST)?;
        snapshot.txg = Txg(last.map_or(Ok(0), |last| rows::decode_number(&last))?);
        Ok(snapshot)
    }

    pub(super) fn txg(&self) -> Txg {
        self.txg
    }

    /// Brings a key's leaf into the cache.
    pub(super) fn touch(&self, table: Table, key: &[u8]) -> Result<()> {
        let mut full = Vec::with_capacity(key.len() + 1);
        tree_key(&mut full, table, key);
        self.table.get(full.as_slice()).map_err(engine).map(drop)
    }

    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        let mut full = smallvec::SmallVec::<[u8; 64]>::with_capacity(key.len() + 1);
        full.push(table.0);
        full.extend_from_slice(key);
        let value = self.table.get(full.as_slice()).map_err(engine)?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn last(&self, table: Table, before: Option<&[u8]>) -> Result<Option<Row>> {
        let to = range_end(table, before);
        let range = (
            Bound::Included(&[table.0][..]),
            to.as_ref().map(Vec::as_slice),
        );
        last_of(self.table.range::<&[u8]>(range).map_err(engine)?)
    }

    /// The same or a newer state on a database that works, after this one failed.
    fn successor(&self) -> Option<Arc<TreeSnapshot>> {
        let shared = self.shared.upgrade()?;
        if let Err(error) = shared.reopen(self.generation) {
            tracing::error!(%error, "the index could not be opened anew");
            return None;
        }
        let newest = shared.newest.load_full();
        (newest.generation != self.generation).then_some(newest)
    }

    /// Shows rows; `last` tells the last key shown.
    fn rows(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        last: &mut Vec<u8>,
        visit: Visit<'_>,
    ) -> std::result::Result<(), Broken> {
        let range = self
            .table
            .range::<&[u8]>((from, to))
            .map_err(|e| Broken::Engine(engine(e)))?;
        for row in range {
            let (key, value) = row.map_err(|e| Broken::Engine(engine(e)))?;
            let key = key.value();
            last.clear();
            last.extend_from_slice(key);
            let own = key.get(1..).unwrap_or_default();
            if !visit(own, value.value()).map_err(Broken::Visitor)? {
                break;
            }
        }
        Ok(())
    }
}

/// The last row of a range of the shared tree.
pub(super) fn last_of(
    mut range: redb::Range<'_, &'static [u8], &'static [u8]>,
) -> Result<Option<Row>> {
    let Some(row) = range.next_back() else {
        return Ok(None);
    };
    let (key, value) = row.map_err(engine)?;
    let own = key.value().get(1..).unwrap_or_default();
    Ok(Some((
        Bytes::copy_from_slice(own),
        Bytes::copy_from_slice(value.value()),
    )))
}

/// The end of a range in the shared tree: the given end, or the next table.
pub(super) fn range_end(table: Table, end: Option<&[u8]>) -> Bound<Vec<u8>> {
    match (end, table.0.checked_add(1)) {
        (Some(end), _) => {
            let mut full = Vec::with_capacity(end.len() + 1);
            tree_key(&mut full, table, end);
            Bound::Excluded(full)
        }
        (None, Some(next)) => Bound::Excluded(vec![next]),
        (None, None) => Bound::Unbounded,
    }
}

impl Snapshot for TreeSnapshot {
    fn last_txg(&self) -> Txg {
        self.txg
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        match self.value(table, key) {
            Ok(value) => Ok(value),
            Err(error) => match self.successor() {
                // An unreadable page fails again here; it latched the new opening too, so that is left working.
                Some(next) => next
                    .value(table, key)
                    .inspect_err(|_| drop(next.successor())),
                None => Err(error),
            },
        }
    }

    fn scan(&self, table: Table, start: &[u8], end: Option<&[u8]>, visit: Visit<'_>) -> Result<()> {
        let mut from = Vec::with_capacity(start.len() + 1);
        tree_key(&mut from, table, start);
        let to = range_end(table, end);
        let to = to.as_ref().map(Vec::as_slice);
        if matches!(to, Bound::Excluded(to) if to <= from.as_slice()) {
            return Ok(());
        }
        let mut last = Vec::new();
        let error = match self.rows(Bound::Included(&from), to, &mut last, visit) {
            Ok(()) => return Ok(()),
            Err(Broken::Visitor(error)) => return Err(error),
            Err(Broken::Engine(error)) => error,
        };
        let Some(next) = self.successor() else {
            return Err(error);
        };
        let from = if last.is_empty() {
            Bound::Included(from)
        } else {
            Bound::Excluded(last)
        };
        let from = from.as_ref().map(Vec::as_slice);
        match next.rows(from, to, &mut Vec::new(), visit) {
            Ok(()) => Ok(()),
            Err(Broken::Visitor(error)) => Err(error),
            Err(Broken::Engine(error)) => {
                drop(next.successor());
                Err(error)
            }
        }
    }

    fn last_row(&self, table: Table, before: Option<&[u8]>) -> Result<Option<Row>> {
        match self.last(table, before) {
            Ok(row) => Ok(row),
            Err(error) => match self.successor() {
                Some(next) => next
                    .last(table, before)
                    .inspect_err(|_| drop(next.successor())),
                None => Err(error),
            },
        }
    }
}
