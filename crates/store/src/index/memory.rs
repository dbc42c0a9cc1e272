//! Rows in a plain ordered map, for tests of what stands on the index.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use strongroom_pool::Txg;

use super::{Index, IndexStatus, PageHome, Row, Snapshot, Visit, WriteTxn};
use crate::{Result, Table};

type Rows = BTreeMap<(Table, Vec<u8>), Bytes>;

#[derive(Debug, Clone, Default)]
struct MemoryState {
    rows: Rows,
    last: Txg,
}

/// An index in memory; every write copies the map, so it is for small tests.
#[derive(Debug, Default)]
pub(crate) struct MemoryIndex {
    state: RwLock<Arc<MemoryState>>,
    writer: Mutex<()>,
}

impl Index for MemoryIndex {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::<MemoryState>::clone(&self.state.read())
    }

    fn write(&self, change: &mut dyn FnMut(&mut dyn WriteTxn) -> Result<()>) -> Result<()> {
        let _writer = self.writer.lock();
        let mut next = MemoryState::clone(&self.state.read());
        change(&mut next)?;
        *self.state.write() = Arc::new(next);
        Ok(())
    }

    fn last_txg(&self) -> Txg {
        self.state.read().last
    }

    fn oldest_held(&self) -> Arc<dyn Snapshot> {
        self.snapshot()
    }

    fn prefetch(&self, _keys: &[(Table, &[u8])]) {}

    fn rehome(&self, _homes: Vec<PageHome>) -> Result<()> {
        Ok(())
    }

    fn scrub(&self, _pages: std::ops::Range<u64>) -> Result<u64> {
        Ok(0)
    }

    fn status(&self) -> IndexStatus {
        IndexStatus::default()
    }
}

impl MemoryState {
    fn visit(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<()> {
        for ((of, key), value) in self.rows.range((table, start.to_vec())..) {
            if *of != table || end.is_some_and(|end| key.as_slice() >= end) || !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, table: Table, before: Option<&[u8]>) -> Option<Row> {
        let end = before.map_or((Table(table.0 + 1), Vec::new()), |before| {
            (table, before.to_vec())
        });
        let ((_, key), value) = self.rows.range((table, Vec::new())..end).next_back()?;
        Some((Bytes::copy_from_slice(key), value.clone()))
    }

    fn replaced(value: Option<Bytes>, old: &mut Vec<u8>) -> bool {
        old.clear();
        value
            .inspect(|value| old.extend_from_slice(value))
            .is_some()
    }
}

impl Snapshot for MemoryState {
    fn last_txg(&self) -> Txg {
        self.last
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, start: &[u8], end: Option<&[u8]>, visit: Visit<'_>) -> Result<()> {
        self.visit(table, start, end, visit)
    }

    fn last_row(&self, table: Table, before: Option<&[u8]>) -> Result<Option<Row>> {
        Ok(self.last(table, before))
    }
}

impl WriteTxn for MemoryState {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn insert(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        old: &mut Vec<u8>,
    ) -> Result<bool> {
        let replaced = self
            .rows
            .insert((table, key.to_vec()), Bytes::copy_from_slice(value));
        Ok(Self::replaced(replaced, old))
    }

    fn remove(&mut self, table: Table, key: &[u8], old: &mut Vec<u8>) -> Result<bool> {
        let removed = self.rows.remove(&(table, key.to_vec()));
        Ok(Self::replaced(removed, old))
    }

    fn scan(
        &mut self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<()> {
        self.visit(table, start, end, visit)
    }

    fn last_row(&mut self, table: Table, before: Option<&[u8]>) -> Result<Option<Row>> {
        Ok(self.last(table, before))
    }

    fn last_txg(&self) -> Txg {
        self.last
    }

    fn set_last_txg(&mut self, txg: Txg) -> Result<()> {
        self.last = txg;
        Ok(())
    }
}
