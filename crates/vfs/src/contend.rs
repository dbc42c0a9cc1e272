//! The conflict points: where operations meet what others cache.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_store::{Inode, ObjectId};

use crate::grants::{
    Ask, Blockers, Conflict, Grant, GrantKey, GrantRequest, GrantRights, NotAcknowledged,
    until_settled,
};
use crate::node::{Node, State};
use crate::{AccessMask, Handle, HandleId, Result, Vfs};

/// Rights that touch nothing which anybody caches.
const LOOKS: AccessMask = AccessMask(
    AccessMask::SYNCHRONIZE.0 | AccessMask::READ_ATTRIBUTES.0 | AccessMask::WRITE_ATTRIBUTES.0,
);
/// With these as well an open disturbs oplocks, but no lease.
const LOOKS_AT_SECURITY: AccessMask = AccessMask(LOOKS.0 | AccessMask::READ_CONTROL.0);

impl Vfs {
    /// The grant held under a key that its holder chose.
    pub fn grant(&self, key: GrantKey) -> Option<Arc<Grant>> {
        self.grant_keys.find(&key)
    }

    /// A holder's answer to a break; gives what it keeps.
    ///
    /// Errors: nothing is being broken, perhaps because the answer came too late; or the holder wants to keep more than
    /// it may.
    pub fn acknowledge(
        &self,
        grant: &Grant,
        rights: GrantRights,
    ) -> std::result::Result<GrantRights, NotAcknowledged> {
        grant.acknowledge(rights, self.env.monotonic())
    }

    /// Takes grants from what others hold on the handle's stream and waits for their answers where the operation must.
    /// Nothing is waited for, or even locked, where nobody holds a grant.
    pub(crate) async fn contend(&self, handle: &Handle, conflict: Conflict) {
        if !handle.node.grants.is_idle() {
            let stream = Some(handle.stream);
            self.contend_on(&handle.node, stream, handle.grant_key(), conflict)
                .await;
        }
    }

    /// [`Self::contend`] on one stream of a file, or on all.
    pub(crate) async fn contend_on(
        &self,
        node: &Node,
        stream: Option<u32>,
        by: Option<GrantKey>,
        conflict: Conflict,
    ) {
        if node.grants.is_idle() {
            return;
        }
        // Boxed, so that operations do not carry it around where nobody holds a grant.
        Box::pin(async move {
            let mut first = true;
            loop {
                let now = self.env.monotonic();
                self.lower_records(node, stream, by, conflict, false);
                let blockers = node.grants.disturb(stream, by, conflict, now, first);
                if blockers.is_empty() {
                    return;
                }
                until_settled(&*self.env, blockers).await;
                first = false;
            }
        })
        .await;
    }

    /// What may be read of the handle's stream has changed: whoever caches it hears so before the change is answered.
    pub(crate) fn written(&self, handle: &Handle) {
        self.changed(handle, Conflict::Written);
    }

    /// The same after an open that replaced the content.
    pub(crate) fn replaced(&self, handle: &Handle) {
        self.changed(handle, Conflict::Replaced);
    }

    fn changed(&self, handle: &Handle, conflict: Conflict) {
        let node = &handle.node;
        if !node.grants.is_idle() {
            let (stream, by) = (Some(handle.stream), handle.grant_key());
            let now = self.env.monotonic();
            self.lower_records(node, stream, by, conflict, false);
            node.grants.disturb(stream, by, conflict, now, true);
        }
    }

    /// Nobody hears of changes in directories, so that names need not be looked up for it.
    pub(crate) fn is_unheard(&self) -> bool {
        self.watches.is_idle() && self.directory_grants.load(Ordering::SeqCst) == 0
    }

    /// What a directory's listing shows has changed.
    pub(crate) fn listing_changed(&self, directory: Inode, by: Option<GrantKey>) {
        if self.directory_grants.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(node) = self.nodes.peek(directory) {
            let now = self.env.monotonic();
            node.grants
                .disturb(Some(0), by, Conflict::Directory, now, true);
        }
    }

