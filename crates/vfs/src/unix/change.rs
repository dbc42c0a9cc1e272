//! `chmod`, `chown`, `utimes` and `truncate`.

use std::sync::Arc;

use strongroom_store::Inode;

use super::{Unix, UnixOpen};
use crate::grants::Conflict;
use crate::node::Node;
use crate::watch::WatchFilter;
use crate::{AccessMask, FileTime, Handle, Result, SetTimes, Sid, Vfs, VfsError, acl};

const SET_USER_ID: u32 = 0o4000;
const GROUP_EXECUTE: u32 = 0o010;

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The server's.
    Now,
    To(FileTime),
}

/// What is to change; None leaves a part as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnixChange {
    pub size: Option<u64>,
    pub mode: Option<u32>,
    pub owner: Option<Sid>,
    pub group: Option<Sid>,
    pub accessed: Option<SetTime>,
    pub modified: Option<SetTime>,
}

/// Who asks, seen from the file.
#[derive(Debug, Clone, Copy)]
struct Standing {
    rights: AccessMask,
    /// The owner, or root.
    owns: bool,
    owner: Option<Sid>,
    group: Option<Sid>,
    mode: u32,
}

impl UnixChange {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn sets_owner(&self) -> bool {
        self.mode.is_some() || self.owner.is_some() || self.group.is_some()
    }

    fn sets_times(&self) -> bool {
        self.accessed.is_some() || self.modified.is_some()
    }
}

