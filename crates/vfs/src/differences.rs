//! What differs between two states of a share.

use std::collections::HashMap;
use std::fmt;

use strongroom_store::{Inode, ObjectId, View};

use crate::names::ParsedPath;
use crate::open::Target;
use crate::{DirEntry, OpenRequest, Result, Share, Stat, Vfs, VfsError};

/// Directories below each other that are gone into.
const DEPTH_MAX: usize = 4_096;

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DifferenceKind {
    Added,
    Removed,
    /// Data, attributes or rights of the same file or directory.
    Changed,
    /// It had another name.
    Renamed,
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Renamed => "renamed",
        })
    }
}

/// One name that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub what: DifferenceKind,
    /// From the share's root, `\`-separated, as it is in the second state, or in the first where it is removed.
    pub path: String,
    /// The name that it had.
    pub old_path: Option<String>,
    /// In the first and in the second state.
    pub stats: (Option<Stat>, Option<Stat>),
}

impl Difference {
    /// Bytes in the first and in the second state.
    pub fn sizes(&self) -> (Option<u64>, Option<u64>) {
        let size = |stat: &Option<Stat>| stat.as_ref().map(|stat| stat.size);
        (size(&self.stats.0), size(&self.stats.1))
    }
}

/// A walk through two trees side by side.
struct Walk<'a> {
    vfs: &'a Vfs,
    views: (&'a View, &'a View),
    max: usize,
    found: Vec<Difference>,
    /// Directories of both whose modification times differ, as they do when names come and go.
    touched: Vec<String>,
}

impl Vfs {
    /// What differs at and below a path from one state of a share to another, in the order of names; at most `max`.
    ///
    /// Errors: `NotFound` where the path is in neither.
    pub fn differences(
        &self,
        share: &Share,
        path: &str,
        from: &View,
        to: &View,
        max: usize,
    ) -> Result<Vec<Difference>> {
        let walk = self.walk_differences((share, path), (from, to), max)?;
        Ok(joined(walk.found))
    }

    /// As [`Vfs::differences`], with the directories whose modification times differ.
    pub(crate) fn differences_and_touched(
        &self,
        at: (&Share, &str),
        views: (&View, &View),
        max: usize,
    ) -> Result<(Vec<Difference>, Vec<String>)> {
        let walk = self.walk_differences(at, views, max)?;
        Ok((joined(walk.found), walk.touched))
    }

