//! Byte-range locks (MS-FSA 2.1.4.10, 2.1.5.8, 2.1.5.9).
//!
//! A lock belongs to a handle and, within it, to a lock owner. Exclusive locks keep all other owners from reading and
//! writing; shared locks keep everyone from writing, their owner too. A range of no length conflicts only with ranges
//! that it lies strictly inside of.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::node::Node;
use crate::{Handle, HandleId, Result, VfsError};

/// Locks that one handle may hold.
const LOCKS_MAX: usize = 65_536;

/// Tells lock owners within one handle apart; SMB uses the default, NFS one for each lock owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LockOwner(pub u64);

/// A range to lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockRange {
    pub offset: u64,
    pub len: u64,
    pub exclusive: bool,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    handle: HandleId,
    owner: LockOwner,
    stream: u32,
    range: LockRange,
    /// Of POSIX: it keeps those from reading and writing who know no other locks, but not those who ask for such.
    advisory: bool,
}

/// The lock that keeps one from being granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InTheWay {
    pub range: LockRange,
    /// The default for locks that are not of POSIX.
    pub owner: LockOwner,
}

/// The locks on one inode, of all its streams.
#[derive(Debug, Default)]
pub(crate) struct RangeLocks {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    held: Vec<Held>,
    waiting: Vec<(u64, Waker)>,
    next_wait: u64,
}

impl LockRange {
    /// The last byte lies within 64 bits (MS-FSA 2.1.5.8).
    fn check(self) -> Result<()> {
        let end = self.offset.checked_add(self.len.saturating_sub(1));
        end.map(|_| ()).ok_or(VfsError::InvalidRange)
    }

    fn overlaps(self, offset: u64, len: u64) -> bool {
        let end = |offset: u64, len: u64| u128::from(offset) + u128::from(len);
        if self.len == 0 && len == 0 {
            return false;
        }
        u128::from(self.offset) < end(offset, len)
            && u128::from(offset) < end(self.offset, self.len)
    }
}

impl Held {
    fn is_of(&self, other: &Held) -> bool {
        self.handle == other.handle && self.owner == other.owner
    }
}

impl Table {
    fn conflicts(&self, wanted: &Held) -> bool {
        self.held.iter().any(|held| {
            // A shared lock may be stacked on the owner's exclusive one.
            let kinds_clash =
                wanted.range.exclusive || (held.range.exclusive && !held.is_of(wanted));
            kinds_clash
                && held.stream == wanted.stream
                && held.range.overlaps(wanted.range.offset, wanted.range.len)
        })
    }

    fn take(&mut self, wanted: Held) -> Result<()> {
        if self.conflicts(&wanted) {
            return Err(VfsError::LockNotGranted);
        }
        let count = self
            .held
            .iter()
            .filter(|held| held.handle == wanted.handle)
            .count();
        if count >= LOCKS_MAX {
            return Err(VfsError::TooMany);
        }
        self.held.push(wanted);
        Ok(())
    }

    /// The lock that keeps a POSIX owner from one: any of another's that overlaps, unless both are shared.
    fn in_the_way(&self, wanted: &Held) -> Option<InTheWay> {
        let range = wanted.range;
        let found = self.held.iter().find(|held| {
            let own = held.advisory && held.owner == wanted.owner;
            !own && held.stream == wanted.stream
                && (held.range.exclusive || range.exclusive)
                && held.range.overlaps(range.offset, range.len)
        });
        found.map(|held| InTheWay {
            range: held.range,
            owner: if held.advisory {
                held.owner
            } else {
                LockOwner::default()
            },
        })
    }

    /// Takes a range out of what a POSIX owner holds; what lies before and behind it stays.
    fn cut(&mut self, owner: LockOwner, stream: u32, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        let mut left = Vec::new();
        self.held.retain(|held| {
            let own = held.advisory && held.owner == owner && held.stream == stream;
            if !own || !held.range.overlaps(offset, len) {
                return true;
            }
            let held_end = held.range.offset.saturating_add(held.range.len);
            for (start, stop) in [(held.range.offset, offset), (end, held_end)] {
                if start < stop {
                    let range = LockRange {
                        offset: start,
                        len: stop - start,
                        ..held.range
                    };
                    left.push(Held { range, ..*held });
                }
            }
            false
        });
        self.held.append(&mut left);
    }

    /// Joins a POSIX lock with its owner's neighbours of the same kind, so that locks do not add up without end.
    fn join(&mut self, mut new: Held) {
        self.held.retain(|held| {
            let alike = held.advisory
                && held.owner == new.owner
                && held.stream == new.stream
                && held.handle == new.handle
                && held.range.exclusive == new.range.exclusive;
            let (start, end) = (
                new.range.offset,
                new.range.offset.saturating_add(new.range.len),
            );
            let held_end = held.range.offset.saturating_add(held.range.len);
            if !alike || (held_end != start && held.range.offset != end) {
                return true;
            }
            new.range.offset = start.min(held.range.offset);
            new.range.len = end.max(held_end) - new.range.offset;
            false
        });
        self.held.push(new);
    }

