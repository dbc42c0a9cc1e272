//! Whether two objects hold the same bytes.

use crate::engine::Engine;
use crate::rows::ExtentRow;
use crate::{ObjectId, Result, View};

/// Bytes of both that are compared in one step.
const STEP: usize = 1 << 20;

impl Engine {
    /// Whether two objects, each in a view, hold the same bytes. They are read only where their rows do not tell: what one
    /// shares with the other, as an earlier state of it or as its clone, needs no look.
    pub(crate) fn same_data(
        &self,
        one: (&View, ObjectId),
        other: (&View, ObjectId),
    ) -> Result<bool> {
        let len = self.size(one)?;
        if len != self.size(other)? {
            return Ok(false);
        }
        Ok(len == 0 || self.same_rows(one, other, len)? || self.same_bytes(one, other)?)
    }

    fn size(&self, (view, id): (&View, ObjectId)) -> Result<u64> {
        Ok(self.head(view, id)?.unwrap_or_default().size)
    }

    /// Whether two objects, each in a view, lie in the same places. False where that cannot be told.
    pub(crate) fn same_places(
        &self,
        one: (&View, ObjectId),
        other: (&View, ObjectId),
    ) -> Result<bool> {
        let len = self.size(one)?;
        Ok(len == self.size(other)? && self.same_rows(one, other, len)?)
    }

    /// Whether both lie in the same places. False where that cannot be told.
    fn same_rows(
        &self,
        one: (&View, ObjectId),
        other: (&View, ObjectId),
        len: u64,
    ) -> Result<bool> {
        for (view, id) in [one, other] {
            let Some(head) = self.head_row(view, id)? else {
                return Ok(false);
            };
            if head.inline || head.logged || (view.is_now() && !self.is_published(id)) {
                return Ok(false);
            }
        }
        let (left, _pin) = self.extent_rows(one.0, one.1, 0, len)?;
        let (right, _other_pin) = self.extent_rows(other.0, other.1, 0, len)?;
        let place = |(at, row): &(u64, ExtentRow)| (*at, row.address, row.start, row.len);
        // Nothing was published between, or what was seen of the present may be half of it.
        let settled = [one, other]
            .iter()
            .all(|(view, id)| !view.is_now() || self.is_published(*id));
        Ok(settled && left.iter().map(place).eq(right.iter().map(place)))
    }

    fn same_bytes(&self, one: (&View, ObjectId), other: (&View, ObjectId)) -> Result<bool> {
        let (mut left, mut right) = (vec![0; STEP], vec![0; STEP]);
        let mut offset = 0;
        loop {
            let len = self.read(one.0, one.1, offset, &mut left)?;
            let other_len = self.read(other.0, other.1, offset, &mut right)?;
            if left.get(..len) != right.get(..other_len) {
                return Ok(false);
            }
            if len == 0 {
                return Ok(true);
            }
            offset += len as u64;
        }
    }
}
