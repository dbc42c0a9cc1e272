//! What an open asks for, and what came of it.

use std::sync::Arc;

use strongroom_store::{Inode, View};

use crate::acl::SecurityDescriptor;
use crate::grants::{GrantKey, GrantRequest};
use crate::{
    AccessMask, DosAttributes, ExtendedAttribute, Handle, PersistentWish, ReparseData, Share,
    ShareAccess,
};

/// What to do when the file is there, and when it is not (MS-SMB2 2.2.13, CreateDisposition).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    Supersede,
    Open,
    Create,
    OpenIf,
    Overwrite,
    OverwriteIf,
}

impl Disposition {
    /// Whether what is not there is made.
    pub(crate) fn may_create(self) -> bool {
        !matches!(self, Disposition::Open | Disposition::Overwrite)
    }
}

/// What was done (MS-SMB2 2.2.14, CreateAction).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CreateAction {
    Superseded,
    Opened,
    Created,
    Overwritten,
}

/// How an open wants to be understood (MS-SMB2 2.2.13, CreateOptions), those that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CreateOptions {
    /// FILE_DIRECTORY_FILE
    pub directory: bool,
    /// FILE_NON_DIRECTORY_FILE
    pub non_directory: bool,
    /// FILE_WRITE_THROUGH: each write is durable before it is answered.
    pub write_through: bool,
    /// FILE_SEQUENTIAL_ONLY and FILE_RANDOM_ACCESS are hints without meaning here.
    pub no_ea_knowledge: bool,
    /// FILE_DELETE_ON_CLOSE
    pub delete_on_close: bool,
    /// FILE_OPEN_REPARSE_POINT: the link itself, not where it leads.
    pub open_reparse_point: bool,
    /// FILE_OPEN_FOR_BACKUP_INTENT: administrators may read and write everything.
    pub backup_intent: bool,
    /// FILE_OPEN_BY_FILE_ID: `path` is ignored, `OpenRequest::file_id` counts.
    pub by_file_id: bool,
}

/// How names are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CaseMode {
    /// Upper and lower case are the same; a name spelt exactly so is preferred.
    #[default]
    Insensitive,
    Exact,
}

/// An open with the semantics of POSIX: a name that is deleted goes at once, and a rename replaces what is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PosixOpen {
    /// Permission bits of what is made, the three special ones included; None leaves them to inheritance.
    pub mode: Option<u32>,
    /// The owner may read and write whatever the list says: for protocols without opens, where who opened the file
    /// before its mode changed cannot be told from who comes later.
    pub owner_override: bool,
}

/// What a file that is made begins with, besides its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MadeWith {
    /// It is this reparse point from the first moment on.
    pub reparse: Option<ReparseData>,
    /// Kept in its times, so that a creator that did not hear the answer can be told that it made the file
    /// (RFC 8881, 18.16.3).
    pub verifier: Option<[u8; 8]>,
    /// Only what is written takes space.
    pub sparse: bool,
}

/// One open, as NT create has it (MS-FSA 2.1.5.1).
#[derive(Debug, Clone)]
pub struct OpenRequest<'a> {
    pub share: &'a Share,
    /// The state to look in; where there is a `base`, that one's counts. What is opened in a past one is read-only.
    pub view: View,
    /// Where `path` begins; the share's root if None.
    pub base: Option<&'a Handle>,
    /// Where `path` begins for those who keep no handles; the caller vouches that it is in the share.
    pub at: Option<Inode>,
    /// Components separated by `\` or `/`, none leading; empty is the base itself. The last may carry
    /// `:stream` or `:stream:$DATA`.
    pub path: &'a str,
    pub file_id: Option<Inode>,
    pub access: AccessMask,
    pub share_access: ShareAccess,
    pub disposition: Disposition,
    pub options: CreateOptions,
    /// For a file that is made or overwritten.
    pub attributes: DosAttributes,
    /// For a file that is made. With a POSIX mode only owner and group count.
    pub security: Option<SecurityDescriptor>,
    /// For a file that is made or overwritten.
    pub eas: Vec<ExtendedAttribute>,
    /// Bytes that the creator expects to write; checked against space and quota.
    pub allocation: u64,
    pub case: CaseMode,
    pub grant: GrantRequest,
    /// The key of the grant on the directory above that the opener holds: changes through this open do not disturb it.
    pub parent_grant: Option<GrantKey>,
    pub posix: Option<PosixOpen>,
    pub made_with: MadeWith,
    /// The open shall outlive the program; only a file's or a stream's does, and only in the present.
    pub persistent: Option<PersistentWish>,
}

impl<'a> OpenRequest<'a> {
    /// Opens what is there for reading its attributes, sharing everything.
    pub fn new(share: &'a Share, path: &'a str) -> Self {
        Self {
            share,
            view: View::Now,
            base: None,
            at: None,
            path,
            file_id: None,
            access: AccessMask::READ_ATTRIBUTES,
            share_access: ShareAccess::ALL,
            disposition: Disposition::Open,
            options: CreateOptions::default(),
            attributes: DosAttributes::default(),
            security: None,
            eas: Vec::new(),
            allocation: 0,
            case: CaseMode::Insensitive,
            grant: GrantRequest::None,
            parent_grant: None,
            posix: None,
            made_with: MadeWith::default(),
            persistent: None,
        }
    }
}

/// What [`crate::Vfs::open`] gives.
pub type Opened = (Arc<Handle>, CreateAction);
