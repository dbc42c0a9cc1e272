//! Listing a directory by cookies that stay valid: over changes of the directory and over restarts.
//!
//! A name's cookie is a hash of it, and the listing is in the order of the cookies. So a cookie says where to go on even
//! when its name is long gone, and each name that stays is seen exactly once. As names are kept in another order, a part
//! of the directory is sorted at a time: a *window* of the names with the next cookies, kept while it is of use.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_store::{Inode, Txg};

use super::{Unix, UnixView};
use crate::names::to_unix;
use crate::node::Node;
use crate::quota::next_key;
use crate::rows::{self, NameRow};
use crate::{AccessMask, CaseMode, Result, Vfs, VfsError, View};

/// Names in one window, so that a directory of any size takes a bounded room.
const WINDOW_MAX: usize = 1 << 18;
/// Windows kept.
const WINDOWS_MAX: usize = 16;
/// Directories of up to so many names are read anew whenever they changed.
const SMALL: usize = 2_048;
const BATCH: usize = 512;
/// Cookies of `.` and `..`; those of names are larger.
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;
const FIRST: u64 = 16;
/// Clients take cookies for signed file offsets.
const LAST: u64 = i64::MAX as u64 - 1;

/// One entry of a listing.
#[derive(Debug, Clone)]
pub struct UnixEntry {
    pub name: Vec<u8>,
    pub inode: Inode,
    /// Of another state than the directory.
    pub view: Option<UnixView>,
    /// To go on behind this entry.
    pub cookie: u64,
}

/// Names with their cookies, in the order of those.
#[derive(Debug)]
struct Window {
    directory: Inode,
    /// The group of a kept instant; None for now.
    then: Option<Txg>,
    /// The directory's count of changes when it was read.
    version: u64,
    /// It holds every name whose cookie is larger than this.
    after: u64,
    /// … up to this one; None: to the end.
    up_to: Option<u64>,
    entries: Vec<(u64, String, Inode)>,
}

/// Windows in use, the latest last.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    windows: Mutex<VecDeque<Arc<Window>>>,
}

impl Window {
    fn covers(&self, directory: &Node, cookie: u64, version: u64) -> bool {
        let here = self.directory == directory.inode
            && self.then == group_of(&directory.view)
            && self.after <= cookie
            && self.up_to.is_none_or(|last| cookie < last);
        let large = self.entries.len() > SMALL && cookie >= FIRST;
        here && (self.version == version || large)
    }
}

impl Listings {
    fn find(&self, directory: &Node, cookie: u64, version: u64) -> Option<Arc<Window>> {
        let windows = self.windows.lock();
        let found = windows
            .iter()
            .rev()
            .find(|window| window.covers(directory, cookie, version));
        found.cloned()
    }

    fn keep(&self, window: &Arc<Window>) {
        let mut windows = self.windows.lock();
        let place = |window: &Window| (window.directory, window.then, window.after);
        windows.retain(|old| place(old) != place(window));
        if windows.len() >= WINDOWS_MAX {
            windows.pop_front();
        }
        windows.push_back(Arc::clone(window));
    }
}

