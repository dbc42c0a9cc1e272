//! One write of the tree.

use std::ops::Bound;

use bytes::Bytes;
use redb::ReadableTable;
use strongroom_pool::Txg;

use super::reader::{last_of, range_end};
use super::{META_LAST, META_VERSION, engine, tree_key};
use crate::feed::tally::{META_LIVE, META_PLAIN};
use crate::index::{Row, Visit, WriteTxn};
use crate::rows;
use crate::{Result, StoreError, Table};

/// The tree inside a write transaction.
pub(super) struct TreeWrite<'t> {
    table: redb::Table<'t, &'static [u8], &'static [u8]>,
    key: Vec<u8>,
    last: Txg,
}

impl<'t> TreeWrite<'t> {
    pub(super) fn new(table: redb::Table<'t, &'static [u8], &'static [u8]>) -> Result<Self> {
        let mut writer = Self {
            table,
            key: Vec::new(),
            last: Txg(0),
        };
        let last = WriteTxn::get(&mut writer, rows::META, META_LAST)?;
        writer.last = Txg(last.map_or(Ok(0), |last| rows::decode_number(&last))?);
        Ok(writer)
    }

    pub(super) fn format_version(&mut self) -> Result<Option<u32>> {
        let Some(version) = WriteTxn::get(self, rows::META, META_VERSION)? else {
            return Ok(None);
        };
        let version = u32::try_from(rows::decode_number(&version)?);
        Ok(Some(version.unwrap_or(u32::MAX)))
    }

    /// Version 1 had nothing compressed, so it did not count what that saves.
    pub(super) fn upgrade(&mut self) -> Result<()> {
        if let Some(live) = WriteTxn::get(self, rows::META, META_LIVE)? {
            self.insert(rows::META, META_PLAIN, &live, &mut Vec::new())?;
        }
        self.set_format_version(rows::FORMAT_VERSION)
    }

    pub(super) fn set_format_version(&mut self, version: u32) -> Result<()> {
        let version = rows::encode_number(u64::from(version));
        self.insert(rows::META, META_VERSION, &version, &mut Vec::new())
            .map(|_| ())
    }
}

/// Moves a replaced value to `old`.
fn take(value: Option<redb::AccessGuard<'_, &'static [u8]>>, old: &mut Vec<u8>) -> bool {
    old.clear();
    value
        .inspect(|value| old.extend_from_slice(value.value()))
        .is_some()
}

impl WriteTxn for TreeWrite<'_> {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        tree_key(&mut self.key, table, key);
        let value = self.table.get(self.key.as_slice()).map_err(engine)?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn insert(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        old: &mut Vec<u8>,
    ) -> Result<bool> {
        tree_key(&mut self.key, table, key);
        let replaced = self
            .table
            .insert(self.key.as_slice(), value)
            .map_err(engine)?;
        Ok(take(replaced, old))
    }

    fn remove(&mut self, table: Table, key: &[u8], old: &mut Vec<u8>) -> Result<bool> {
        tree_key(&mut self.key, table, key);
        let removed = self.table.remove(self.key.as_slice()).map_err(engine)?;
        Ok(take(removed, old))
    }

    fn scan(
        &mut self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<()> {
        tree_key(&mut self.key, table, start);
        let to = range_end(table, end);
        let to = to.as_ref().map(Vec::as_slice);
        if matches!(to, Bound::Excluded(to) if to <= self.key.as_slice()) {
            return Ok(());
        }
        let range = (Bound::Included(self.key.as_slice()), to);
        for row in self.table.range::<&[u8]>(range).map_err(engine)? {
            let (key, value) = row.map_err(engine)?;
            if !visit(key.value().get(1..).unwrap_or_default(), value.value())? {
                break;
            }
        }
        Ok(())
    }

    fn last_row(&mut self, table: Table, before: Option<&[u8]>) -> Result<Option<Row>> {
        let to = range_end(table, before);
        let range = (
            Bound::Included(&[table.0][..]),
            to.as_ref().map(Vec::as_slice),
        );
        last_of(self.table.range::<&[u8]>(range).map_err(engine)?)
    }

    fn last_txg(&self) -> Txg {
        self.last
    }

    fn set_last_txg(&mut self, txg: Txg) -> Result<()> {
        if txg < self.last {
            let what = format!(
                "index: asked to go back from group {} to {}",
                self.last.0, txg.0
            );
            return Err(StoreError::Invalid { what });
        }
        self.last = txg;
        let value = rows::encode_number(txg.0);
        self.insert(rows::META, META_LAST, &value, &mut Vec::new())
            .map(|_| ())
    }
}