    fn wake(&mut self) {
        for (_, waker) in self.waiting.drain(..) {
            waker.wake();
        }
    }
}

impl RangeLocks {
    pub(crate) fn lock(
        &self,
        handle: &Handle,
        owner: LockOwner,
        ranges: &[LockRange],
    ) -> Result<()> {
        let mut table = self.table.lock();
        // Asked under the table's lock: who closes the handle marks it first and clears the table then.
        handle.check_open()?;
        let before = table.held.len();
        for range in ranges {
            let wanted = Held {
                handle: handle.id,
                owner,
                stream: handle.stream,
                range: *range,
                advisory: false,
            };
            if let Err(error) = range.check().and_then(|()| table.take(wanted)) {
                table.held.truncate(before);
                return Err(error);
            }
        }
        Ok(())
    }

    fn unlock(&self, handle: &Handle, owner: LockOwner, offset: u64, len: u64) -> Result<()> {
        let mut table = self.table.lock();
        let at = table.held.iter().position(|held| {
            !held.advisory
                && held.handle == handle.id
                && held.owner == owner
                && held.stream == handle.stream
                && (held.range.offset, held.range.len) == (offset, len)
        });
        table.held.remove(at.ok_or(VfsError::RangeNotLocked)?);
        table.wake();
        Ok(())
    }

    /// Whether anybody has locked a range of the stream.
    pub(crate) fn holds(&self, stream: u32) -> bool {
        let table = self.table.lock();
        table.held.iter().any(|held| held.stream == stream)
    }

    /// What a handle holds, with how often.
    pub(crate) fn of(&self, handle: HandleId) -> BTreeMap<LockRange, u32> {
        let table = self.table.lock();
        let mut ranges = BTreeMap::new();
        for held in table.held.iter().filter(|held| held.handle == handle) {
            *ranges.entry(held.range).or_insert(0) += 1;
        }
        ranges
    }

    /// Frees everything that a handle holds.
    pub(crate) fn release(&self, handle: HandleId) {
        let mut table = self.table.lock();
        if table.held.is_empty() && table.waiting.is_empty() {
            return;
        }
        table.held.retain(|held| held.handle != handle);
        table.wake();
    }

    /// Whether a read or write by this owner is excluded (MS-FSA 2.1.4.10).
    pub(crate) fn check_io(
        &self,
        handle: &Handle,
        owner: LockOwner,
        offset: u64,
        len: u64,
        write: bool,
    ) -> Result<()> {
        let table = self.table.lock();
        let excluded = len > 0
            && table.held.iter().any(|held| {
                if held.advisory && handle.posix {
                    return false;
                }
                let own = held.handle == handle.id && held.owner == owner;
                let matters = if held.range.exclusive { !own } else { write };
                matters && held.stream == handle.stream && held.range.overlaps(offset, len)
            });
        if excluded {
            Err(VfsError::LockConflict)
        } else {
            Ok(())
        }
    }
}

/// A lock being waited for. Dropping it cancels.
#[derive(Debug)]
pub struct LockWait {
    node: Arc<Node>,
    handle: Weak<Handle>,
    wanted: Held,
    ticket: Option<u64>,
}

impl Future for LockWait {
    type Output = Result<()>;

    /// Ready with `Closed` when the handle was closed meanwhile.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let handle = self.handle.upgrade();
        let node = Arc::clone(&self.node);
        let mut table = node.locks.table.lock();
        let closed = handle.as_ref().is_none_or(|handle| handle.is_closed());
        if let Some(ticket) = self.ticket.take() {
            table.waiting.retain(|(waiting, _)| *waiting != ticket);
        }
        if closed {
            return Poll::Ready(Err(VfsError::Closed));
        }
        match table.take(self.wanted) {
            Err(VfsError::LockNotGranted) => {
                table.next_wait += 1;
                let ticket = table.next_wait;
                table.waiting.push((ticket, context.waker().clone()));
                self.ticket = Some(ticket);
                Poll::Pending
            }
            done => {
                drop(table);
                let vfs = handle.as_ref().and_then(|handle| handle.vfs.upgrade());
                if let (Ok(()), Some(vfs), Some(handle)) = (&done, vfs, &handle) {
                    // Who reads from a cache would not meet the lock.
                    vfs.written(handle);
                }
                Poll::Ready(done)
            }
        }
    }
}

impl Drop for LockWait {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut table = self.node.locks.table.lock();
            table.waiting.retain(|(waiting, _)| *waiting != ticket);
        }
    }
}

