//! Opening and making named streams.

use std::sync::Arc;

use strongroom_store::{Aspect, ObjectId};

use super::existing::Admitted;
use super::{Admission, Attempt, Opening, Vfs};
use crate::apple::MacStream;
use crate::node::{LinkRef, Node};
use crate::vfs::put_attr;
use crate::watch::WatchAction;
use crate::{
    AccessMask, CreateAction, Disposition, DosAttributes, Handle, REPARSE_TAG_SYMLINK, Result,
    VfsError,
};

impl Vfs {
    pub(super) async fn open_stream(
        &self,
        opening: &Opening<'_, '_>,
        node: Arc<Node>,
        link: Arc<LinkRef>,
    ) -> Result<Attempt> {
        let name = opening.path.stream.unwrap_or_default();
        let admitted = self.with_parent_rights(opening, &node, &link, |by_parent| {
            self.admit_stream(opening, &node, &link, name, by_parent)
        })?;
        let (handle, action) = match admitted {
            Admitted::Done(done) => done,
            Admitted::Gone => return Ok(Attempt::Again),
            Admitted::Blocked(blockers) => return Ok(Attempt::Blocked(blockers)),
        };
        match action {
            CreateAction::Created => self.tell_stream(&handle, WatchAction::AddedStream)?,
            CreateAction::Overwritten | CreateAction::Superseded => {
                self.empty_stream(&handle).await?
            }
            CreateAction::Opened => {}
        }
        if action != CreateAction::Opened && handle.is_afp_info() {
            // Dropping the handle takes back what was made.
            self.begin_info(&handle).await?;
        }
        Ok(Attempt::Done((handle, action)))
    }

    async fn empty_stream(&self, handle: &Handle) -> Result<()> {
        let emptied = match self.cut_to_nothing(handle).await {
            Ok(()) => self.put_replaced(handle).await,
            failed => failed,
        };
        if let Err(error) = emptied {
            self.retract(handle);
            return Err(error);
        }
        self.replaced(handle);
        self.settle_charge(&handle.node, &mut handle.node.lock())?;
        self.tell_stream(handle, WatchAction::ModifiedStream)
    }

    pub(super) async fn cut_to_nothing(&self, handle: &Handle) -> Result<()> {
        self.doubt_charge(&handle.node, &mut handle.node.lock())?;
        let (session, now) = (handle.session(), self.timestamp());
        let object = handle.object();
        handle.node.end_instant();
        let cut = self.store.truncate(session, object, 0, Some(now)).await;
        handle.node.end_instant();
        Ok(cut?)
    }

    /// Checks, makes where needed, and registers, under the file's lock.
    fn admit_stream(
        &self,
        opening: &Opening<'_, '_>,
        node: &Arc<Node>,
        link: &Arc<LinkRef>,
        name: &str,
        by_parent: AccessMask,
    ) -> Result<Admitted<(Arc<Handle>, CreateAction)>> {
        let mut state = node.lock();
        if state.gone || !self.still_named(&node.view, node.inode, &state.attr, link)? {
            return Ok(Admitted::Gone);
        }
        if state.is_pending(link) {
            return Err(VfsError::DeletePending);
        }
        let options = opening.request.options;
        if state.attr.reparse_tag == REPARSE_TAG_SYMLINK && !options.open_reparse_point {
            return Err(self.stop_at_link(node, "")?);
        }
        if opening.path.must_be_directory {
            return Err(VfsError::NotDirectory);
        }
        let granted = self.check_access(opening, node, &mut state, by_parent)?;
        let found = self.find_stream(&node.view, node.inode, &state.attr, name)?;
        let present = found.as_ref().is_some_and(|(id, _)| !state.is_void(*id));
        let action = stream_action(opening, present)?;
        let mac = MacStream::of(name);
        if let Some((id, _)) = &found {
            if state.pending_streams.contains(id) {
                return Err(VfsError::DeletePending);
            }
            let access = if opening.replaces() {
                granted | AccessMask::WRITE_DATA
            } else {
                granted
            };
            let blockers = self.meet_others(opening, node, &state, *id, access)?;
            if !blockers.is_empty() {
                return Ok(Admitted::Blocked(blockers));
            }
        }
        if found.is_some() && !present {
            self.check_may_add_stream(opening, node, &mut state)?;
        }
        // What is there keeps the name that it was made by.
        let (id, name) = match &found {
            Some((id, known)) => (*id, known.as_str()),
            None => (
                self.add_keyed_stream(opening, node, &mut state, name)?,
                name,
            ),
        };
        if action != CreateAction::Opened {
            state.set_void(id, mac != MacStream::Other);
        }
        let persistent =
            self.keep_found(opening, node, (link.as_ref(), id, name), granted, action)?;
        let admission = Admission {
            node,
            link: Arc::clone(link),
            stream: id,
            stream_name: name,
            granted,
            persistent,
        };
        let handle = self.admit(opening, admission, &mut state);
        Ok(Admitted::Done((handle, action)))
    }

