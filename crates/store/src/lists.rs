//! Lists of keys to be looked at later: when a second leaves the window, or when a pin is gone.

use std::collections::BTreeMap;

use strongroom_pool::Txg;

use crate::index::WriteTxn;
use crate::rows::{self, EXPIRY, PINNED};
use crate::{Result, Table};

/// Bytes of keys in one row of a list.
const ROW_MAX: usize = 16 * 1024;

/// When a list is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// When the second leaves the shortest window. The group is that of the run which made the list.
    Second(u64, Txg),
    /// When the pin is gone.
    Unpinned(u64),
}

impl Due {
    fn table(self) -> Table {
        match self {
            Self::Second(..) => EXPIRY,
            Self::Unpinned(_) => PINNED,
        }
    }

    fn key(self, chunk: u32) -> Vec<u8> {
        match self {
            Self::Second(second, txg) => rows::expiry_key(second, txg, chunk).to_vec(),
            Self::Unpinned(pin) => rows::pinned_key(pin, chunk).to_vec(),
        }
    }
}

/// Keys gathered in one write of the index.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    open: BTreeMap<Due, Vec<u8>>,
}

impl Lists {
    pub(crate) fn add(&mut self, write: &mut dyn WriteTxn, due: Due, key: &[u8]) -> Result<()> {
        let row = self.open.entry(due).or_default();
        rows::encode_expiry(row, key);
        if row.len() < ROW_MAX {
            return Ok(());
        }
        let row = std::mem::take(row);
        append(write, due, &row)
    }

    /// Writes what is left.
    pub(crate) fn finish(&mut self, write: &mut dyn WriteTxn) -> Result<()> {
        for (due, row) in std::mem::take(&mut self.open) {
            if !row.is_empty() {
                append(write, due, &row)?;
            }
        }
        Ok(())
    }
}

/// Puts a row behind those that the list has.
fn append(write: &mut dyn WriteTxn, due: Due, row: &[u8]) -> Result<()> {
    let last = write.last_row(due.table(), Some(&due.key(u32::MAX)))?;
    let own = due.key(0);
    let (prefix, _) = own.split_at(own.len() - 4);
    let chunk = match last {
        Some((key, _)) if key.starts_with(prefix) => {
            let number = key
                .last_chunk()
                .map_or(0, |chunk| u32::from_be_bytes(*chunk));
            number + 1
        }
        _ => 0,
    };
    write.insert(due.table(), &due.key(chunk), row, &mut Vec::new())?;
    Ok(())
}
