//! Apple's extensions, by the create context `AAPL` (netsmb/smb_2.h of Apple's SMBClient): what macOS is told of the
//! server, its listings, and the stream that holds the Finder's information.

use std::ops::Range;

use strongroom_vfs::{AFP_INFO_LEN, DirEntry, FileKind, Handle, Inode, Share, is_afp_info};

use super::request::Request;
use super::status::Failure;
use crate::wire::create_context::{AaplResponse, ResponseContext};
use crate::wire::fscc::directory::AppleEntry;
use crate::wire::{NtStatus, Utf16};

/// `kAAPL_SERVER_CAPS`, `kAAPL_VOLUME_CAPS`, `kAAPL_MODEL_INFO`.
const SERVER: u64 = 1;
const VOLUME: u64 = 2;
const MODEL_INFO: u64 = 4;
/// Listings tell what else would be asked file by file.
const READ_DIR_ATTR: u64 = 1;
/// A copy on the server takes the streams along.
const OSX_COPYFILE: u64 = 2;
/// Listings tell modes.
const UNIX_BASED: u64 = 4;
/// Access lists tell modes and owners by number, and take modes.
const NFS_ACE: u64 = 8;
/// Of the volume: ids lead to paths.
const RESOLVE_ID: u64 = 1;
/// Of the volume: a flush reaches the disks. Every one does here; who makes backups wants it said.
const FULL_SYNC: u64 = 4;
/// Finder draws a server in a rack.
const MODEL: &str = "RackMac3";
/// STATUS_ALLOTTED_SPACE_EXCEEDED (MS-ERREF).
const ALLOTTED_SPACE_EXCEEDED: NtStatus = NtStatus(0xC000_0099);

/// What macOS asks with an open.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    /// On its first open of a share: what the server can do.
    Query { bitmap: u64, capabilities: u64 },
    /// Where a file is.
    ResolveId(u64),
}

impl Asked {
    pub(crate) fn answer(
        self,
        request: &Request,
        share: &Share,
    ) -> Result<ResponseContext<'static>, Failure> {
        match self {
            Self::Query {
                bitmap,
                capabilities,
            } => {
                let listings = capabilities & READ_DIR_ATTR != 0 && bitmap & SERVER != 0;
                request.session()?.becomes_apple(listings);
                Ok(ResponseContext::Aapl(query(bitmap)))
            }
            Self::ResolveId(file_id) => Ok(resolve(request, share, file_id)),
        }
    }
}

fn query(bitmap: u64) -> AaplResponse<'static> {
    let asked = |bit: u64, value: u64| (bitmap & bit != 0).then_some(value);
    AaplResponse {
        server_capabilities: asked(SERVER, READ_DIR_ATTR | OSX_COPYFILE | UNIX_BASED | NFS_ACE),
        volume_capabilities: asked(VOLUME, RESOLVE_ID | FULL_SYNC),
        model: asked(MODEL_INFO, 0).map(|_| Utf16::from(MODEL)),
    }
}

fn resolve(request: &Request, share: &Share, file_id: u64) -> ResponseContext<'static> {
    match path_of(request, share, Inode(file_id)) {
        Ok(path) => ResponseContext::AaplPath {
            status: NtStatus::SUCCESS,
            path: Utf16::from(path.as_str()).into_owned(),
        },
        Err(failure) => ResponseContext::AaplPath {
            status: failure.status,
            path: Utf16::from(""),
        },
    }
}

fn path_of(request: &Request, share: &Share, inode: Inode) -> Result<String, Failure> {
    let who = request.who()?;
    let vfs = &request.conn.server.vfs;
    Ok(vfs.path_of(share, &who.credentials, inode)?)
}

/// Seconds from 1601 to 2000, from where Macintoshes count here.
const MACINTOSH_EPOCH: u64 = 12_591_158_400;

/// An entry of a listing; None if it is gone since it was listed.
pub(crate) fn entry(
    request: &Request,
    directory: &Handle,
    entry: &DirEntry,
) -> Result<Option<AppleEntry>, Failure> {
    let (stat, who) = (&entry.stat, request.who()?);
    let vfs = &request.conn.server.vfs;
    let Some(found) = vfs.apple_attributes_of(directory, &who.credentials, stat.inode)? else {
        return Ok(None);
    };
    let mut finder_info = [0; 16];
    let mut take = |to: Range<usize>, from: Range<usize>| {
        if let (Some(to), Some(from)) = (finder_info.get_mut(to), found.finder_info.get(from)) {
            to.copy_from_slice(from);
        }
    };
    // A directory has neither type nor creator.
    if stat.kind == FileKind::File {
        take(0..8, 0..8);
    }
    take(8..10, 8..10);
    take(10..12, 24..26);
    let came = (stat.created.0 / 10_000_000).saturating_sub(MACINTOSH_EPOCH);
    let came = u32::try_from(came).unwrap_or(u32::MAX);
    if let Some(room) = finder_info.last_chunk_mut() {
        *room = came.to_be_bytes();
    }
    let kind = match stat.kind {
        FileKind::Directory => 0o040_000,
        FileKind::File => 0o100_000,
        FileKind::Symlink => 0o120_000,
    };
    Ok(Some(AppleEntry {
        maximal_access: found.rights.0 & request.tree()?.maximal_access.0,
        resource_fork: found.resource_fork,
        finder_info,
        mode: u16::try_from(kind | found.mode & 0o7777).unwrap_or(u16::MAX),
    }))
}

/// The Finder's information is written as a whole, and must be some: what a Mac does not understand it may not come to
/// read.
pub(crate) fn check_write(handle: &Handle, offset: u64, data: &[u8]) -> Result<(), Failure> {
    if handle.is_afp_info() && (offset != 0 || !is_afp_info(data)) {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    Ok(())
}

/// The information has one size: a smaller one is not taken, a larger one refused.
pub(crate) fn check_info_size(size: u64) -> Result<(), Failure> {
    if size > AFP_INFO_LEN {
        return Err(ALLOTTED_SPACE_EXCEEDED.into());
    }
    Ok(())
}
