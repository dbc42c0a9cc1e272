//! Gives out inode ids: never one twice, and those of one directory next to each other.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::rows;
use crate::{Inode, Result, StoreError};

/// Ids below are never allocated: 0 names nothing, the vfs fixes some of the others.
pub(crate) const FIRST: u64 = 1024;
/// Ids that one write of the mark covers.
const STEP: u64 = 1 << 16;
/// Skipped at every opening: ids may have been told to clients before the mark that covers them was durable.
const GAP: u64 = 1 << 20;
const RUN_MIN: u64 = 16;
const RUN_MAX: u64 = 1024;
/// Directories whose runs are remembered, in each shard.
const DIRECTORIES_MAX: usize = 1024;
const SHARDS: usize = 16;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Inodes {
    runs: Box<[Mutex<HashMap<Inode, Run>>]>,
    mark: Mutex<Mark>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    next: u64,
    end: u64,
    len: u64,
}

#[derive(Debug)]
struct Mark {
    next: u64,
    /// Ids below are covered by a row of the open group or an earlier one.
    covered: u64,
}

/// The key of the mark's row.
pub(crate) fn mark_key() -> [u8; 14] {
    *b"\0\0\0\0\0\0\0\0inodes"
}

impl Inodes {
    pub(crate) fn new() -> Self {
        Self {
            runs: (0..SHARDS).map(|_| Mutex::default()).collect(),
            mark: Mutex::new(Mark {
                next: FIRST,
                covered: FIRST,
            }),
        }
    }

    /// Goes on after what the row says was covered.
    pub(crate) fn restore(&self, row: Option<&[u8]>) -> Result<()> {
        let Some(row) = row else { return Ok(()) };
        let bytes: [u8; 8] = row.try_into().map_err(|_| StoreError::Corrupt {
            what: "the high-water mark of file ids is damaged".into(),
        })?;
        let covered = u64::from_le_bytes(bytes).saturating_add(GAP);
        *self.mark.lock() = Mark {
            next: covered,
            covered,
        };
        Ok(())
    }
}

impl Engine {
    /// A new id, next to others of the directory `near`.
    pub(crate) fn allocate_inode(&self, near: Inode) -> Inode {
        let shard = usize::try_from(near.0).unwrap_or(0) % SHARDS;
        let mut runs = self.inodes.runs[shard].lock();
        if runs.len() >= DIRECTORIES_MAX && !runs.contains_key(&near) {
            runs.clear();
        }
        let run = runs.entry(near).or_insert(Run {
            next: 0,
            end: 0,
            len: RUN_MIN / 2,
        });
        if run.next == run.end {
            run.len = (run.len * 2).min(RUN_MAX);
            run.next = self.take_ids(run.len);
            run.end = run.next + run.len;
        }
        run.next += 1;
        Inode(run.next - 1)
    }

    /// Writes the mark that covers the first ids of this opening.
    pub(crate) fn cover_first_inodes(&self) {
        self.take_ids(1);
    }

    /// Takes ids off the front; the row that covers them joins a group before any of them can.
    fn take_ids(&self, count: u64) -> u64 {
        let mut mark = self.inodes.mark.lock();
        let first = mark.next;
        mark.next += count;
        if mark.next > mark.covered {
            mark.covered = mark.next + STEP;
            let value = Bytes::copy_from_slice(&mark.covered.to_le_bytes());
            self.put_row(rows::SETTINGS, mark_key(), Some(value));
        }
        first
    }
}
