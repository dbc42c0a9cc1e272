//! Delegations (RFC 8881, 10.4): a client may open a file by itself, as long as others do nothing that would meet it.

use std::sync::Arc;

use super::{Admission, Opening, share};
use crate::grants::{GrantRequest, GrantWish};
use crate::names::ParsedPath;
use crate::node::{LinkRef, Node, State};
use crate::{AccessMask, Handle, OpenRequest, Result, Share, ShareAccess, Vfs, VfsError};

impl Vfs {
    /// Gives a client what it wishes beside an open of a file: its delegation is an open of its own, which keeps out the
    /// share modes that the delegation promises to keep out, and lasts until it is dropped. Who comes later and is kept out
    /// waits for the holder. None where somebody is in the way already; nobody is disturbed.
    ///
    /// The wish has a key and the rights of reading, or all. Such a key may mean many files: it is never looked up.
    pub fn delegate(
        &self,
        share: &Share,
        open: &Handle,
        wish: &GrantWish,
    ) -> Result<Option<Arc<Handle>>> {
        let node = open.node();
        if open.is_directory() || open.stream != 0 || !node.view.is_now() || node.is_history() {
            return Ok(None);
        }
        let Some(key) = wish.key else {
            return Ok(None);
        };
        let link = match self.own_link(node) {
            Err(VfsError::NotFound) => return Ok(None),
            link => link?,
        };
        let mut access = AccessMask::READ_DATA;
        if wish.rights.write {
            access |= AccessMask::WRITE_DATA;
        }
        let request = OpenRequest {
            share_access: ShareAccess {
                read: !wish.rights.write,
                write: false,
                delete: true,
            },
            grant: GrantRequest::Wanted(wish.clone()),
            posix: Some(crate::PosixOpen::default()),
            ..OpenRequest::new(share, "")
        };
        let path = ParsedPath::parse("")?;
        let mut opening = Opening::new(open.credentials(), &request, &path);
        opening.delegation = true;
        let mut state = node.lock();
        let by = share::Opener {
            key: Some(key),
            delegation: true,
        };
        let shares = share::check(&state, 0, access, request.share_access, by);
        if state.gone || shares.is_err() {
            return Ok(None);
        }
        let handle = self.admit_delegation(&opening, node, link, access, &mut state);
        drop(state);
        let whole = handle
            .grant()
            .is_some_and(|grant| grant.rights() == wish.rights);
        Ok(whole.then_some(handle))
    }

    fn admit_delegation(
        &self,
        opening: &Opening<'_, '_>,
        node: &Arc<Node>,
        link: Arc<LinkRef>,
        granted: AccessMask,
        state: &mut State,
    ) -> Arc<Handle> {
        let admission = Admission {
            node,
            link,
            stream: 0,
            stream_name: "",
            granted,
            persistent: None,
        };
        self.admit(opening, admission, state)
    }
}
