//! Copying between files inside the server: clients name ranges, no byte of them crosses the network.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use strongroom_store::CloneRange;

use crate::data::require_data;
use crate::grants::Conflict;
use crate::locks::LockOwner;
use crate::types::FILE_MAX;
use crate::{AccessMask, Handle, Result, Vfs, VfsError};

/// Bytes copied in one go; a range up to this long may overlap its target.
pub const COPY_MAX: u64 = 1 << 20;
/// Shorter ranges are copied: a clone of them would save less than its rows and the extent it holds on to cost.
const CLONE_MIN: u64 = 64 << 10;

/// A range of one open that goes to another.
#[derive(Clone, Copy)]
struct Copy<'a> {
    source: &'a Handle,
    from: u64,
    target: &'a Handle,
    to: u64,
    len: u64,
}

impl Vfs {
    /// Copies `len` bytes of `source` from `from` on over those of `target` from `to` on (MS-SMB2 3.3.5.15.6), without
    /// moving them where the store can share them; holes stay holes there. The handles may be of one file; overlapping
    /// ranges come out right up to [`COPY_MAX`] bytes.
    ///
    /// Errors: those of reading and of writing; `InvalidRange` where the source has no such range. What came before an
    /// error stays.
    pub async fn copy_range(
        &self,
        source: &Handle,
        from: u64,
        target: &Handle,
        to: u64,
        len: u64,
    ) -> Result<()> {
        require_data(source)?;
        require_data(target)?;
        source.require_any(AccessMask::READ_DATA | AccessMask::EXECUTE)?;
        target.require_writable_share()?;
        let end = from.checked_add(len).ok_or(VfsError::InvalidRange)?;
        let target_end = to.checked_add(len).filter(|end| *end <= FILE_MAX);
        let target_end = target_end.ok_or(VfsError::InvalidRange)?;
        if end > self.store.at(source.view()).head(source.object())?.size {
            return Err(VfsError::InvalidRange);
        }
        self.guard_cut(target)?;
        let now = source.view().is_now();
        let same = now && source.object() == target.object();
        let apart = !same || end <= to || target_end <= from;
        let may_clone = apart && target.granted().contains(AccessMask::WRITE_DATA);
        let mut rest = Copy {
            source,
            from,
            target,
            to,
            len,
        };
        while rest.len > 0 {
            let moved = self.copy_some(&rest, may_clone).await?;
            rest.from += moved;
            rest.to += moved;
            rest.len -= moved;
            give_way().await;
        }
        Ok(())
    }

    /// Copies from the start of a range; tells how far it came.
    async fn copy_some(&self, copy: &Copy<'_>, may_clone: bool) -> Result<u64> {
        if may_clone && copy.len >= CLONE_MIN {
            let cloned = self.clone_some(copy).await?;
            if cloned > 0 {
                return Ok(cloned);
            }
        }
        let len = copy.len.min(COPY_MAX);
        let mut buffer = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = self.read(copy.source, copy.from, &mut buffer)?;
        if read < buffer.len() {
            // It was cut meanwhile.
            return Err(VfsError::InvalidRange);
        }
        self.write(copy.target, copy.to, &buffer).await?;
        Ok(len)
    }

    /// Shares what one step of the store can share; 0 if that is nothing.
    async fn clone_some(&self, copy: &Copy<'_>) -> Result<u64> {
        let Copy { source, target, .. } = *copy;
        target.require(AccessMask::WRITE_DATA)?;
        self.contend(target, Conflict::WriteBegins).await;
        let owner = LockOwner::default();
        let (from, to, len) = (copy.from, copy.to, copy.len);
        source
            .node
            .locks
            .check_io(source, owner, from, len, false)?;
        target.node.locks.check_io(target, owner, to, len, true)?;
        self.charge_growth(target, to, len)?;
        let range = CloneRange {
            source: source.object(),
            from,
            to,
            len,
        };
        let mtime = self.write_time(target);
        let (session, object) = (target.session(), target.object());
        let view = source.view();
        let work = self.store.clone_past(session, object, range, view, mtime);
        target.node.end_instant();
        let cloned = self.while_open(source, target, work).await;
        target.node.end_instant();
        let cloned = cloned?;
        if cloned > 0 {
            self.written(target);
        }
        if cloned > 0 && target.options.write_through {
            self.flush_data(target).await?;
        }
        Ok(cloned)
    }

    /// Waits for a clone. Each of its steps finds both handles open, and closing either waits for the step.
    async fn while_open(
        &self,
        source: &Handle,
        target: &Handle,
        work: impl Future<Output = strongroom_store::Result<u64>>,
    ) -> Result<u64> {
        let mut work = pin!(work);
        poll_fn(|context| {
            // In the order of their ids, as two copies may go opposite ways while both handles are being closed.
            let (first, second) = if source.id <= target.id {
                (source, target)
            } else {
                (target, source)
            };
            let _first = first.at_work.read();
            let _second = (first.id != second.id).then(|| second.at_work.read());
            if source.is_closed() || target.is_closed() {
                return Poll::Ready(Err(VfsError::Closed));
            }
            work.as_mut().poll(context).map(|done| {
                let cloned = done?;
                if cloned > 0 {
                    self.wrote(target, true)?;
                }
                Ok(cloned)
            })
        })
        .await
    }
}

/// Lets others have the thread: a long copy is many short pieces of work.
async fn give_way() {
    let mut gave = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