    /// A new stream; a key that the open brings must be free, and is reserved.
    fn add_keyed_stream(
        &self,
        opening: &Opening<'_, '_>,
        node: &Node,
        state: &mut crate::node::State,
        name: &str,
    ) -> Result<u32> {
        let Some(key) = opening.request.grant.key() else {
            return self.add_stream(opening, node, state, name);
        };
        // The one that the next stream gets; the state is locked.
        let object = Self::stream_object(node, state.attr.next_stream);
        self.grant_keys.reserve(&key, object)?;
        let added = self.add_stream(opening, node, state, name);
        if added.is_err() {
            self.grant_keys.give_back(&key);
        }
        added
    }

    fn add_stream(
        &self,
        opening: &Opening<'_, '_>,
        node: &Node,
        state: &mut crate::node::State,
        name: &str,
    ) -> Result<u32> {
        self.check_may_add_stream(opening, node, state)?;
        let mut attr = state.attr.clone();
        let mut txn = self.store.txn(opening.credentials.session);
        let id = self.make_stream(&mut txn, node.inode, &mut attr, Some(name))?;
        attr.changed = self.now();
        put_attr(&mut txn, node.inode, &mut attr);
        txn.note(node.inode, Aspect::Stream);
        txn.commit()?;
        state.attr = attr;
        Ok(id)
    }

    fn check_may_add_stream(
        &self,
        opening: &Opening<'_, '_>,
        node: &Node,
        state: &mut crate::node::State,
    ) -> Result<()> {
        let read_only = state.attr.dos.contains(DosAttributes::READ_ONLY) && !node.is_directory();
        if opening.request.share.read_only || read_only {
            return Err(VfsError::AccessDenied);
        }
        self.require_unfenced(opening.credentials.session)?;
        if !node.view.is_now() {
            return Err(VfsError::ReadOnly);
        }
        let security = self.security_of(node, state)?;
        let allowed = crate::acl::maximal_access(&security, opening.credentials);
        let backup = opening.credentials.admin && opening.request.options.backup_intent;
        if !allowed.contains(AccessMask::WRITE_DATA) && !backup {
            return Err(VfsError::AccessDenied);
        }
        Ok(())
    }

    /// Where a stream's bytes are.
    pub(crate) fn stream_object(node: &Node, stream: u32) -> ObjectId {
        ObjectId {
            inode: node.inode,
            stream,
        }
    }
}

fn stream_action(opening: &Opening<'_, '_>, exists: bool) -> Result<CreateAction> {
    match (opening.request.disposition, exists) {
        (Disposition::Create, true) => Err(VfsError::Exists),
        (Disposition::Open | Disposition::Overwrite, false) => Err(VfsError::NotFound),
        (Disposition::Open | Disposition::OpenIf, true) => Ok(CreateAction::Opened),
        (Disposition::Overwrite | Disposition::OverwriteIf, true) => Ok(CreateAction::Overwritten),
        (Disposition::Supersede, true) => Ok(CreateAction::Superseded),
        (_, false) => Ok(CreateAction::Created),
    }
}