impl Unix<'_> {
    /// Changes attributes, through a handle of the caller's for the size where there is one.
    ///
    /// Errors: `PrivilegeNotHeld` where only the owner or root may, `AccessDenied`, `ReadOnly`; for sizes those of
    /// [`Vfs::set_size`].
    pub async fn change(
        &self,
        inode: Inode,
        change: &UnixChange,
        through: Option<&Arc<Handle>>,
    ) -> Result<()> {
        if change.is_empty() {
            return Ok(());
        }
        self.require_writable()?;
        let node = self.node(inode)?;
        let standing = self.standing(&node)?;
        self.check(change, &standing)?;
        if let Some(size) = change.size {
            self.resize(inode, size, through).await?;
        }
        if change.sets_owner() || change.sets_times() {
            self.vfs
                .contend_on(&node, None, self.by, Conflict::Attributes)
                .await;
        }
        if change.sets_owner() {
            self.change_owner(&node, change).await?;
        }
        if change.sets_times() {
            self.change_times(&node, change).await?;
        }
        Ok(())
    }

    fn standing(&self, node: &Node) -> Result<Standing> {
        let mut state = node.lock();
        let rights = self.rights_of(node, &mut state)?;
        let security = self.vfs.security_of(node, &mut state)?;
        Ok(Standing {
            rights,
            owns: self.who.admin || security.owner == Some(self.who.user),
            owner: security.owner,
            group: security.group,
            mode: acl::mode_of(&security) | u32::from(state.attr.mode_bits),
        })
    }

    fn check(&self, change: &UnixChange, standing: &Standing) -> Result<()> {
        let by_list = standing.rights.contains(AccessMask::WRITE_DAC);
        if change.mode.is_some() && !standing.owns && !by_list {
            return Err(VfsError::PrivilegeNotHeld);
        }
        if let Some(owner) = change.owner
            && !self.who.admin
            && !(standing.owns && standing.owner == Some(owner))
        {
            return Err(VfsError::PrivilegeNotHeld);
        }
        if let Some(group) = change.group
            && !self.who.admin
            && !(standing.owns && (self.in_group(&group) || standing.group == Some(group)))
        {
            return Err(VfsError::PrivilegeNotHeld);
        }
        check_times(change, standing)
    }

    fn in_group(&self, group: &Sid) -> bool {
        self.who.primary_group == *group || self.who.groups.contains(group)
    }

    async fn resize(&self, inode: Inode, size: u64, through: Option<&Arc<Handle>>) -> Result<()> {
        let own;
        let handle = match through {
            Some(handle) => handle,
            None => {
                let open = UnixOpen::once(AccessMask::WRITE_DATA);
                own = self.open(inode, open).await?;
                &own
            }
        };
        let before = self.vfs.look(inode)?.stat.size;
        self.vfs.set_size(handle, size).await?;
        if before == size {
            // The times tell that it was asked for, though nothing changed.
            let now = Some(self.vfs.now());
            let held = self.hold(handle.node())?;
            let times = SetTimes {
                modified: now,
                ..SetTimes::default()
            };
            self.vfs.set_times(&held, times).await?;
        }
        self.drop_set_ids(handle)
    }

    fn hold(&self, node: &Arc<Node>) -> Result<Arc<Handle>> {
        self.vfs
            .hold(self.who, self.share, node, AccessMask::WRITE_ATTRIBUTES)
    }

    async fn change_owner(&self, node: &Arc<Node>, change: &UnixChange) -> Result<()> {
        let handle = self.hold(node)?;
        self.vfs.store.throttle().await;
        let standing = self.standing(node)?;
        let is_directory = node.is_directory();
        let mode = self.next_mode(change, &standing, is_directory);
        let special = mode.map(|mode| u16::try_from(mode & acl::SPECIAL).unwrap_or(0));
        self.vfs.replace_security(&handle, special, |current| {
            let owned = match (change.owner, change.group) {
                (None, None) => current.clone(),
                (owner, group) => acl::with_owner(current, owner, group, is_directory),
            };
            match mode {
                Some(mode) => acl::with_mode(&owned, mode, is_directory),
                None => owned,
            }
        })
    }

    /// The mode that a change leaves; None where it stays. Another owner or group takes the bits away by which a
    /// program runs as its owner, as on Linux; and nobody makes files that run as a group that it is not in.
    fn next_mode(&self, change: &UnixChange, before: &Standing, is_directory: bool) -> Option<u32> {
        let owned = change.owner.is_some() || change.group.is_some();
        let mut mode = change.mode.unwrap_or(before.mode);
        if owned && !is_directory {
            mode = without_set_ids(mode);
        }
        let group = change.group.or(before.group);
        let strange = group.is_some_and(|group| !self.in_group(&group));
        if change.mode.is_some() && strange && !self.who.admin {
            mode &= !acl::SET_GROUP_ID;
        }
        (change.mode.is_some() || mode != before.mode).then_some(mode)
    }

    /// Replaces the access control list by one for the file's owner and group.
    ///
    /// Errors: `PrivilegeNotHeld` without the right to change it.
    pub async fn change_list(
        &self,
        inode: Inode,
        list: impl FnOnce(Sid, Sid) -> acl::Acl,
    ) -> Result<()> {
        let node = self.node(inode)?;
        let standing = self.standing(&node)?;
        let by_list = standing.rights.contains(AccessMask::WRITE_DAC);
        if !standing.owns && !by_list {
            return Err(VfsError::PrivilegeNotHeld);
        }
        self.require_writable()?;
        self.vfs
            .contend_on(&node, None, self.by, Conflict::Attributes)
            .await;
        self.vfs.store.throttle().await;
        let handle = self.hold(&node)?;
        self.vfs.replace_security(&handle, None, |current| {
            let owner = current.owner.unwrap_or(Sid::NULL);
            let group = current.group.unwrap_or(Sid::NULL);
            let mut next = current.clone();
            next.dacl = acl::AclSlot::Present(list(owner, group));
            next
        })
    }

    async fn change_times(&self, node: &Arc<Node>, change: &UnixChange) -> Result<()> {
        let now = self.vfs.now();
        let time = |set: Option<SetTime>| {
            set.map(|set| match set {
                SetTime::Now => now,
                SetTime::To(time) => time,
            })
        };
        let times = SetTimes {
            accessed: time(change.accessed),
            modified: time(change.modified),
            ..SetTimes::default()
        };
        let held = self.hold(node)?;
        self.vfs.set_times(&held, times).await
    }

    /// Writes; what was set to run as its owner no longer does, unless root writes.
    pub async fn write(&self, handle: &Arc<Handle>, offset: u64, data: &[u8]) -> Result<()> {
        self.vfs.write(handle, offset, data).await?;
        self.drop_set_ids(handle)
    }

    pub(crate) fn drop_set_ids(&self, handle: &Arc<Handle>) -> Result<()> {
        let node = handle.node();
        if self.who.admin || node.lock().attr.mode_bits == 0 {
            return Ok(());
        }
        let mode = self.standing(node)?.mode;
        let left = without_set_ids(mode) & acl::SPECIAL;
        if mode & acl::SPECIAL == left {
            return Ok(());
        }
        let held = self.hold(node)?;
        self.vfs.change_attr(&held, WatchFilter::SECURITY, |attr| {
            attr.mode_bits = u16::try_from(left).unwrap_or(0);
            Ok(())
        })
    }
}

/// A file without execute permission for its group keeps the bit, which means mandatory locks there.
fn without_set_ids(mode: u32) -> u32 {
    let mode = mode & !SET_USER_ID;
    if mode & GROUP_EXECUTE != 0 {
        mode & !acl::SET_GROUP_ID
    } else {
        mode
    }
}

/// Whoever may write may set both times to now; other times only the owner.
fn check_times(change: &UnixChange, standing: &Standing) -> Result<()> {
    let times = [change.accessed, change.modified];
    if standing.owns || times == [None, None] {
        return Ok(());
    }
    let exact = |time: &Option<SetTime>| matches!(time, Some(SetTime::To(_)));
    if times.iter().any(exact) {
        return Err(VfsError::PrivilegeNotHeld);
    }
    if standing.rights.contains(AccessMask::WRITE_DATA) {
        Ok(())
    } else {
        Err(VfsError::AccessDenied)
    }
}

impl Vfs {
    /// What is written through this handle is durable on return, and every change of names so far.
    pub async fn sync_handle(&self, handle: &Handle) -> Result<()> {
        self.flush_data(handle).await
    }

    /// Every change of names and attributes so far is durable on return.
    pub async fn sync_names(&self) -> Result<()> {
        Ok(self.store.sync(&[]).await?)
    }
}
