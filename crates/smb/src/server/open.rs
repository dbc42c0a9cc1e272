//! One open of a client: a file or directory of a share, or a pipe of `IPC$` (MS-SMB2 3.3.1.10).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use strongroom_vfs::{Handle, Watch};

use super::listing::Listing;
use super::pipe::PipeOpen;
use super::tree::Tree;
use super::waiting::OpenWaits;
use crate::wire::FileId;
use crate::wire::create::CreateOptions;

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: FileId,
    pub(crate) tree: Arc<Tree>,
    pub(crate) target: Target,
    pub(crate) waits: OpenWaits,
}

#[derive(Debug)]
pub(crate) enum Target {
    File(FileOpen),
    Pipe(PipeOpen),
}

/// What an open of a file keeps between requests.
#[derive(Debug)]
pub(crate) struct FileOpen {
    pub(crate) handle: Arc<Handle>,
    /// As the client gave them; FileModeInformation shows some.
    pub(crate) options: CreateOptions,
    /// CurrentByteOffset: kept for clients, used for nothing.
    pub(crate) position: AtomicU64,
    pub(crate) listing: Mutex<Option<Box<Listing>>>,
    pub(crate) notices: Mutex<Option<Arc<Notices>>>,
}

impl FileOpen {
    pub(crate) fn new(handle: Arc<Handle>, options: CreateOptions) -> Self {
        Self {
            handle,
            options,
            position: AtomicU64::new(0),
            listing: Mutex::default(),
            notices: Mutex::default(),
        }
    }
}

/// The change notices of a directory open, which the first request begins (MS-SMB2 3.3.5.19). Requests take turns.
pub(crate) type Notices = tokio::sync::Mutex<Watch>;
