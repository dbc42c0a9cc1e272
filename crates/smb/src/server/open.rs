//! One open of a client: a file or directory of a share, or a pipe of `IPC$` (MS-SMB2 3.3.1.10).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use strongroom_vfs::{Handle, Sid, Watch};

use super::Server;
use super::caching::{CacheHolder, CreateName, Durable};
use super::channel::Channel;
use super::listing::Listing;
use super::lock_sequence::LockSequences;
use super::pipe::PipeOpen;
use super::session::Session;
use super::tree::Tree;
use super::waiting::OpenWaits;
use super::write_time::WriteTime;
use crate::wire::FileId;
use crate::wire::create::{CreateAction, CreateOptions};

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: FileId,
    pub(crate) session: Weak<Session>,
    pub(crate) tree: Arc<Tree>,
    pub(crate) target: Target,
    pub(crate) waits: OpenWaits,
    /// Among all opens of the server, until it is dropped.
    pub(crate) _counted: Option<OpenCount>,
}

/// An open among all of the server's.
#[derive(Debug)]
pub(crate) struct OpenCount(Arc<AtomicUsize>);

impl OpenCount {
    /// None when there are as many as there may be.
    pub(crate) fn one_more(server: &Server) -> Option<Self> {
        let limit = server.config.limits.opens;
        let more = |count: usize| (count < limit).then_some(count + 1);
        let counted = server
            .opens
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        counted.ok().map(|_| Self(Arc::clone(&server.opens)))
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
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
    /// What its CREATE did.
    pub(crate) action: CreateAction,
    /// The client, as the holder of the open's oplock or lease.
    pub(crate) holder: Option<Arc<CacheHolder>>,
    /// Set where the open outlives its connection.
    pub(crate) durable: Option<Arc<Durable>>,
    /// What the client called its create, with version 2 of the durable request, whatever came of that.
    pub(crate) name: Option<CreateName>,
    /// Its create may be replayed, as nothing was done with it since.
    pub(crate) unused: AtomicBool,
    pub(crate) channel: Channel,
    pub(crate) lock_sequences: LockSequences,
    pub(crate) write_time: WriteTime,
    /// CurrentByteOffset: kept for clients, used for nothing.
    pub(crate) position: AtomicU64,
    pub(crate) listing: Mutex<Option<Box<Listing>>>,
    /// The user whose quota was listed last.
    pub(crate) quota_scan: Mutex<Option<Sid>>,
    pub(crate) notices: Mutex<Option<Arc<Notices>>>,
}

impl FileOpen {
    pub(crate) fn new(handle: Arc<Handle>, options: CreateOptions, action: CreateAction) -> Self {
        let holder = handle.grant().and_then(|grant| CacheHolder::of(grant));
        Self {
            handle,
            options,
            action,
            holder,
            durable: None,
            name: None,
            unused: AtomicBool::new(true),
            channel: Channel::default(),
            lock_sequences: LockSequences::default(),
            write_time: WriteTime::default(),
            position: AtomicU64::new(0),
            listing: Mutex::default(),
            quota_scan: Mutex::default(),
            notices: Mutex::default(),
        }
    }

    /// The same open for another connection.
    pub(crate) fn again(&self) -> Self {
        let position = self.position.load(Ordering::Relaxed);
        Self {
            durable: self.durable.clone(),
            name: self.name,
            unused: AtomicBool::new(self.unused.load(Ordering::Relaxed)),
            lock_sequences: self.lock_sequences.clone(),
            position: AtomicU64::new(position),
            ..Self::new(Arc::clone(&self.handle), self.options, self.action)
        }
    }
}

/// The change notices of a directory open, which the first request begins (MS-SMB2 3.3.5.19). Requests take turns.
pub(crate) type Notices = tokio::sync::Mutex<Watch>;
