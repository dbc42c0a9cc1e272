//! What Macintosh files have beside their data, in two streams of agreed names: the resource fork, and the Finder's
//! information (`AfpInfo` of Microsoft's Services for Macintosh, 60 bytes).
//!
//! A Mac cannot tell a resource fork without bytes, or information made of zeros, from none, and makes both in passing.
//! So they are not there: a *void* stream is one that is open, but left out of listings, found by no open that makes
//! nothing, and gone with its last open. What is written to it makes it a stream like others.

use strongroom_store::Inode;

use crate::node::{Node, State};
use crate::open::READ_ONLY_RIGHTS;
use crate::{AccessMask, Credentials, Handle, Result, Share, Vfs, VfsError, acl};

const RESOURCE: &str = "AFP_Resource";
const INFO: &str = "AFP_AfpInfo";
/// `AFP` and a zero; the version behind it is written in more than one way.
const INFO_BEGIN: [u8; 4] = *b"AFP\0";
const INFO_VERSION: [u8; 4] = [0, 0, 1, 0];
/// Before the Finder's 32 bytes: beginning, identifier, time of a backup.
const INFO_HEAD: usize = 16;
const FINDER_INFO: usize = 32;
const INFO_LEN: usize = 60;
/// Bytes of the stream with the Finder's information.
pub const AFP_INFO_LEN: u64 = 60;
/// No time of a backup, most significant byte first.
const NO_BACKUP: [u8; 4] = [0x80, 0, 0, 0];

/// Whether these are all bytes of a Finder's information.
pub fn is_afp_info(bytes: &[u8]) -> bool {
    bytes.len() == INFO_LEN && bytes.starts_with(&INFO_BEGIN)
}

/// What a stream is to a Mac.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MacStream {
    Info,
    Resource,
    Other,
}

impl MacStream {
    pub(crate) fn of(name: &str) -> Self {
        if name.eq_ignore_ascii_case(INFO) {
            Self::Info
        } else if name.eq_ignore_ascii_case(RESOURCE) {
            Self::Resource
        } else {
            Self::Other
        }
    }
}

impl State {
    pub(crate) fn is_void(&self, stream: u32) -> bool {
        self.void_streams.contains(&stream)
    }

    pub(crate) fn set_void(&mut self, stream: u32, void: bool) {
        self.void_streams.retain(|id| *id != stream);
        if void {
            self.void_streams.push(stream);
        }
    }
}

impl Handle {
    /// Whether it is the Finder's information that is open.
    pub fn is_afp_info(&self) -> bool {
        self.stream != 0 && MacStream::of(&self.stream_name()) == MacStream::Info
    }
}

/// A file or directory as a Macintosh lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppleAttributes {
    /// What the caller may do with it.
    pub rights: AccessMask,
    /// Permission bits with the special ones.
    pub mode: u32,
    /// Bytes of the resource fork.
    pub resource_fork: u64,
    /// Type, creator and flags, as the Finder keeps them; zeros where it keeps none.
    pub finder_info: [u8; FINDER_INFO],
}

impl Vfs {
    /// Of an entry that [`Vfs::list`] gave for a directory; None if it is gone since.
    pub fn apple_attributes_of(
        &self,
        directory: &Handle,
        credentials: &Credentials,
        inode: Inode,
    ) -> Result<Option<AppleAttributes>> {
        let Some(node) = self.node_in(directory.view(), inode)? else {
            return Ok(None);
        };
        let mut state = node.lock();
        let security = self.security_of(&node, &mut state)?;
        let rights = acl::maximal_access(&security, credentials);
        let mode = acl::mode_of(&security) | u32::from(state.attr.mode_bits);
        let attr = state.attr.clone();
        drop(state);
        let stream = |name| self.find_stream(directory.view(), inode, &attr, name);
        let reading = self.store.at(directory.view());
        let resource_fork = match stream(RESOURCE)? {
            Some((id, _)) => reading.head(Self::stream_object(&node, id))?.size,
            None => 0,
        };
        let finder_info = match stream(INFO)? {
            Some((id, _)) => self.finder_info(directory, &node, id)?,
            None => [0; FINDER_INFO],
        };
        Ok(Some(AppleAttributes {
            rights: if directory.read_only {
                rights & READ_ONLY_RIGHTS
            } else {
                rights
            },
            mode,
            resource_fork,
            finder_info,
        }))
    }

    /// What is no such information, is none.
    fn finder_info(&self, directory: &Handle, node: &Node, id: u32) -> Result<[u8; FINDER_INFO]> {
        let mut bytes = [0; INFO_HEAD + FINDER_INFO];
        let reading = self.store.at(directory.view());
        let len = reading.read(Self::stream_object(node, id), 0, &mut bytes)?;
        let known = len == bytes.len() && bytes.starts_with(&INFO_BEGIN);
        let info = bytes.last_chunk().filter(|_| known);
        Ok(info.copied().unwrap_or([0; FINDER_INFO]))
    }

    /// What a new information says: nothing. Whoever made it may read that before writing.
    pub(crate) async fn begin_info(&self, handle: &Handle) -> Result<()> {
        let mut info = Vec::with_capacity(INFO_LEN);
        info.extend(INFO_BEGIN);
        info.extend(INFO_VERSION);
        info.resize(INFO_HEAD - NO_BACKUP.len(), 0);
        info.extend(NO_BACKUP);
        info.resize(INFO_LEN, 0);
        self.write_stream_start(handle, &info).await?;
        handle.node.lock().set_void(handle.stream, true);
        Ok(())
    }

    /// Decides by what was written at the start of a stream whether it is there.
    pub(crate) fn weigh_info(&self, handle: &Handle, offset: u64, data: &[u8]) {
        let finder_info = data.get(INFO_HEAD..INFO_HEAD + FINDER_INFO);
        let empty = finder_info.is_some_and(|info| info.iter().all(|byte| *byte == 0));
        if offset == 0 && empty && handle.is_afp_info() {
            handle.node.lock().set_void(handle.stream, true);
        }
    }

    /// A named stream that was just emptied is gone, once nobody has it open, unless it is written to before.
    pub fn empty_means_gone(&self, handle: &Handle) {
        if handle.stream != 0 {
            handle.node.lock().set_void(handle.stream, true);
        }
    }

    /// Where a file is, from the share's root on, by the first of its names.
    ///
    /// Errors: `NotFound` if there is no such file in the share; `AccessDenied` if the caller may not know its
    /// attributes.
    pub fn path_of(
        &self,
        share: &Share,
        credentials: &Credentials,
        inode: Inode,
    ) -> Result<String> {
        let view = strongroom_store::View::Now;
        let node = self.node_in(&view, inode)?.ok_or(VfsError::NotFound)?;
        if !self.is_below(&node, share.root)? {
            return Err(VfsError::NotFound);
        }
        let security = self.security_of(&node, &mut node.lock())?;
        let rights = acl::maximal_access(&security, credentials);
        if !credentials.admin && !rights.contains(AccessMask::READ_ATTRIBUTES) {
            return Err(VfsError::AccessDenied);
        }
        Ok(self.names_up(&view, inode, share.root)?.join("\\"))
    }
}
