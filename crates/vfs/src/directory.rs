//! Names in directories: lookup, insertion, removal, and the names that a file knows itself by.

use strongroom_store::{Inode, Txn, View};

use crate::names::{fold, other_forms};
use crate::node::{LinkRef, State};
use crate::rows::{self, Attr, AttrFlags, INLINE_NAME_MAX, NameEntry, NameRow};
use crate::{CaseMode, Result, Vfs, VfsError};

/// Links looked at to list a file's names.
const LINK_ROWS_MAX: usize = 4_096;

impl Vfs {
    /// The row of all names with this folded form.
    pub(crate) fn name_row(&self, view: &View, directory: Inode, folded: &str) -> Result<NameRow> {
        match self
            .store
            .at(view)
            .get(rows::NAMES, &rows::key_of(directory, folded.as_bytes()))?
        {
            Some(row) => NameRow::decode(&row),
            None => Ok(NameRow::default()),
        }
    }

    /// What a name means in a directory. Needs no lock: rows are read as of one moment.
    pub(crate) fn lookup(
        &self,
        view: &View,
        directory: Inode,
        name: &str,
        case: CaseMode,
    ) -> Result<Option<NameEntry>> {
        let found = self.lookup_own_form(view, directory, name, case)?;
        if found.is_some() || case == CaseMode::Exact {
            return Ok(found);
        }
        self.lookup_other_forms(view, directory, name)
    }

    /// As [`Self::lookup`] for what would make the name: one in Unicode's other form is another name, which may stand
    /// beside it.
    pub(crate) fn lookup_own_form(
        &self,
        view: &View,
        directory: Inode,
        name: &str,
        case: CaseMode,
    ) -> Result<Option<NameEntry>> {
        let row = self.name_row(view, directory, &fold(name))?;
        Ok(row.find(name, case).cloned())
    }

    /// What a name means that is spelt the same, in Unicode's other form.
    fn lookup_other_forms(
        &self,
        view: &View,
        directory: Inode,
        name: &str,
    ) -> Result<Option<NameEntry>> {
        for form in other_forms(name) {
            let row = self.name_row(view, directory, &fold(&form))?;
            if let Some(entry) = row.find(&form, CaseMode::Insensitive) {
                return Ok(Some(entry.clone()));
            }
        }
        Ok(None)
    }

    /// Whether a directory has no names. Its state is locked.
    pub(crate) fn is_empty(&self, directory: Inode) -> Result<bool> {
        let rows = self.store.scan(
            rows::NAMES,
            &rows::inode_key(directory),
            &rows::end_of(directory),
            1,
        )?;
        Ok(rows.is_empty())
    }

    /// The first name of an inode, as it is in the rows and in memory.
    pub(crate) fn first_name(&self, view: &View, inode: Inode) -> Result<(Inode, String)> {
        let node = self.node_in(view, inode)?.ok_or(VfsError::NotFound)?;
        let state = node.lock();
        self.first_name_of(view, inode, &state.attr)
    }

    pub(crate) fn first_name_of(
        &self,
        view: &View,
        inode: Inode,
        attr: &Attr,
    ) -> Result<(Inode, String)> {
        if !attr.name.is_empty() || attr.parent == inode || !attr.flags.has(AttrFlags::LINK_ROWS) {
            return Ok((attr.parent, attr.name.to_string()));
        }
        let link = self
            .link_rows(view, inode, 1)?
            .pop()
            .ok_or(VfsError::NotFound)?;
        Ok((link.directory, link.name))
    }

    fn link_rows(&self, view: &View, inode: Inode, limit: usize) -> Result<Vec<LinkRef>> {
        let rows = self.store.at(view).scan(
            rows::LINKS,
            &rows::inode_key(inode),
            &rows::end_of(inode),
            limit,
        )?;
        rows.iter().map(|(key, _)| link_of_key(key)).collect()
    }