impl Unix<'_> {
    /// Hands entries behind a cookie (0: all) to `take` until it takes one no more. True at the end of the directory.
    ///
    /// Errors: `NotDirectory`, `AccessDenied` without the right to list; those of `take`.
    pub fn list(
        &self,
        directory: Inode,
        cookie: u64,
        take: &mut dyn FnMut(UnixEntry) -> Result<bool>,
    ) -> Result<bool> {
        let node = self.node(directory)?;
        self.check_listable(&node)?;
        if cookie < DOT && !take(dot(b".", directory, DOT))? {
            return Ok(false);
        }
        if cookie < DOT_DOT {
            let above = self.find(directory, b"..")?;
            let entry = UnixEntry {
                view: above.view,
                ..dot(b"..", above.inode, DOT_DOT)
            };
            if !take(entry)? {
                return Ok(false);
            }
        }
        if node.is_history() {
            for entry in self.list_of_history(cookie.max(FIRST - 1))? {
                if !take(entry)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let mut cookie = cookie.max(FIRST - 1);
        loop {
            let (window, current) = self.vfs.window(&node, cookie)?;
            let start = window.entries.partition_point(|entry| entry.0 <= cookie);
            for (at, name, inode) in window.entries.get(start..).unwrap_or_default() {
                if !current && !self.is_still(directory, name, *inode)? {
                    continue;
                }
                if self.share.hide_unreadable && !self.is_readable(*inode)? {
                    continue;
                }
                let entry = UnixEntry {
                    name: to_unix(name),
                    inode: *inode,
                    view: None,
                    cookie: *at,
                };
                if !take(entry)? {
                    return Ok(false);
                }
            }
            match window.up_to {
                None => return Ok(true),
                Some(last) => cookie = last,
            }
        }
    }

    fn check_listable(&self, node: &Arc<Node>) -> Result<()> {
        if !node.is_directory() {
            return Err(VfsError::NotDirectory);
        }
        let mut state = node.lock();
        let rights = self.rights_of(node, &mut state)?;
        if rights.contains(AccessMask::LIST_DIRECTORY) {
            Ok(())
        } else {
            Err(VfsError::AccessDenied)
        }
    }

    fn is_readable(&self, inode: Inode) -> Result<bool> {
        match self.rights(inode) {
            Ok(rights) => Ok(rights.contains(AccessMask::READ_DATA)),
            Err(VfsError::Closed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_still(&self, directory: Inode, name: &str, inode: Inode) -> Result<bool> {
        let entry = self
            .vfs
            .lookup(&View::Now, directory, name, CaseMode::Exact)?;
        Ok(entry.is_some_and(|entry| entry.inode == inode))
    }
}

impl Vfs {
    /// The window behind a cookie, and whether the directory is as it was when that was read.
    fn window(&self, node: &Arc<Node>, cookie: u64) -> Result<(Arc<Window>, bool)> {
        let version = node.lock().attr.version;
        if let Some(window) = self.listings.find(node, cookie, version) {
            let current = window.version == version;
            return Ok((window, current));
        }
        let mut read = self.read_window(node, version, cookie, BATCH)?;
        if read.is_none() {
            let mut all = Ok(None);
            self.env.block_in_place(&mut || {
                all = self.read_window(node, version, cookie, usize::MAX);
            });
            read = all?;
        }
        let window = Arc::new(read.expect("without a limit all names are read"));
        if !window.entries.is_empty() {
            self.listings.keep(&window);
        }
        Ok((window, node.lock().attr.version == version))
    }

    /// Reads a directory of at most `names_max` names; None where it has more.
    fn read_window(
        &self,
        node: &Node,
        version: u64,
        after: u64,
        names_max: usize,
    ) -> Result<Option<Window>> {
        let directory = node.inode;
        let reading = self.store.at(&node.view);
        let mut heap: BinaryHeap<(u64, String, Inode)> = BinaryHeap::new();
        let mut whole = true;
        let mut start = rows::inode_key(directory);
        let end = rows::end_of(directory);
        let mut seen = 0;
        loop {
            let page = reading.scan(rows::NAMES, &start, &end, BATCH)?;
            let Some((last, _)) = page.last() else { break };
            start = next_key(last);
            seen += page.len();
            for (_, row) in &page {
                for entry in NameRow::decode(row)?.entries {
                    let cookie = cookie_of(&entry.name);
                    if cookie > after {
                        heap.push((cookie, entry.name, entry.inode));
                    }
                    if heap.len() > WINDOW_MAX {
                        heap.pop();
                        whole = false;
                    }
                }
            }
            if page.len() < BATCH {
                break;
            }
            if seen >= names_max {
                return Ok(None);
            }
        }
        let mut entries = heap.into_sorted_vec();
        tell_apart(&mut entries);
        let up_to = entries.last().filter(|_| !whole).map(|entry| entry.0);
        Ok(Some(Window {
            directory,
            then: group_of(&node.view),
            version,
            after,
            up_to,
            entries,
        }))
    }
}

/// Names with one hash get cookies side by side.
fn tell_apart(entries: &mut [(u64, String, Inode)]) {
    let mut before = 0;
    for entry in entries {
        entry.0 = entry.0.max(before + 1);
        before = entry.0;
    }
}

fn dot(name: &[u8], inode: Inode, cookie: u64) -> UnixEntry {
    UnixEntry {
        name: name.to_vec(),
        inode,
        view: None,
        cookie,
    }
}

fn group_of(view: &View) -> Option<Txg> {
    view.instant().map(|then| then.txg)
}

/// FNV-1a with a finisher that spreads it over all bits. Part of the protocol with clients: it never changes.
pub(super) fn cookie_of(name: &str) -> u64 {
    let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ hash >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^= hash >> 33;
    FIRST + hash % (LAST - FIRST - (1 << 20))
}
