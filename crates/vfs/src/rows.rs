//! What the file system keeps in the store: tables, keys and values. docs/format.md draws them byte by byte.
//!
//! Every key begins with the big-endian id of the inode that owns the row; the lists of the whole file system are
//! kept under id 0. All other numbers are little-endian, those within keys big-endian so that they sort.

mod attr;
mod names;
mod reader;

#[cfg(test)]
pub(crate) use attr::tests::sample;
pub(crate) use attr::{Attr, AttrFlags, INLINE_NAME_MAX, SdRef};
pub(crate) use names::{NameEntry, NameRow};
pub(crate) use reader::{Reader, Writer};

use smallvec::SmallVec;
use strongroom_store::{Inode, Table};

/// inode → [`Attr`]
pub(crate) const ATTRIBUTES: Table = Table(1);
/// directory, folded name → [`NameRow`]
pub(crate) const NAMES: Table = Table(2);
/// inode, directory, name → nothing; the names of a file that its attribute row does not hold
pub(crate) const LINKS: Table = Table(3);
/// inode, folded stream name → stream id u32, name
pub(crate) const STREAMS: Table = Table(4);
/// inode, folded attribute name → flags u8, length of name u8, name, value
pub(crate) const EAS: Table = Table(5);
/// inode, 0 → the inode's own security descriptor; directory, 1, slot u32 → one that its children share
pub(crate) const SECURITY: Table = Table(6);
/// inode → reparse tag u32, data
pub(crate) const REPARSE: Table = Table(7);
/// 0, inode → nothing; files without a name that were open
pub(crate) const ORPHANS: Table = Table(8);
/// 0, quota id → limit and usage
pub(crate) const QUOTAS: Table = Table(9);
/// 0, inode → nothing; files whose charge may differ from what they take
pub(crate) const CHARGING: Table = Table(10);
/// 0, share id u32 → share
pub(crate) const SHARES: Table = Table(11);
/// session id → session
pub(crate) const SESSIONS: Table = Table(12);
/// 0, what → number: counters and the version of these rows
pub(crate) const COUNTERS: Table = Table(13);

/// 0, name of a client → nothing; clients that may claim back what they had open
pub(crate) const CLIENTS: Table = Table(14);
/// 0, share id u32, folded name → snapshot
pub(crate) const SNAPSHOTS: Table = Table(15);
/// 0, share id u32 → schedule of snapshots
pub(crate) const SCHEDULES: Table = Table(19);
/// 0, session id → rewind or undo that is not done yet
pub(crate) const WORKS: Table = Table(20);
/// 0, what, key → alarms and their settings
pub(crate) const ALARMS: Table = Table(18);
/// 0, id of an open, kind u8, what of that kind → what is kept of a persistent open
pub(crate) const PERSISTENT: Table = Table(16);

/// A key being built.
pub(crate) type Key = SmallVec<[u8; 40]>;

/// The key of an inode's only row in a table, and the prefix of its rows in others.
pub(crate) fn inode_key(inode: Inode) -> Key {
    SmallVec::from_slice(&inode.0.to_be_bytes())
}

/// A key below an inode.
pub(crate) fn key_of(inode: Inode, rest: &[u8]) -> Key {
    let mut key = inode_key(inode);
    key.extend_from_slice(rest);
    key
}

/// A key of a list of the whole file system.
pub(crate) fn list_key(id: u64) -> Key {
    key_of(Inode(0), &id.to_be_bytes())
}

/// The key behind every row of an inode. No rest begins with this many 0xFF bytes: rests are UTF-8, or ids.
pub(crate) fn end_of(inode: Inode) -> Key {
    key_of(inode, &[0xFF; 24])
}

pub(crate) fn link_key(inode: Inode, directory: Inode, name: &str) -> Key {
    let mut key = key_of(inode, &directory.0.to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

pub(crate) fn own_security_key(inode: Inode) -> Key {
    key_of(inode, &[0])
}

pub(crate) fn shared_security_key(directory: Inode, slot: u32) -> Key {
    let mut key = key_of(directory, &[1]);
    key.extend_from_slice(&slot.to_be_bytes());
    key
}
