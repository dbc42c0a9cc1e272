//! The directory of all exports, which joins them to one tree (RFC 8881, 7.3).

use strongroom_vfs::unix::{Look, NodeType};
use strongroom_vfs::{DosAttributes, FileKind, FileTime, Inode, Sid, Stat};

/// A directory that nobody can change.
pub(crate) fn root_look(inode: Inode, time: FileTime) -> Look {
    Look {
        stat: Stat {
            inode,
            kind: FileKind::Directory,
            size: 0,
            allocated: 0,
            created: time,
            accessed: time,
            modified: time,
            changed: time,
            attributes: DosAttributes::DIRECTORY,
            links: 1,
            delete_pending: false,
            is_directory: true,
            ea_size: 0,
            reparse_tag: 0,
            parent: inode,
            version: 0,
        },
        what: NodeType::Directory,
        mode: 0o555,
        owner: Sid::LOCAL_SYSTEM,
        group: Sid::LOCAL_SYSTEM,
        change: 0,
    }
}
