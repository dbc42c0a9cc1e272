//! What `stat` tells.

use std::sync::Arc;

use strongroom_store::{Inode, SessionId};

use super::special::{special_of, target_of};
use crate::node::{Node, State, Subdirectories};
use crate::rows::{self, NameRow};
use crate::stat::stat_of;
use crate::vfs::put_attr;
use crate::{DosAttributes, FileKind, Result, Sid, Stat, Vfs, VfsError, View, acl};

/// Names of a directory that are looked at to count the directories among them.
const COUNTED_MAX: usize = 4_096;

/// What a file is to POSIX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeType {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    Character { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
}

/// A file's attributes, all of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub stat: Stat,
    pub what: NodeType,
    /// With the three special bits; of a symbolic link always 0777.
    pub mode: u32,
    pub owner: Sid,
    pub group: Sid,
    /// Another number after every change of the file, also where a crash took the last changes back.
    pub change: u64,
}

impl Vfs {
    /// Everything but names and data. Needs no right.
    ///
    /// Errors: `Closed` where there is no such file any more.
    pub fn look(&self, inode: Inode) -> Result<Look> {
        self.look_in(&View::Now, inode)
    }

    pub(super) fn look_in(&self, view: &View, inode: Inode) -> Result<Look> {
        let node = self.node_in(view, inode)?;
        let node = node.ok_or(VfsError::Closed)?;
        let mut state = node.lock();
        if view.is_now() {
            self.note_written(&node, &mut state)?;
        }
        let data = self.head_of(view, inode, &state.attr)?;
        let mut stat = stat_of(inode, &state.attr, data);
        let what = self.what(view, &stat)?;
        if what == NodeType::Symlink {
            let target = target_of(&self.read_reparse(view, inode)?)?;
            stat.size = u64::try_from(target.len()).unwrap_or(u64::MAX);
        }
        if what == NodeType::Directory && view.is_now() {
            stat.links = self.directory_links(inode, &mut state)?;
        }
        let security = self.security_of(&node, &mut state)?;
        let mode = if what == NodeType::Symlink {
            0o777
        } else {
            acl::mode_of(&security) | u32::from(state.attr.mode_bits)
        };
        Ok(Look {
            stat,
            what,
            mode,
            owner: security.owner.unwrap_or(Sid::NULL),
            group: security.group.unwrap_or(Sid::NULL),
            change: change_of(&stat),
        })
    }

    /// A file's owner, group and access control list. Needs no right, as [`Vfs::look`].
    pub fn descriptor(&self, inode: Inode) -> Result<Arc<acl::SecurityDescriptor>> {
        let node = self.nodes.get(&self.store, inode)?;
        let node = node.ok_or(VfsError::Closed)?;
        self.security_of(&node, &mut node.lock())
    }

    /// Writing is written down when somebody asks for it: each answer after it shows another change time and count.
    fn note_written(&self, node: &Node, state: &mut State) -> Result<()> {
        if !state.dirty || state.gone {
            return Ok(());
        }
        let mut attr = state.attr.clone();
        attr.dos = attr.dos.union(DosAttributes::ARCHIVE);
        attr.changed = self.now().max(attr.changed);
        let mut txn = self.store.txn(SessionId::SYSTEM);
        // What was written has its place; a look must not fail for want of more.
        txn.draw_on_reserve();
        put_attr(&mut txn, node.inode, &mut attr);
        txn.commit()?;
        state.attr = attr;
        state.dirty = false;
        Ok(())
    }

    /// Its name, its own entry for itself, and those of the directories in it for it. A directory that was not counted
    /// has one link, by which programs that look for directories know that they must look at each entry.
    fn directory_links(&self, directory: Inode, state: &mut State) -> Result<u32> {
        if state.subdirectories == Subdirectories::NotCounted {
            state.subdirectories = self.count_directories(directory)?;
        }
        Ok(match state.subdirectories {
            Subdirectories::Counted(count) => count.saturating_add(2),
            Subdirectories::NotCounted | Subdirectories::TooMany => 1,
        })
    }

    fn count_directories(&self, directory: Inode) -> Result<Subdirectories> {
        let (start, end) = (rows::inode_key(directory), rows::end_of(directory));
        let page = self.store.scan(rows::NAMES, &start, &end, COUNTED_MAX)?;
        if page.len() >= COUNTED_MAX {
            return Ok(Subdirectories::TooMany);
        }
        let mut count = 0;
        for (_, row) in &page {
            let entries = NameRow::decode(row)?.entries;
            let directories = entries.iter().filter(|e| e.kind == FileKind::Directory);
            count += directories.count();
        }
        Ok(Subdirectories::Counted(
            u32::try_from(count).unwrap_or(u32::MAX),
        ))
    }

    fn what(&self, view: &View, stat: &Stat) -> Result<NodeType> {
        Ok(match stat.kind {
            FileKind::Directory => NodeType::Directory,
            FileKind::Symlink => NodeType::Symlink,
            FileKind::File if stat.reparse_tag == 0 => NodeType::File,
            FileKind::File => {
                let reparse = self.read_reparse(view, stat.inode)?;
                special_of(&reparse).unwrap_or(NodeType::File)
            }
        })
    }
}

/// The count of changes alone could come to a number again after a crash, with other content.
fn change_of(stat: &Stat) -> u64 {
    let (seconds, nanoseconds) = stat.changed.to_unix();
    let time = seconds.unsigned_abs().wrapping_shl(30);
    time.wrapping_add(u64::from(nanoseconds))
        .wrapping_add(stat.version)
}