impl crate::Vfs {
    /// All or nothing, at once.
    ///
    /// Errors: `LockNotGranted`, `InvalidRange`, `InvalidParameter` for directories, `AccessDenied` without the right
    /// to read or write.
    pub fn lock(&self, handle: &Handle, owner: LockOwner, ranges: &[LockRange]) -> Result<()> {
        check_lockable(handle)?;
        handle.node.locks.lock(handle, owner, ranges)?;
        // Who reads from a cache would not meet the lock.
        self.written(handle);
        Ok(())
    }

    /// Waits until granted; dropping the wait cancels it.
    pub fn lock_wait(
        &self,
        handle: &Arc<Handle>,
        owner: LockOwner,
        range: LockRange,
    ) -> Result<LockWait> {
        check_lockable(handle)?;
        range.check()?;
        let wanted = Held {
            handle: handle.id,
            owner,
            stream: handle.stream,
            range,
            advisory: false,
        };
        Ok(LockWait {
            node: Arc::clone(&handle.node),
            handle: Arc::downgrade(handle),
            wanted,
            ticket: None,
        })
    }

    /// Frees a range that was locked with exactly this offset and length.
    pub fn unlock(&self, handle: &Handle, owner: LockOwner, offset: u64, len: u64) -> Result<()> {
        handle.check_open()?;
        handle.node.locks.unlock(handle, owner, offset, len)
    }

    /// Locks a range for a POSIX owner, whose number nobody else has: what it held of the range takes the new kind. The
    /// lock that is in the way otherwise. It ends with the handle at the latest.
    ///
    /// Errors: `InvalidRange`, `InvalidParameter` for directories, `TooMany`.
    pub fn lock_posix(
        &self,
        handle: &Handle,
        owner: LockOwner,
        range: LockRange,
    ) -> Result<Option<InTheWay>> {
        check_lockable(handle)?;
        range.check()?;
        let wanted = Held {
            handle: handle.id,
            owner,
            stream: handle.stream,
            range,
            advisory: true,
        };
        let mut table = handle.node.locks.table.lock();
        // Asked under the table's lock: who closes the handle marks it first and clears the table then.
        handle.check_open()?;
        if let Some(in_the_way) = table.in_the_way(&wanted) {
            return Ok(Some(in_the_way));
        }
        let held = table.held.iter().filter(|held| held.handle == handle.id);
        if held.count() >= LOCKS_MAX {
            return Err(VfsError::TooMany);
        }
        table.cut(owner, handle.stream, range.offset, range.len);
        table.join(wanted);
        // An exclusive lock may have become a shared one.
        table.wake();
        drop(table);
        // Who reads from a cache would not meet the lock.
        self.written(handle);
        Ok(None)
    }

    /// Frees what a POSIX owner holds of a range.
    pub fn unlock_posix(
        &self,
        handle: &Handle,
        owner: LockOwner,
        offset: u64,
        len: u64,
    ) -> Result<()> {
        handle.check_open()?;
        let mut table = handle.node.locks.table.lock();
        table.cut(owner, handle.stream, offset, len);
        table.wake();
        Ok(())
    }

    /// What would keep a POSIX owner from locking a range of a file.
    pub fn test_posix(
        &self,
        inode: strongroom_store::Inode,
        owner: LockOwner,
        range: LockRange,
    ) -> Result<Option<InTheWay>> {
        range.check()?;
        let Some(node) = self.nodes.peek(inode) else {
            return Ok(None);
        };
        let wanted = Held {
            handle: HandleId(0),
            owner,
            stream: 0,
            range,
            advisory: true,
        };
        let table = node.locks.table.lock();
        Ok(table.in_the_way(&wanted))
    }

    /// Whether a POSIX owner has locked any range of what is open.
    pub fn holds_locks(&self, handle: &Handle, owner: LockOwner) -> bool {
        let table = handle.node.locks.table.lock();
        let mut held = table.held.iter();
        held.any(|held| held.advisory && held.owner == owner)
    }

    /// Whether the handle has locked any range.
    pub fn has_locks(&self, handle: &Handle) -> bool {
        let table = handle.node.locks.table.lock();
        table.held.iter().any(|held| held.handle == handle.id)
    }

    /// Whether this range could be locked; the first lock that is in the way otherwise (for NFS LOCKT).
    pub fn test_lock(
        &self,
        handle: &Handle,
        owner: LockOwner,
        range: LockRange,
    ) -> Option<LockRange> {
        let table = handle.node.locks.table.lock();
        let in_way = table.held.iter().find(|held| {
            held.stream == handle.stream
                && (held.handle != handle.id || held.owner != owner)
                && held.range.overlaps(range.offset, range.len)
                && (held.range.exclusive || range.exclusive)
        });
        in_way.map(|held| held.range)
    }
}

fn check_lockable(handle: &Handle) -> Result<()> {
    use crate::AccessMask;
    if handle.is_directory() {
        return Err(VfsError::InvalidParameter);
    }
    handle.require_any(AccessMask::READ_DATA | AccessMask::WRITE_DATA)
}
