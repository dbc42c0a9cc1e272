//! What is open, how, and what is locked; all of it ends with the program.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strongroom_vfs::{AccessMask, ShareAccess};

use super::{Id, Link, Node, Object};

/// Rights that reading and writing are seen by.
const READS: AccessMask = AccessMask(AccessMask::READ_DATA.0 | AccessMask::EXECUTE.0);
const WRITES: AccessMask = AccessMask(AccessMask::WRITE_DATA.0 | AccessMask::APPEND_DATA.0);

#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) object: Object,
    pub(crate) access: AccessMask,
    pub(crate) share: ShareAccess,
    pub(crate) link: Link,
    pub(crate) delete_on_close: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Lock {
    pub(crate) handle: u64,
    pub(crate) object: Object,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) exclusive: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Opens {
    /// By handle.
    pub(crate) all: BTreeMap<u64, Open>,
    /// Files without a name that are open.
    pub(crate) gone: BTreeMap<Id, Arc<Node>>,
    /// Names and streams that go with their last open.
    pub(crate) pending: BTreeSet<(Id, Link)>,
    pub(crate) pending_streams: BTreeSet<Object>,
    pub(crate) locks: Vec<Lock>,
    /// Files in the middle of an operation of several steps; others keep off.
    pub(crate) busy: BTreeSet<Id>,
}

/// Whether a share mode forbids any of the rights.
fn excludes(share: ShareAccess, access: AccessMask) -> bool {
    (!share.read && access.intersects(READS))
        || (!share.write && access.intersects(WRITES))
        || (!share.delete && access.intersects(AccessMask::DELETE))
}

fn takes_part(access: AccessMask) -> bool {
    access.intersects(READS | WRITES | AccessMask::DELETE)
}

fn overlaps(a: (u64, u64), b: (u64, u64)) -> bool {
    let end = |(offset, len): (u64, u64)| u128::from(offset) + u128::from(len);
    if a.1 == 0 && b.1 == 0 {
        return false;
    }
    u128::from(a.0) < end(b) && u128::from(b.0) < end(a)
}

impl Opens {
    pub(crate) fn of(&self, id: Id) -> impl Iterator<Item = &Open> {
        self.all.values().filter(move |open| open.object.id == id)
    }

    pub(crate) fn of_object(&self, object: Object) -> impl Iterator<Item = &Open> {
        self.all.values().filter(move |open| open.object == object)
    }

    pub(crate) fn through<'a>(&'a self, id: Id, link: &'a Link) -> impl Iterator<Item = &'a Open> {
        self.of(id).filter(move |open| open.link == *link)
    }

    pub(crate) fn is_pending(&self, id: Id, link: &Link) -> bool {
        self.pending.contains(&(id, link.clone()))
    }

    pub(crate) fn has_pending(&self, id: Id) -> bool {
        self.pending.iter().any(|(pending, _)| *pending == id)
    }

    /// Whether another open excludes one of this access and share mode.
    pub(crate) fn excluded(&self, object: Object, access: AccessMask, share: ShareAccess) -> bool {
        if !takes_part(access) {
            return false;
        }
        let excluded = self.of_object(object).any(|open| {
            takes_part(open.access)
                && (excludes(open.share, access) || excludes(share, open.access))
        });
        let deletes = object.stream == 0 && access.contains(AccessMask::DELETE);
        let kept = deletes
            && self
                .of(object.id)
                .any(|open| takes_part(open.access) && !open.share.delete);
        excluded || kept
    }

    /// Whether a lock keeps a handle from reading or writing a range.
    pub(crate) fn locked(&self, handle: u64, range: (u64, u64), write: bool) -> bool {
        let Some(open) = self.all.get(&handle) else {
            return false;
        };
        range.1 > 0
            && self.locks.iter().any(|lock| {
                let own = lock.handle == handle;
                let matters = if lock.exclusive { !own } else { write };
                matters && lock.object == open.object && overlaps((lock.offset, lock.len), range)
            })
    }

    /// Whether a lock can not be had.
    pub(crate) fn lock_refused(&self, wanted: &Lock) -> bool {
        self.locks.iter().any(|held| {
            let own = held.handle == wanted.handle;
            let clash = wanted.exclusive || (held.exclusive && !own);
            clash
                && held.object == wanted.object
                && overlaps((held.offset, held.len), (wanted.offset, wanted.len))
        })
    }
}
