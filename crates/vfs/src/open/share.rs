//! Share modes (MS-FSA 2.1.5.1.2.2).

use crate::grants::GrantKey;
use crate::node::{OpenEntry, State};
use crate::{AccessMask, Result, ShareAccess, VfsError};

/// Rights that reading, writing and deleting are seen by; opens without any of them exclude nobody.
const READS: AccessMask = AccessMask(AccessMask::READ_DATA.0 | AccessMask::EXECUTE.0);
const WRITES: AccessMask = AccessMask(AccessMask::WRITE_DATA.0 | AccessMask::APPEND_DATA.0);

/// Who opens, as far as share modes make a difference.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Opener {
    /// Of its grants.
    pub(crate) key: Option<GrantKey>,
    /// See [`OpenEntry::delegation`].
    pub(crate) delegation: bool,
}

impl Opener {
    /// A delegation does not exclude the client that has it, and no client's opens its own delegation.
    fn owns(self, open: &OpenEntry) -> bool {
        (self.delegation || open.delegation) && self.key.is_some() && open.grant_key == self.key
    }
}

/// Whether an open of a stream may join those that are there.
pub(crate) fn check(
    state: &State,
    stream: u32,
    access: AccessMask,
    share: ShareAccess,
    by: Opener,
) -> Result<()> {
    if !takes_part(access) {
        return Ok(());
    }
    // Who may delete the file deletes its streams as well.
    let deletes = stream == 0 && access.contains(AccessMask::DELETE);
    let mut in_the_way = state.opens.iter().filter(|open| {
        let same =
            open.stream == stream && (excludes(open.share, access) || excludes(share, open.access));
        takes_part(open.access) && !by.owns(open) && (same || (deletes && !open.share.delete))
    });
    let Some(first) = in_the_way.next() else {
        return Ok(());
    };
    if first.away && in_the_way.all(|open| open.away) {
        Err(VfsError::Away)
    } else {
        Err(VfsError::SharingViolation)
    }
}

fn takes_part(access: AccessMask) -> bool {
    access.intersects(READS | WRITES | AccessMask::DELETE)
}

/// Whether a share mode forbids any of the rights.
fn excludes(share: ShareAccess, access: AccessMask) -> bool {
    (!share.read && access.intersects(READS))
        || (!share.write && access.intersects(WRITES))
        || (!share.delete && access.intersects(AccessMask::DELETE))
}