    /// Every name of an inode.
    pub(crate) fn links_of(&self, view: &View, inode: Inode, attr: &Attr) -> Result<Vec<LinkRef>> {
        let mut links = Vec::new();
        if !attr.name.is_empty() {
            links.push(LinkRef {
                directory: attr.parent,
                name: attr.name.to_string(),
            });
        }
        if attr.flags.has(AttrFlags::LINK_ROWS) {
            links.extend(self.link_rows(view, inode, LINK_ROWS_MAX)?);
        }
        Ok(links)
    }

    /// Whether a name that was looked up without a lock is still one of the inode's, now that its state is locked.
    /// Mostly the inode's own record says so.
    pub(crate) fn still_named(
        &self,
        view: &View,
        inode: Inode,
        attr: &Attr,
        link: &LinkRef,
    ) -> Result<bool> {
        if *attr.name == link.name && attr.parent == link.directory {
            return Ok(true);
        }
        let key = rows::link_key(inode, link.directory, &link.name);
        let reading = self.store.at(view);
        Ok(attr.flags.has(AttrFlags::LINK_ROWS) && reading.get(rows::LINKS, &key)?.is_some())
    }

    /// Takes a name out of its directory's row and out of the inode's own record. The states of directory and inode
    /// are locked.
    pub(crate) fn remove_name(
        &self,
        txn: &mut Txn<'_>,
        inode: Inode,
        attr: &mut Attr,
        link: &LinkRef,
    ) -> Result<()> {
        let folded = fold(&link.name);
        let mut row = self.name_row(&View::Now, link.directory, &folded)?;
        if row
            .remove(&link.name)
            .is_none_or(|entry| entry.inode != inode)
        {
            return Err(VfsError::NotFound);
        }
        put_name_row(txn, link.directory, &folded, &row);
        forget_link(txn, inode, attr, link);
        attr.links = attr.links.saturating_sub(1);
        Ok(())
    }
}

fn link_of_key(key: &[u8]) -> Result<LinkRef> {
    let corrupt = || VfsError::Corrupt("a row of links is not well formed".into());
    let rest = key.get(8..).ok_or_else(corrupt)?;
    let (directory, name) = rest.split_first_chunk().ok_or_else(corrupt)?;
    let name = std::str::from_utf8(name).map_err(|_| corrupt())?.to_owned();
    Ok(LinkRef {
        directory: Inode(u64::from_be_bytes(*directory)),
        name,
    })
}

/// Writes a row of names, or removes it when it is empty.
pub(crate) fn put_name_row(txn: &mut Txn<'_>, directory: Inode, folded: &str, row: &NameRow) {
    let key = rows::key_of(directory, folded.as_bytes());
    if row.entries.is_empty() {
        txn.delete(rows::NAMES, key);
    } else {
        txn.put(rows::NAMES, key, row.encode());
    }
}

/// Notes a name in the inode's own record.
pub(crate) fn remember_link(txn: &mut Txn<'_>, inode: Inode, attr: &mut Attr, link: &LinkRef) {
    if !attr.name.is_empty() || link.name.len() > INLINE_NAME_MAX {
        attr.flags.set(AttrFlags::LINK_ROWS, true);
        let key = rows::link_key(inode, link.directory, &link.name);
        txn.put(rows::LINKS, key, Vec::new());
    } else {
        attr.name = link.name.as_str().into();
        attr.parent = link.directory;
    }
    // A directory has one name only, so that it always knows its parent.
    if attr.is_directory() {
        attr.parent = link.directory;
    }
}

pub(crate) fn forget_link(txn: &mut Txn<'_>, inode: Inode, attr: &mut Attr, link: &LinkRef) {
    if *attr.name == link.name && attr.parent == link.directory {
        attr.name = "".into();
    } else {
        txn.delete(
            rows::LINKS,
            rows::link_key(inode, link.directory, &link.name),
        );
    }
}

/// A directory's times after its names changed.
pub(crate) fn touch_directory(
    txn: &mut Txn<'_>,
    directory: Inode,
    state: &mut State,
    now: crate::FileTime,
) {
    state.attr.modified = now;
    state.attr.changed = now;
    crate::vfs::put_attr(txn, directory, &mut state.attr);
}
