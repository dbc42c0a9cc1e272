//! What POSIX has and Windows has not, as reparse points that other servers and clients know too.
//!
//! Special files are IO_REPARSE_TAG_NFS (MS-FSCC 2.1.2.6). A symbolic link's target is kept with `\` between its
//! components, each spelt as a name is, so that Windows clients can follow it.

use crate::names::{from_unix, to_unix};
use crate::rows::{Reader, Writer};
use crate::unix::NodeType;
use crate::{REPARSE_TAG_SYMLINK, ReparseData, Result, VfsError};

/// IO_REPARSE_TAG_NFS
const TAG_NFS: u32 = 0x8000_0014;
/// IO_REPARSE_TAG_AF_UNIX and IO_REPARSE_TAG_LX_FIFO (MS-FSCC 2.1.2.1)
const TAG_AF_UNIX: u32 = 0x8000_0023;
const TAG_LX_FIFO: u32 = 0x8000_0024;
/// The types of MS-FSCC 2.1.2.6: the letters of their names.
const CHARACTER: u64 = 0x0000_0000_0052_4843;
const BLOCK: u64 = 0x0000_0000_004B_4C42;
const FIFO: u64 = 0x0000_0000_4F46_4946;
const SOCKET: u64 = 0x0000_0000_4B43_4F53;
/// The longest target, in bytes and without the closing zero (PATH_MAX of POSIX systems).
const TARGET_MAX: usize = 4_095;

/// The reparse point of a special file; None for what is none.
pub(super) fn reparse_of(what: NodeType) -> Option<ReparseData> {
    let mut data = Writer::with_capacity(16);
    match what {
        NodeType::File | NodeType::Directory | NodeType::Symlink => return None,
        NodeType::Fifo => data.u64(FIFO),
        NodeType::Socket => data.u64(SOCKET),
        NodeType::Character { major, minor } => data.u64(CHARACTER).u32(major).u32(minor),
        NodeType::Block { major, minor } => data.u64(BLOCK).u32(major).u32(minor),
    };
    Some(ReparseData {
        tag: TAG_NFS,
        data: data.0,
    })
}

/// The special file that a reparse point is; None for all others.
pub(super) fn special_of(reparse: &ReparseData) -> Option<NodeType> {
    match reparse.tag {
        TAG_AF_UNIX => Some(NodeType::Socket),
        TAG_LX_FIFO => Some(NodeType::Fifo),
        TAG_NFS => numbered(&reparse.data).ok(),
        _ => None,
    }
}

fn numbered(data: &[u8]) -> Result<NodeType> {
    let mut reader = Reader::new(data, "reparse points");
    let kind = reader.u64()?;
    Ok(match kind {
        FIFO => NodeType::Fifo,
        SOCKET => NodeType::Socket,
        CHARACTER => NodeType::Character {
            major: reader.u32()?,
            minor: reader.u32()?,
        },
        BLOCK => NodeType::Block {
            major: reader.u32()?,
            minor: reader.u32()?,
        },
        _ => return Err(VfsError::InvalidReparse),
    })
}

/// A symbolic link to a target as POSIX spells it.
///
/// Errors: `InvalidParameter` for an empty target or one with a zero byte, `NameTooLong` beyond 4,095 bytes.
pub(super) fn symlink_of(target: &[u8]) -> Result<ReparseData> {
    if target.len() > TARGET_MAX {
        return Err(VfsError::NameTooLong);
    }
    if target.is_empty() || target.contains(&0) {
        return Err(VfsError::InvalidParameter);
    }
    let parts: Vec<String> = target
        .split(|byte| *byte == b'/')
        .map(|part| match part {
            b"" | b"." | b".." => Ok(String::from_utf8_lossy(part).into_owned()),
            name => from_unix(name),
        })
        .collect::<Result<_>>()?;
    Ok(ReparseData::symlink(&parts.join("\\")))
}

/// A link's target as POSIX spells it.
pub(super) fn target_of(reparse: &ReparseData) -> Result<Vec<u8>> {
    if reparse.tag != REPARSE_TAG_SYMLINK {
        return Err(VfsError::NotReparsePoint);
    }
    let (target, _) = crate::reparse::symlink_target(reparse)?;
    let parts: Vec<Vec<u8>> = target
        .split(['\\', '/'])
        .map(|part| match part {
            "" | "." | ".." => part.as_bytes().to_vec(),
            name => to_unix(name),
        })
        .collect();
    Ok(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_files_come_back() {
        for what in [
            NodeType::Fifo,
            NodeType::Socket,
            NodeType::Character { major: 1, minor: 3 },
            NodeType::Block {
                major: 8,
                minor: 1 << 19,
            },
        ] {
            assert_eq!(special_of(&reparse_of(what).unwrap()), Some(what));
        }
        assert_eq!(reparse_of(NodeType::File), None);
    }

    #[test]
    fn targets_come_back_byte_for_byte() {
        let long = vec![b'x'; TARGET_MAX];
        for target in [
            &b"a"[..],
            b"../a//b/./c/",
            b"/etc/passwd",
            b"a\\b:c",
            b"\xFF\xFE",
            b"dot./x",
            b"/",
            &long,
        ] {
            let link = symlink_of(target).unwrap();
            assert_eq!(target_of(&link).unwrap(), target, "{target:?}");
        }
    }

    #[test]
    fn targets_that_no_link_can_have_are_refused() {
        for target in [&b""[..], b"a\0b", &[b'x'; TARGET_MAX + 1]] {
            assert!(symlink_of(target).is_err());
        }
    }
}
