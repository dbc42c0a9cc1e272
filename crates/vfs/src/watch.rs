//! Change notices of directories (MS-FSA 2.1.5.11, MS-FSCC 2.7.1).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use strongroom_store::{Inode, View};
use tokio::sync::Notify;

use crate::grants::GrantKey;
use crate::{AccessMask, Handle, Result, Vfs, VfsError};

/// The deepest tree over which recursive watches are looked for.
const DEPTH_MAX: usize = 4_096;
/// Bytes that an event takes besides its path, for the bound on what is kept.
const EVENT_OVERHEAD: usize = 12;

/// Which changes are told, as FILE_NOTIFY_CHANGE bits (MS-SMB2 2.2.35).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchFilter(pub u32);

impl WatchFilter {
    pub const FILE_NAME: Self = Self(0x001);
    pub const DIR_NAME: Self = Self(0x002);
    pub const ATTRIBUTES: Self = Self(0x004);
    pub const SIZE: Self = Self(0x008);
    pub const LAST_WRITE: Self = Self(0x010);
    pub const LAST_ACCESS: Self = Self(0x020);
    pub const CREATION: Self = Self(0x040);
    pub const EA: Self = Self(0x080);
    pub const SECURITY: Self = Self(0x100);
    pub const STREAM_NAME: Self = Self(0x200);
    pub const STREAM_SIZE: Self = Self(0x400);
    pub const STREAM_WRITE: Self = Self(0x800);

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bit for the name of a file or of a directory.
    pub(crate) fn name(is_directory: bool) -> Self {
        if is_directory {
            Self::DIR_NAME
        } else {
            Self::FILE_NAME
        }
    }
}

/// What happened (MS-FSCC 2.7.1, Action).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchAction {
    Added,
    Removed,
    Modified,
    RenamedOld,
    RenamedNew,
    AddedStream,
    RemovedStream,
    ModifiedStream,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    pub action: WatchAction,
    /// Relative to the watched directory, `\`-separated; of a stream with `:stream`.
    pub path: String,
}

/// What a wait for changes ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchOutcome {
    Events(Vec<WatchEvent>),
    /// More happened than was kept: look for yourself.
    Overflow,
    /// The watched directory is being deleted.
    Deleted,
    /// The handle was closed.
    Closed,
}

/// What one client's watches may hold, and all clients' together. A watch that has no room left forgets what it kept
/// and says that there was more, as one does whose own buffer is full; watches of others keep theirs.
#[derive(Debug)]
pub struct NoticeBudget {
    bytes: AtomicUsize,
    bytes_max: usize,
    watches: AtomicUsize,
    watches_max: usize,
    above: Option<Arc<NoticeBudget>>,
}

impl NoticeBudget {
    /// `bytes_max` bytes of memory for notices that nobody has fetched yet, and so many watches.
    pub fn new(bytes_max: usize, watches_max: usize) -> Arc<Self> {
        Self::make(bytes_max, watches_max, None)
    }

    /// A part of a whole: what it holds counts there, too.
    pub fn below(self: &Arc<Self>, bytes_max: usize, watches_max: usize) -> Arc<Self> {
        Self::make(bytes_max, watches_max, Some(Arc::clone(self)))
    }

    fn make(bytes_max: usize, watches_max: usize, above: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            bytes_max,
            watches: AtomicUsize::new(0),
            watches_max,
            above,
        })
    }

    /// Bytes of notices that are held.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Watches that there are.
    pub fn watches(&self) -> usize {
        self.watches.load(Ordering::Acquire)
    }

    fn take(&self, bytes: usize) -> bool {
        let within = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        let taken = self
            .bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, within)
            .is_ok();
        if taken && !self.above.as_ref().is_none_or(|above| above.take(bytes)) {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
            return false;
        }
        taken
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.above.iter().for_each(|above| above.give_back(bytes));
    }

    fn begin_watch(&self) -> Result<()> {
        let more = |count: usize| (count < self.watches_max).then_some(count + 1);
        self.watches
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .map_err(|_| VfsError::TooMany)?;
        let above = self
            .above
            .as_ref()
            .map_or(Ok(()), |above| above.begin_watch());
        above.inspect_err(|_| {
            self.watches.fetch_sub(1, Ordering::AcqRel);
        })
    }

    fn end_watch(&self) {
        self.watches.fetch_sub(1, Ordering::AcqRel);
        self.above.iter().for_each(|above| above.end_watch());
    }
}

