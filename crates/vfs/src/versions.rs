//! Earlier versions of a file or folder: the instants at which it was another than it is.

use std::collections::BTreeSet;

use strongroom_store::{ErrorKind, Inode, Instant, ObjectId, PastValue, Txg, View};

use crate::names::{ParsedPath, fold};
use crate::open::Target;
use crate::rows::{self, NameRow};
use crate::{FileTime, Handle, OpenRequest, Result, Share, Vfs, VfsError};

/// Values looked at of one row, and of one directory's rows.
const OF_ROW: usize = 256;
const OF_DIRECTORY: usize = 16_384;
/// Files of a directory whose content is looked at as well.
const CHILDREN: usize = 512;

/// What a version of a file is told from others by.
type Identity = (Inode, u64, FileTime);

impl Vfs {
    /// The instants, newest first and at most `max`, that show what is open otherwise than it is now and than the ones
    /// after them. They are looked for under its name, as programs save by replacing files, and in the folder itself but
    /// not below its subfolders.
    pub fn previous_versions(
        &self,
        share: &Share,
        handle: &Handle,
        max: usize,
    ) -> Result<Vec<Instant>> {
        handle.check_open()?;
        if handle.node.is_history() {
            return Ok(Vec::new());
        }
        let path = self.path(handle)?;
        let path = path.split(':').next().unwrap_or_default();
        let mut changed = BTreeSet::new();
        if handle.node.is_directory() {
            self.changes_in(handle.node.inode, &mut changed)?;
        }
        if handle.node.inode != share.root {
            let link = handle.link()?;
            self.changes_of_name(link.directory, &link.name, &mut changed)?;
        }
        let instants = self.instants(share, FileTime(0), FileTime(u64::MAX), usize::MAX)?;
        let mut found = Vec::new();
        let mut newer = self.identity(share, View::Now, path)?;
        let mut last = usize::MAX;
        for change in changed.iter().rev() {
            if found.len() >= max {
                break;
            }
            // What was there just before the change.
            let place = instants.partition_point(|instant| instant.txg < *change);
            if place == 0 || place == last {
                continue;
            }
            last = place;
            let instant = instants[place - 1];
            let identity = match self.view_of(share, instant) {
                Ok(view) => self.identity(share, view, path)?,
                Err(VfsError::Forgotten) => continue,
                Err(error) => return Err(error),
            };
            if identity.is_some() && (identity != newer || handle.node.is_directory()) {
                found.push(instant);
            }
            newer = identity;
        }
        Ok(found)
    }

    /// What a path leads to in a view; None if it leads nowhere.
    fn identity(&self, share: &Share, view: View, path: &str) -> Result<Option<Identity>> {
        let request = OpenRequest {
            view,
            ..OpenRequest::new(share, path)
        };
        let node = match self.resolve(&request, &ParsedPath::parse(path)?) {
            Ok(Target::Found { node, .. }) => node,
            Ok(Target::Missing { .. })
            | Err(VfsError::NotFound | VfsError::PathNotFound | VfsError::Symlink(_)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let attr = node.lock().attr.clone();
        let head = match self
            .store
            .at(&node.view)
            .head_if_exists(ObjectId::data(node.inode))
        {
            Err(error) if error.kind() == ErrorKind::Forgotten => return Ok(None),
            head => head?,
        };
        let stat = crate::stat::stat_of(node.inode, &attr, head);
        Ok(Some((node.inode, stat.size, stat.modified)))
    }

    /// When a name came to mean another file, and when the files that it meant changed.
    fn changes_of_name(
        &self,
        directory: Inode,
        name: &str,
        changed: &mut BTreeSet<Txg>,
    ) -> Result<()> {
        let key = rows::key_of(directory, fold(name).as_bytes());
        let values = self.store.values_of(rows::NAMES, &key, OF_ROW)?;
        let mut meant = BTreeSet::new();
        for value in &values {
            changed.extend(ended(value));
            let row = value.value.as_deref().map(NameRow::decode).transpose()?;
            let entries = row.into_iter().flat_map(|row| row.entries);
            meant.extend(entries.map(|entry| entry.inode));
        }
        for inode in meant {
            self.changes_of_content(inode, OF_ROW, changed)?;
        }
        Ok(())
    }

    fn changes_of_content(
        &self,
        inode: Inode,
        max: usize,
        changed: &mut BTreeSet<Txg>,
    ) -> Result<()> {
        let heads = self.store.versions_of(ObjectId::data(inode), max)?;
        changed.extend(heads.iter().flat_map(ended));
        Ok(())
    }

    /// When names came to a directory and went, and when its files changed.
    fn changes_in(&self, directory: Inode, changed: &mut BTreeSet<Txg>) -> Result<()> {
        let (start, end) = (rows::inode_key(directory), rows::end_of(directory));
        let values = self.store.values(rows::NAMES, &start, &end, OF_DIRECTORY)?;
        let mut children = BTreeSet::new();
        for value in &values {
            changed.insert(value.began);
            changed.extend(ended(value));
            if children.len() < CHILDREN
                && let Some(row) = &value.value
            {
                let entries = NameRow::decode(row)?.entries;
                children.extend(entries.into_iter().map(|entry| entry.inode));
            }
        }
        for inode in children {
            self.changes_of_content(inode, 16, changed)?;
        }
        Ok(())
    }
}

fn ended(value: &PastValue) -> Option<Txg> {
    value.ended.map(|(txg, _)| txg)
}
