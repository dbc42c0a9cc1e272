//! TREE_CONNECT (MS-SMB2 3.3.5.7).

use std::sync::Arc;

use strongroom_vfs::{AccessMask, Share, VfsError};

use crate::server::answer::{Answer, Body, Step};
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::server::tree::{Root, Tree};
use crate::wire::NtStatus;
use crate::wire::tree::{
    ShareCapabilities, ShareFlags, ShareType, TreeConnectRequest, TreeConnectResponse,
};

/// What a read-only share leaves of all rights.
const READ_ONLY: AccessMask = AccessMask(0x0012_00A9);
/// Rights on the pipes of `IPC$`.
const PIPES: AccessMask = AccessMask(0x001F_01FF);
/// Bytes of the longest path that is looked at.
const PATH_BYTES_MAX: usize = 1024;

pub(crate) fn run(request: &Request) -> Step {
    Step::Answer(connect(request))
}

fn connect(request: &Request) -> Answer {
    let wanted: TreeConnectRequest<'_> = request.decode()?;
    if wanted.path.len() > PATH_BYTES_MAX {
        return Err(NtStatus::BAD_NETWORK_NAME.into());
    }
    let path = wanted.path.to_string();
    let name = share_name(&path).ok_or(NtStatus::BAD_NETWORK_NAME)?;
    if name.eq_ignore_ascii_case("IPC$") {
        return connect_pipes(request);
    }
    let share = request
        .conn
        .server
        .vfs
        .share(name)
        .ok_or(NtStatus::BAD_NETWORK_NAME)?;
    connect_share(request, share)
}

/// The share's part of `\\server\share`.
fn share_name(path: &str) -> Option<&str> {
    let (server, share) = path.strip_prefix("\\\\")?.split_once('\\')?;
    let valid = !server.is_empty() && !share.is_empty() && !share.contains('\\');
    valid.then_some(share)
}

fn connect_pipes(request: &Request) -> Answer {
    let tree = enter(request, Root::Pipes, PIPES, false)?;
    let response = TreeConnectResponse {
        share_type: ShareType::Pipe,
        flags: ShareFlags::NO_CACHING,
        capabilities: ShareCapabilities::NONE,
        maximal_access: PIPES.0,
    };
    Ok(Body::TreeConnect(tree.id, response))
}

fn connect_share(request: &Request, share: Arc<Share>) -> Answer {
    let (vfs, who) = (&request.conn.server.vfs, request.who()?);
    if who.anonymous || !vfs.may_enter(&share, &who.credentials) {
        return Err(VfsError::AccessDenied.into());
    }
    let encrypt = share.encrypt;
    let can_encrypt = request.user()?.keys.cipher.is_some();
    if encrypt && !can_encrypt {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let maximal_access = if share.read_only {
        READ_ONLY
    } else {
        AccessMask::FILE_ALL
    };
    let hides = share.hide_unreadable;
    let smb3 = request
        .conn
        .negotiated
        .get()
        .is_some_and(|one| one.is_smb3());
    let capabilities = if share.continuously_available && smb3 {
        ShareCapabilities::CONTINUOUS_AVAILABILITY
    } else {
        ShareCapabilities::NONE
    };
    let tree = enter(request, Root::Share(share), maximal_access, encrypt)?;
    let mut flags = ShareFlags::MANUAL_CACHING;
    if encrypt {
        flags |= ShareFlags::ENCRYPT_DATA;
    }
    if hides {
        flags |= ShareFlags::ACCESS_BASED_DIRECTORY_ENUM;
    }
    let response = TreeConnectResponse {
        share_type: ShareType::Disk,
        flags,
        capabilities,
        maximal_access: maximal_access.0,
    };
    Ok(Body::TreeConnect(tree.id, response))
}

fn enter(
    request: &Request,
    root: Root,
    access: AccessMask,
    encrypt: bool,
) -> Result<Arc<Tree>, Failure> {
    let session = request.session()?;
    let tree = session.add_tree(|id| Tree::new(id, root, access, encrypt));
    let tree = tree.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    // The share may have gone, and its tree connects have been ended, between the look-up and the entry.
    let who = request.who()?;
    if !tree.admits(&request.conn.server.vfs, &who) {
        session.remove_tree(tree.id);
        return Err(NtStatus::BAD_NETWORK_NAME.into());
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::share_name;

    #[test]
    fn takes_the_share_out_of_a_path() {
        assert_eq!(share_name("\\\\server\\files"), Some("files"));
        assert_eq!(share_name("\\\\127.0.0.1\\IPC$"), Some("IPC$"));
        for malformed in [
            "",
            "files",
            "\\files",
            "\\\\server",
            "\\\\server\\",
            "\\\\s\\a\\b",
        ] {
            assert_eq!(share_name(malformed), None, "{malformed}");
        }
    }
}
