//! Reading of one state, now's or a kept instant's, by the same calls.

use bytes::Bytes;

use crate::engine::{Engine, RowPair};
use crate::{DataHead, ObjectId, Result, Table, View};

/// One state of rows and file data. What changes now is not seen in a past one.
///
/// Reading what was given up of a past for want of space is the error [`crate::StoreError::Forgotten`]: never another
/// state's rows or bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    engine: &'a Engine,
    view: &'a View,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(engine: &'a Engine, view: &'a View) -> Self {
        Self { engine, view }
    }

    /// The value of a row.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        self.engine.get_in(self.view, table, key)
    }

    /// Rows with `start <= key < end` in order, at most `limit`; both share their first 8 bytes.
    pub fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<RowPair>> {
        self.engine
            .scan_in(self.view, table, start, end, limit)
            .map(|(rows, _)| rows)
    }

    /// The object's size, space and time; zeroes when absent.
    pub fn head(&self, object: ObjectId) -> Result<DataHead> {
        Ok(self.head_if_exists(object)?.unwrap_or_default())
    }

    /// As [`Reading::head`]; None if the object was never written.
    pub fn head_if_exists(&self, object: ObjectId) -> Result<Option<DataHead>> {
        self.engine.head(self.view, object)
    }

    /// Heads of many objects, in their order; zeroes when absent.
    pub fn heads(&self, objects: &[ObjectId]) -> Result<Vec<DataHead>> {
        objects.iter().map(|object| self.head(*object)).collect()
    }

    /// Reads from `offset`; short only at the end of the data.
    ///
    /// # Errors
    /// `Corrupt` when no good copy of the bytes is left; never wrong bytes.
    pub fn read(&self, object: ObjectId, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.engine.read(self.view, object, offset, buffer)
    }

    /// The parts of `offset..offset + len` that hold data, as (offset, length), in order.
    pub fn allocated_ranges(
        &self,
        object: ObjectId,
        offset: u64,
        len: u64,
    ) -> Result<Vec<(u64, u64)>> {
        self.engine.allocated_ranges(self.view, object, offset, len)
    }
}