    fn walk_differences<'a>(
        &'a self,
        (share, path): (&Share, &str),
        (from, to): (&'a View, &'a View),
        max: usize,
    ) -> Result<Walk<'a>> {
        let (old, new) = (
            self.stat_at(share, from, path)?,
            self.stat_at(share, to, path)?,
        );
        if old.is_none() && new.is_none() {
            return Err(VfsError::NotFound);
        }
        let mut walk = Walk {
            vfs: self,
            views: (from, to),
            max,
            found: Vec::new(),
            touched: Vec::new(),
        };
        walk.pair(path, old, new, 0)?;
        Ok(walk)
    }

    /// Whether two states of files hold the same: data, streams and rights.
    pub(crate) fn same_file(&self, one: (&View, Inode), other: (&View, Inode)) -> Result<bool> {
        let object = |(view, inode), stream| (view, ObjectId { inode, stream });
        if !self.store.same_data(object(one, 0), object(other, 0))? {
            return Ok(false);
        }
        let (Some(left), Some(right)) =
            (self.node_in(one.0, one.1)?, self.node_in(other.0, other.1)?)
        else {
            return Ok(false);
        };
        // One after the other, as two locks would need an order.
        let left = self.security_of(&left, &mut left.lock())?;
        let right = self.security_of(&right, &mut right.lock())?;
        if left != right {
            return Ok(false);
        }
        let (left, right) = (
            self.stream_rows(one.0, one.1)?,
            self.stream_rows(other.0, other.1)?,
        );
        if left.len() != right.len() {
            return Ok(false);
        }
        for ((stream, name), (other_stream, other_name)) in left.into_iter().zip(right) {
            let pair = (object(one, stream), object(other, other_stream));
            if name != other_name || !self.store.same_data(pair.0, pair.1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a path leads to in a state; None if it leads nowhere.
    pub(crate) fn stat_at(&self, share: &Share, view: &View, path: &str) -> Result<Option<Stat>> {
        let request = OpenRequest {
            view: view.clone(),
            ..OpenRequest::new(share, path)
        };
        let node = match self.resolve(&request, &ParsedPath::parse(path)?) {
            Ok(Target::Found { node, .. }) => node,
            Ok(Target::Missing { .. }) | Err(VfsError::NotFound | VfsError::PathNotFound) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let state = node.lock();
        let head = self.head_of(&node.view, node.inode, &state.attr)?;
        Ok(Some(crate::stat::stat_of(node.inode, &state.attr, head)))
    }
}

impl Walk<'_> {
    fn pair(
        &mut self,
        path: &str,
        old: Option<Stat>,
        new: Option<Stat>,
        depth: usize,
    ) -> Result<()> {
        if self.found.len() >= self.max || depth > DEPTH_MAX {
            return Ok(());
        }
        // What was put back is another file, and as good as the one that it was.
        let replaced = matches!((&old, &new), (Some(old), Some(new))
            if old.inode != new.inode && (differs(old, new) || old.created != new.created));
        if replaced && !(is_directory(&old) && is_directory(&new)) {
            self.pair(path, old, None, depth)?;
            return self.pair(path, None, new, depth);
        }
        let what = match (&old, &new) {
            (None, Some(_)) => Some(DifferenceKind::Added),
            (Some(_), None) => Some(DifferenceKind::Removed),
            (Some(old), Some(new)) => self.changed(old, new)?.then_some(DifferenceKind::Changed),
            (None, None) => None,
        };
        if let Some(what) = what {
            self.found.push(Difference {
                what,
                path: path.to_owned(),
                old_path: None,
                stats: (old, new),
            });
        }
        if let (Some(old), Some(new)) = (&old, &new)
            && old.is_directory
            && new.is_directory
            && old.modified != new.modified
        {
            self.touched.push(path.to_owned());
        }
        if is_directory(&old) || is_directory(&new) {
            self.below(path, (&old, &new), depth)?;
        }
        Ok(())
    }

    /// Whether one of two states is not as good as the other. Size and times are the clients' to set, so where they are the
    /// same but something was changed between, the content tells: a rewind writes what was there, an attacker does not.
    fn changed(&self, old: &Stat, new: &Stat) -> Result<bool> {
        if differs(old, new) {
            return Ok(true);
        }
        if (old.inode, old.version) == (new.inode, new.version) {
            return Ok(false);
        }
        let (old, new) = ((self.views.0, old.inode), (self.views.1, new.inode));
        Ok(!self.vfs.same_file(old, new)?)
    }

    fn below(
        &mut self,
        path: &str,
        (old, new): (&Option<Stat>, &Option<Stat>),
        depth: usize,
    ) -> Result<()> {
        let list = |view: &View, stat: &Option<Stat>| match stat {
            Some(stat) if stat.is_directory => self.vfs.all_entries(view, stat.inode),
            Some(_) | None => Ok(Vec::new()),
        };
        let olds = list(self.views.0, old)?;
        let mut news: HashMap<String, Stat> = by_name(list(self.views.1, new)?);
        for entry in olds {
            let new = news.remove(&entry.name);
            self.pair(
                &joined_path(path, &entry.name),
                Some(entry.stat),
                new,
                depth + 1,
            )?;
        }
        let mut rest: Vec<_> = news.into_iter().collect();
        rest.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, stat) in rest {
            self.pair(&joined_path(path, &name), None, Some(stat), depth + 1)?;
        }
        Ok(())
    }
}

fn is_directory(stat: &Option<Stat>) -> bool {
    stat.as_ref().is_some_and(|stat| stat.is_directory)
}

fn by_name(entries: Vec<DirEntry>) -> HashMap<String, Stat> {
    let pairs = entries.into_iter().map(|entry| (entry.name, entry.stat));
    pairs.collect()
}

pub(crate) fn joined_path(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}\\{name}")
    }
}

/// Of a directory only what is its own counts: its other times and links follow from its names.
pub(crate) fn differs(old: &Stat, new: &Stat) -> bool {
    if old.is_directory && new.is_directory {
        let own = |stat: &Stat| (stat.created, stat.attributes, stat.ea_size);
        return own(old) != own(new);
    }
    (
        old.size,
        old.modified,
        old.attributes,
        old.ea_size,
        old.changed,
    ) != (
        new.size,
        new.modified,
        new.attributes,
        new.ea_size,
        new.changed,
    )
}

/// What was removed in one place and added in another was renamed.
fn joined(found: Vec<Difference>) -> Vec<Difference> {
    let mut removed: HashMap<Inode, usize> = HashMap::new();
    for (place, difference) in found.iter().enumerate() {
        if let (DifferenceKind::Removed, Some(stat)) = (difference.what, &difference.stats.0) {
            removed.insert(stat.inode, place);
        }
    }
    let mut gone = vec![false; found.len()];
    let mut renamed = Vec::new();
    for difference in &found {
        let from = match (difference.what, &difference.stats.1) {
            (DifferenceKind::Added, Some(stat)) => removed.remove(&stat.inode),
            _ => None,
        };
        if let Some(from) = from {
            gone[from] = true;
        }
        renamed.push(from);
    }
    let old = |place: usize| &found[place];
    let all = found.iter().enumerate().filter(|(place, _)| !gone[*place]);
    all.map(|(place, difference)| match renamed[place] {
        Some(from) => Difference {
            what: DifferenceKind::Renamed,
            path: difference.path.clone(),
            old_path: Some(old(from).path.clone()),
            stats: (old(from).stats.0, difference.stats.1),
        },
        None => difference.clone(),
    })
    .collect()
}
