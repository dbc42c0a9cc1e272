//! The grants on one file, of all its streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_store::ObjectId;

use super::{Blockers, Conflict, Grant, GrantKey, GrantRights, GrantWish};

#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// How many the list holds, so that a file without any costs one look.
    count: AtomicUsize,
    list: Mutex<Vec<Arc<Grant>>>,
}

/// An open that asks for a grant, with what else there is to know of the file. The file's state is locked meanwhile.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) wish: &'a GrantWish,
    pub(crate) object: ObjectId,
    pub(crate) is_directory: bool,
    /// The key of a grant without one.
    pub(crate) own_key: GrantKey,
    /// The stream is open for more than a look at its attributes, under another key or none.
    pub(crate) others_open: bool,
    /// Somebody has locked a range of the stream.
    pub(crate) locked: bool,
    pub(crate) now: Duration,
}

impl Grants {
    /// Nobody holds any. Whoever changed what may be read before the call finds every grant under which it may have
    /// been read unchanged: the change, this fence and the look come in the order that the reader had them reversed.
    pub(crate) fn is_idle(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Gives what does not conflict with what others hold or do. None where that is nothing, and no key is to be kept
    /// from disturbing what comes later.
    pub(crate) fn grant(&self, ask: &Ask<'_>) -> Option<Arc<Grant>> {
        let mut list = self.list.lock();
        let possible = possible(&list, ask);
        if let Some(key) = ask.wish.key
            && let Some(held) = list.iter().find(|held| held.is_for(key, ask.object))
        {
            held.join(normal(ask), possible, ask.now);
            return Some(Arc::clone(held));
        }
        if possible.is_empty() && ask.wish.key.is_none() {
            return None;
        }
        let (key, keyed) = match ask.wish.key {
            Some(key) => (key, true),
            None => (ask.own_key, false),
        };
        let holder = Arc::clone(&ask.wish.holder);
        let grant = Grant::new(key, keyed, ask.object, possible, holder);
        list.push(Arc::clone(&grant));
        self.count.store(list.len(), Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Some(grant)
    }

    /// Whether one of these keys' holders would have to answer first.
    pub(crate) fn waits_for_any(
        &self,
        keys: &[GrantKey],
        conflict: Conflict,
        now: Duration,
    ) -> bool {
        let list = self.list.lock();
        let mut held = list.iter().filter(|grant| keys.contains(&grant.key));
        held.any(|grant| {
            grant.check_expiry(now);
            grant.look(|view| {
                let breaks = conflict.leaves(view.rights) != view.rights;
                (breaks && conflict.waits_for(view.rights)) || (view.breaking && conflict.is_open())
            })
        })
    }

    /// One open under a grant ends. True if the grant ended with it.
    pub(crate) fn release(&self, grant: &Arc<Grant>) -> bool {
        let mut list = self.list.lock();
        if !grant.leave() {
            return false;
        }
        list.retain(|held| !Arc::ptr_eq(held, grant));
        self.count.store(list.len(), Ordering::SeqCst);
        true
    }

    /// The conflict point: breaks what conflicts on a stream, or on all of them for None, and says what must be waited
    /// for.
    pub(crate) fn disturb(
        &self,
        stream: Option<u32>,
        by: Option<GrantKey>,
        conflict: Conflict,
        now: Duration,
        first: bool,
    ) -> Blockers {
        let list = self.list.lock();
        let concerned = list.iter().filter(|grant| {
            let own = by == Some(grant.key) && (grant.keyed || conflict != Conflict::Written);
            stream.is_none_or(|stream| grant.object.stream == stream)
                // A level II oplock falls to its own holder's writes as well; a writer's oplock does not.
                && !(own || (by == Some(grant.key) && grant.rights().write))
        });
        concerned
            .filter_map(|grant| grant.disturb(conflict, now, first))
            .collect()
    }

    /// As [`Self::disturb`] for an open that looks at attributes and security only, which disturbs no lease.
    pub(crate) fn disturb_oplocks(
        &self,
        stream: u32,
        conflict: Conflict,
        now: Duration,
        first: bool,
    ) -> Blockers {
        let list = self.list.lock();
        let oplocks = list
            .iter()
            .filter(|grant| grant.object.stream == stream && !grant.keyed);
        oplocks
            .filter_map(|grant| grant.disturb(conflict, now, first))
            .collect()
    }
}

impl Grant {
    fn is_for(&self, key: GrantKey, object: ObjectId) -> bool {
        self.keyed && self.key == key && self.object == object
    }
}

/// What is asked for in a form that can be granted at all: nothing goes without reading, and directories are not
/// written to.
fn normal(ask: &Ask<'_>) -> GrantRights {
    let asked = ask.wish.rights;
    if !asked.read {
        return GrantRights::NONE;
    }
    GrantRights {
        write: asked.write && !ask.is_directory,
        ..asked
    }
}

/// What others leave of what is asked for (MS-FSA 2.1.5.18).
fn possible(list: &[Arc<Grant>], ask: &Ask<'_>) -> GrantRights {
    let own = |grant: &Arc<Grant>| {
        ask.wish
            .key
            .is_some_and(|key| grant.is_for(key, ask.object))
    };
    let others = || {
        list.iter()
            .filter(|grant| grant.object == ask.object && !own(grant))
    };
    let mut rights = normal(ask);
    // An open that only looks at attributes leaves a writer its cache, which nobody can share.
    if others().any(|other| other.rights().write) {
        return GrantRights::NONE;
    }
    // A key stands for a cache even when all it held was taken away; an oplock that is gone stands for nothing.
    let spent = |other: &Arc<Grant>| !other.keyed && other.rights().is_empty();
    rights.write &= !ask.others_open && others().all(spent);
    if ask.wish.key.is_some() {
        // Oplocks and keeping files open do not go together, whoever came first.
        rights.handle &= others().all(|other| other.keyed || other.rights().is_empty());
    } else {
        if others().any(|other| other.keyed && other.rights().handle) {
            return GrantRights::NONE;
        }
        rights.handle &= rights.write;
    }
    // Who reads from a cache does not ask whether a range is locked.
    if ask.locked && !rights.write {
        return GrantRights::NONE;
    }
    rights
}
