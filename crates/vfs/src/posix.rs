//! What POSIX clients know a file by: permission bits, owner and group. All of it is a view of the descriptor, but for
//! the three special bits, which have no counterpart there.

use strongroom_store::Inode;

use crate::node::Node;
use crate::security::check_owner;
use crate::{AccessMask, Handle, Result, Sid, Vfs, acl};

/// Permission bits with the special ones, owner and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posix {
    pub mode: u32,
    pub owner: Sid,
    pub group: Sid,
}

/// What `chmod` and `chown` set; None leaves a part as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PosixChange {
    pub mode: Option<u32>,
    pub owner: Option<Sid>,
    pub group: Option<Sid>,
}

impl Vfs {
    /// Mode, owner and group of what is open. Needs no right: whoever opened the file may know it.
    pub fn posix(&self, handle: &Handle) -> Result<Posix> {
        handle.check_open()?;
        self.posix_of_node(&handle.node)
    }

    /// The same of an entry that [`Vfs::list`] gave for a directory; None if it is gone since.
    pub fn posix_of(&self, directory: &Handle, inode: Inode) -> Result<Option<Posix>> {
        let node = self.node_in(directory.view(), inode)?;
        node.map(|node| self.posix_of_node(&node)).transpose()
    }

    fn posix_of_node(&self, node: &Node) -> Result<Posix> {
        let mut state = node.lock();
        let security = self.security_of(node, &mut state)?;
        Ok(Posix {
            mode: acl::mode_of(&security) | u32::from(state.attr.mode_bits),
            owner: security.owner.unwrap_or(Sid::NULL),
            group: security.group.unwrap_or(Sid::NULL),
        })
    }

    /// Sets permission bits (`chmod`), owner and group (`chown`). Entries of the list for others stay, within the bounds
    /// that [`acl::with_mode`] names; a new owner gets what the mode says, and the old one's entries go.
    ///
    /// Errors: `AccessDenied` without WRITE_DAC for the mode and WRITE_OWNER for the rest; `InvalidOwner` for an owner
    /// that the caller may not give files to.
    pub async fn set_posix(&self, handle: &Handle, change: PosixChange) -> Result<()> {
        let PosixChange { mode, owner, group } = change;
        if mode.is_some() {
            handle.require(AccessMask::WRITE_DAC)?;
        }
        if owner.is_some() || group.is_some() {
            handle.require(AccessMask::WRITE_OWNER)?;
            check_owner(owner, &handle.credentials)?;
        }
        handle.require_writable_share()?;
        self.store.throttle().await;
        let is_directory = handle.node.is_directory();
        let special = mode.map(|mode| u16::try_from(mode & acl::SPECIAL).unwrap_or(0));
        self.replace_security(handle, special, |current| {
            let owned = match (owner, group) {
                (None, None) => current.clone(),
                _ => acl::with_owner(current, owner, group, is_directory),
            };
            match mode {
                Some(mode) => acl::with_mode(&owned, mode, is_directory),
                None => owned,
            }
        })
    }

    /// Sets the nine permission bits and the three special ones.
    pub async fn set_mode(&self, handle: &Handle, mode: u32) -> Result<()> {
        let change = PosixChange {
            mode: Some(mode),
            ..PosixChange::default()
        };
        self.set_posix(handle, change).await
    }

    /// The permission bits as a view of the descriptor, with the special ones.
    pub fn mode(&self, handle: &Handle) -> Result<u32> {
        handle.require(AccessMask::READ_ATTRIBUTES)?;
        Ok(self.posix_of_node(&handle.node)?.mode)
    }
}