    /// Before a directory moves, those who keep files below it open for later close them.
    pub(crate) async fn contend_below(&self, directory: &Handle) -> Result<()> {
        let by = directory.grant_key();
        for node in self.nodes.with_grants() {
            if node.inode == directory.node.inode {
                continue;
            }
            let above: Vec<Inode> = {
                let state = node.lock();
                state.opens.iter().map(|open| open.link.directory).collect()
            };
            let mut below = false;
            for inode in above {
                let above = self.node(inode)?;
                below |= self.is_below(&above, directory.node.inode)?;
            }
            if below {
                self.contend_on(&node, None, by, Conflict::Name).await;
            }
        }
        Ok(())
    }

    /// The conflict point of opens, under the state's lock: what must be waited for before the open is tried again.
    pub(crate) fn contend_open(
        &self,
        node: &Node,
        stream: u32,
        access: AccessMask,
        by: Option<GrantKey>,
        conflict: Conflict,
        first: bool,
    ) -> Blockers {
        if node.grants.is_idle() || LOOKS.contains(access) {
            return Blockers::new();
        }
        let now = self.env.monotonic();
        let only_oplocks = LOOKS_AT_SECURITY.contains(access);
        self.lower_records(node, Some(stream), by, conflict, only_oplocks);
        if only_oplocks {
            node.grants.disturb_oplocks(stream, conflict, now, first)
        } else {
            node.grants.disturb(Some(stream), by, conflict, now, first)
        }
    }

    /// Whether an open would wait for the holder of a grant who is away. The state is locked.
    pub(crate) fn waits_for_away(
        &self,
        node: &Node,
        state: &State,
        stream: u32,
        (access, by): (AccessMask, Option<GrantKey>),
        conflict: Conflict,
    ) -> bool {
        if self.persistents.is_idle() || node.grants.is_idle() || LOOKS.contains(access) {
            return false;
        }
        let away = state.opens_of_stream(stream).filter(|open| open.away);
        let keys: Vec<GrantKey> = away
            .filter_map(|open| open.grant_key)
            .filter(|key| Some(*key) != by)
            .collect();
        let now = self.env.monotonic();
        !keys.is_empty() && node.grants.waits_for_any(&keys, conflict, now)
    }

    /// Gives an open what it asks for, as far as others leave it. The state is locked; a key was reserved.
    pub(crate) fn give_grant(
        &self,
        request: &GrantRequest,
        node: &Node,
        state: &State,
        stream: u32,
        id: HandleId,
    ) -> Option<Arc<Grant>> {
        let GrantRequest::Wanted(wish) = request else {
            return None;
        };
        let is_directory = node.is_directory() && stream == 0;
        if is_directory && !(wish.directories && wish.key.is_some()) {
            wish.key
                .iter()
                .for_each(|key| self.grant_keys.give_back(key));
            return None;
        }
        let mut others = state.opens_of_stream(stream);
        let others_open = others.any(|open| {
            (wish.key.is_none() || open.grant_key != wish.key) && !LOOKS.contains(open.access)
        });
        let object = ObjectId {
            inode: node.inode,
            stream,
        };
        if is_directory {
            // Counted before it can be given, so that nobody who changes the directory afterwards overlooks it.
            self.directory_grants.fetch_add(1, Ordering::SeqCst);
        }
        let grant = node.grants.grant(&Ask {
            wish,
            object,
            is_directory,
            own_key: GrantKey::Open(id),
            others_open,
            locked: node.locks.holds(stream),
            now: self.env.monotonic(),
        });
        if is_directory && grant.is_none() {
            self.directory_grants.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(grant) = &grant
            && wish.key.is_some()
        {
            self.grant_keys.fill(grant);
        }
        grant
    }

    /// The handle's part of its grant ends, after everything else about the handle has: who waited for that finds the
    /// file without it.
    pub(crate) fn release_grant(&self, handle: &Handle) {
        let Some(grant) = &handle.grant else { return };
        if handle.is_directory() {
            self.directory_grants.fetch_sub(1, Ordering::SeqCst);
        }
        if handle.node.grants.release(grant) && grant.keyed() {
            self.grant_keys.forget(grant);
        }
    }
}