#[derive(Debug)]
struct Watcher {
    handle: crate::HandleId,
    filter: WatchFilter,
    recursive: bool,
    bytes_max: usize,
    budget: Arc<NoticeBudget>,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<WatchEvent>,
    /// As the client counts them.
    bytes: usize,
    /// Of memory, taken from the budget.
    held: usize,
    overflowed: bool,
    end: Option<WatchOutcome>,
}

impl Watcher {
    fn push(&self, events: &[WatchEvent]) {
        let mut queue = self.queue.lock();
        let bytes: usize = events
            .iter()
            .map(|event| EVENT_OVERHEAD + 2 * event.path.len())
            .sum();
        let held: usize = events
            .iter()
            .map(|event| size_of::<WatchEvent>() + event.path.len())
            .sum();
        let fits = !queue.overflowed && queue.bytes + bytes <= self.bytes_max;
        if fits && self.budget.take(held) {
            queue.bytes += bytes;
            queue.held += held;
            queue.events.extend(events.iter().cloned());
        } else {
            queue.events = VecDeque::new();
            self.release(&mut queue);
            queue.overflowed = true;
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Nothing is held any more.
    fn release(&self, queue: &mut Queue) {
        queue.bytes = 0;
        self.budget.give_back(std::mem::take(&mut queue.held));
    }

    fn finish(&self, outcome: WatchOutcome) {
        self.queue.lock().end.get_or_insert(outcome);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<WatchOutcome> {
        let mut queue = self.queue.lock();
        if std::mem::take(&mut queue.overflowed) {
            return Some(WatchOutcome::Overflow);
        }
        if !queue.events.is_empty() {
            self.release(&mut queue);
            let events = std::mem::take(&mut queue.events);
            return Some(WatchOutcome::Events(events.into()));
        }
        queue.end.clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let held = std::mem::take(&mut self.queue.get_mut().held);
        self.budget.give_back(held);
        self.budget.end_watch();
    }
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    watcher: Arc<Watcher>,
    directory: Inode,
    vfs: std::sync::Weak<Vfs>,
}

impl Watch {
    /// What happened since, if anything.
    pub fn try_next(&mut self) -> Option<WatchOutcome> {
        self.watcher.take()
    }

    /// Waits for what happens next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> WatchOutcome {
        loop {
            let changed = self.watcher.changed.notified();
            if let Some(outcome) = self.watcher.take() {
                return outcome;
            }
            changed.await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(vfs) = self.vfs.upgrade() {
            vfs.watches.remove(self.directory, &self.watcher);
        }
    }
}

/// All running watches, by directory.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_directory: RwLock<HashMap<Inode, Vec<Arc<Watcher>>>>,
    count: AtomicUsize,
    recursive: AtomicUsize,
}

impl Watches {
    /// Nobody watches anything: the one check on the request path.
    pub(crate) fn is_idle(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn add(&self, directory: Inode, watcher: &Arc<Watcher>) {
        self.by_directory
            .write()
            .entry(directory)
            .or_default()
            .push(Arc::clone(watcher));
        self.recursive
            .fetch_add(usize::from(watcher.recursive), Ordering::AcqRel);
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn remove(&self, directory: Inode, watcher: &Arc<Watcher>) {
        let mut all = self.by_directory.write();
        if let Some(list) = all.get_mut(&directory) {
            list.retain(|held| !Arc::ptr_eq(held, watcher));
            if list.is_empty() {
                all.remove(&directory);
            }
        }
        self.recursive
            .fetch_sub(usize::from(watcher.recursive), Ordering::AcqRel);
        self.count.fetch_sub(1, Ordering::AcqRel);
    }

    fn of(&self, directory: Inode) -> Vec<Arc<Watcher>> {
        self.by_directory
            .read()
            .get(&directory)
            .cloned()
            .unwrap_or_default()
    }

    /// The handle closes: its watch ends.
    pub(crate) fn handle_closed(&self, directory: Inode, handle: crate::HandleId) {
        if !self.is_idle() {
            for watcher in self
                .of(directory)
                .iter()
                .filter(|watcher| watcher.handle == handle)
            {
                watcher.finish(WatchOutcome::Closed);
            }
        }
    }

    pub(crate) fn directory_deleted(&self, directory: Inode) {
        if !self.is_idle() {
            self.of(directory)
                .iter()
                .for_each(|watcher| watcher.finish(WatchOutcome::Deleted));
        }
    }
}

impl Vfs {
    /// Watches a directory; `bytes_max` bytes of notices are kept until they are read, as far as the budget lasts, then
    /// only that there were more.
    ///
    /// Errors: `InvalidParameter` if it is no directory, `AccessDenied` without the right to list, `TooMany` where the
    /// budget allows no further watch.
    pub fn watch(
        &self,
        handle: &Handle,
        filter: WatchFilter,
        recursive: bool,
        bytes_max: usize,
        budget: &Arc<NoticeBudget>,
    ) -> Result<Watch> {
        if !handle.is_directory() {
            return Err(VfsError::InvalidParameter);
        }
        handle.require(AccessMask::LIST_DIRECTORY)?;
        budget.begin_watch()?;
        let watcher = Arc::new(Watcher {
            budget: Arc::clone(budget),
            handle: handle.id,
            // In the past nothing happens any more.
            filter: if handle.view().is_now() {
                filter
            } else {
                WatchFilter(0)
            },
            recursive,
            bytes_max,
            queue: Mutex::default(),
            changed: Notify::new(),
        });
        let directory = handle.node.inode;
        self.watches.add(directory, &watcher);
        // The handle may have been closed before the watch was there to be told.
        if handle.is_closed() {
            watcher.finish(WatchOutcome::Closed);
        }
        Ok(Watch {
            watcher,
            directory,
            vfs: self.weak(),
        })
    }

    /// Tells the watchers of a directory, and those above that watch the whole tree. No state is locked meanwhile.
    /// A grant on the directory falls as well, but for one of the key `by`.
    pub(crate) fn tell(
        &self,
        by: Option<GrantKey>,
        directory: Inode,
        filter: WatchFilter,
        action: WatchAction,
        name: &str,
    ) {
        self.listing_changed(directory, by);
        if !self.watches.is_idle() {
            self.tell_all(directory, filter, &[(action, name)]);
        }
    }

    /// Tells of a renaming within one directory as one pair.
    pub(crate) fn tell_renamed(
        &self,
        by: Option<GrantKey>,
        directory: Inode,
        filter: WatchFilter,
        old: &str,
        new: &str,
    ) {
        self.listing_changed(directory, by);
        if !self.watches.is_idle() {
            let pair = [
                (WatchAction::RenamedOld, old),
                (WatchAction::RenamedNew, new),
            ];
            self.tell_all(directory, filter, &pair);
        }
    }

    fn tell_all(&self, directory: Inode, filter: WatchFilter, changes: &[(WatchAction, &str)]) {
        let mut events: Vec<WatchEvent> = changes
            .iter()
            .map(|(action, name)| WatchEvent {
                action: *action,
                path: (*name).to_owned(),
            })
            .collect();
        let mut at = directory;
        for depth in 0..DEPTH_MAX {
            for watcher in self.watches.of(at) {
                if watcher.filter.intersects(filter) && (depth == 0 || watcher.recursive) {
                    watcher.push(&events);
                }
            }
            if self.watches.recursive.load(Ordering::Acquire) == 0 {
                return;
            }
            let Ok((parent, name)) = self.first_name(&View::Now, at) else {
                return;
            };
            if parent == at {
                return;
            }
            for event in &mut events {
                event.path = format!("{name}\\{}", event.path);
            }
            at = parent;
        }
    }
}
