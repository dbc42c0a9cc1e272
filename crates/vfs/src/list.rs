//! Listing a directory in the order of its names, some at a time (MS-FSA 2.1.5.6.3).

use strongroom_store::{DataHead, ErrorKind, Inode, ObjectId, View};

use crate::acl;
use crate::names::{Pattern, fold, other_forms};
use crate::quota::next_key;
use crate::rows::{self, Attr, NameEntry, NameRow};
use crate::stat::stat_of;
use crate::types::CursorPosition;
use crate::{AccessMask, CaseMode, DirCursor, DirEntry, FileKind, Handle, Result, Vfs, VfsError};

/// Name rows read at once.
const BATCH: usize = 512;
/// Names looked at in one go. A pattern that matches few names goes on where it holds nobody else up.
const LOOKED_AT_MAX: usize = 4_096;

/// What makes a file readable: GENERIC_READ without SYNCHRONIZE.
const READS: AccessMask = AccessMask(AccessMask::FILE_READ.0 & !AccessMask::SYNCHRONIZE.0);

impl Vfs {
    /// The next entries that match, at most `max`: `.` and `..` first, then names in their folded order. An empty
    /// answer is the end. Names that come and go meanwhile are seen or not; all others exactly once.
    ///
    /// Errors: `InvalidParameter` if it is no directory, `AccessDenied` without the right to list.
    pub fn list(
        &self,
        handle: &Handle,
        cursor: &mut DirCursor,
        pattern: &str,
        max: usize,
    ) -> Result<Vec<DirEntry>> {
        if !handle.is_directory() {
            return Err(VfsError::InvalidParameter);
        }
        handle.require(AccessMask::LIST_DIRECTORY)?;
        let pattern = Pattern::new(pattern, CaseMode::Insensitive)?;
        if handle.node.is_history() {
            return self.list_history(handle, cursor, &pattern, max);
        }
        let mut entries = Vec::new();
        self.list_dots(handle, cursor, &pattern, max, &mut entries)?;
        let (view, inode) = (handle.view(), handle.node.inode);
        let mut first = true;
        while entries.len() < max && cursor.position != CursorPosition::End {
            let wanted = max - entries.len();
            let names = if std::mem::take(&mut first) {
                self.next_names(view, inode, cursor, &pattern, wanted)?
            } else {
                let mut names = Ok(Vec::new());
                self.env.block_in_place(&mut || {
                    names = self.next_names(view, inode, cursor, &pattern, wanted);
                });
                names?
            };
            let names = if handle.hides_unreadable && !handle.overrides() {
                self.readable(handle, names)?
            } else {
                names
            };
            self.add_stats(view, names, &mut entries)?;
        }
        cursor.matched |= !entries.is_empty();
        Ok(entries)
    }

    /// Every entry of a directory in a view, without the dots.
    pub(crate) fn all_entries(&self, view: &View, directory: Inode) -> Result<Vec<DirEntry>> {
        let pattern = Pattern::new("*", CaseMode::Insensitive)?;
        let mut cursor = DirCursor {
            position: CursorPosition::After {
                folded: String::new(),
                name: String::new(),
            },
            matched: false,
        };
        let mut entries = Vec::new();
        while cursor.position != CursorPosition::End {
            let names = self.next_names(view, directory, &mut cursor, &pattern, BATCH)?;
            self.add_stats(view, names, &mut entries)?;
        }
        Ok(entries)
    }

    fn list_dots(
        &self,
        handle: &Handle,
        cursor: &mut DirCursor,
        pattern: &Pattern,
        max: usize,
        entries: &mut Vec<DirEntry>,
    ) -> Result<()> {
        let node = &handle.node;
        if cursor.position == CursorPosition::Dot && max > 0 {
            cursor.position = CursorPosition::DotDot;
            if pattern.matches(".") {
                entries.push(self.dot(&node.view, ".", node.inode)?);
            }
        }
        if cursor.position == CursorPosition::DotDot && entries.len() < max {
            cursor.position = CursorPosition::After {
                folded: String::new(),
                name: String::new(),
            };
            if pattern.matches("..") {
                // What is above a share is none of its users' business.
                let above = if node.inode == handle.root {
                    node.inode
                } else {
                    self.first_name(&node.view, node.inode)?.0
                };
                entries.push(self.dot(&node.view, "..", above)?);
            }
        }
        Ok(())
    }

    fn dot(&self, view: &View, name: &str, inode: Inode) -> Result<DirEntry> {
        let node = self.node_in(view, inode)?.ok_or(VfsError::NotFound)?;
        let stat = stat_of(inode, &node.lock().attr, None);
        Ok(DirEntry {
            name: name.to_owned(),
            stat,
        })
    }

    /// Up to `max` further names, moving the cursor behind the last one looked at; fewer, or none, when very many
    /// were looked at.
    fn next_names(
        &self,
        view: &View,
        directory: Inode,
        cursor: &mut DirCursor,
        pattern: &Pattern,
        max: usize,
    ) -> Result<Vec<NameEntry>> {
        if pattern.is_literal() {
            return self.literal_names(view, directory, cursor, pattern, max);
        }
        let CursorPosition::After { folded, name } = &cursor.position else {
            return Ok(Vec::new());
        };
        let (mut folded, mut name) = (folded.clone(), name.clone());
        let mut start = rows::key_of(directory, folded.as_bytes());
        let end = rows::end_of(directory);
        let mut found = Vec::new();
        let mut looked_at = 0;
        while found.len() < max && looked_at < LOOKED_AT_MAX {
            let batch = BATCH.min((max - found.len()).max(16));
            let page = self.store.at(view).scan(rows::NAMES, &start, &end, batch)?;
            if page.is_empty() {
                cursor.position = CursorPosition::End;
                return Ok(found);
            }
            looked_at += page.len();
            for (key, row) in page {
                let this = folded_of(&key)?;
                for entry in NameRow::decode(&row)?.entries {
                    if found.len() >= max {
                        break;
                    }
                    if this == folded && entry.name <= name {
                        continue;
                    }
                    folded = this.to_owned();
                    name.clone_from(&entry.name);
                    if pattern.matches_folded(this) {
                        found.push(entry);
                    }
                }
                start = if found.len() < max {
                    next_key(&key)
                } else {
                    start
                };
            }
        }
        cursor.position = CursorPosition::After { folded, name };
        Ok(found)
    }

    /// A pattern without wildcards is one lookup, not a walk through the directory.
    fn literal_names(
        &self,
        view: &View,
        directory: Inode,
        cursor: &mut DirCursor,
        pattern: &Pattern,
        max: usize,
    ) -> Result<Vec<NameEntry>> {
        let CursorPosition::After { name: after, .. } = &cursor.position else {
            return Ok(Vec::new());
        };
        let text = pattern.text();
        let mut folded = fold(&text);
        let mut row = self.name_row(view, directory, &folded)?;
        for form in other_forms(&text) {
            if row.entries.is_empty() {
                folded = fold(&form);
                row = self.name_row(view, directory, &folded)?;
            }
        }
        let left = row.entries.into_iter().filter(|entry| entry.name > *after);
        let found: Vec<_> = left.take(max).collect();
        cursor.position = match found.last() {
            Some(last) if found.len() == max => CursorPosition::After {
                folded,
                name: last.name.clone(),
            },
            _ => CursorPosition::End,
        };
        Ok(found)
    }

    /// The names whose files the caller may read, by their own lists: what a share leaves that hides the rest.
    fn readable(&self, handle: &Handle, names: Vec<NameEntry>) -> Result<Vec<NameEntry>> {
        let mut readable = Vec::with_capacity(names.len());
        for name in names {
            let Some(node) = self.node_in(handle.view(), name.inode)? else {
                continue;
            };
            let security = self.security_of(&node, &mut node.lock())?;
            if acl::maximal_access(&security, &handle.credentials).contains(READS) {
                readable.push(name);
            }
        }
        Ok(readable)
    }

    /// Looks attributes and sizes up together: inodes of one directory lie side by side.
    fn add_stats(
        &self,
        view: &View,
        names: Vec<NameEntry>,
        entries: &mut Vec<DirEntry>,
    ) -> Result<()> {
        let reading = self.store.at(view);
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_unstable_by_key(|at| names[*at].inode);
        let mut attrs: Vec<Option<Attr>> = vec![None; names.len()];
        for at in &order {
            let row = reading.get(rows::ATTRIBUTES, &rows::inode_key(names[*at].inode))?;
            attrs[*at] = row.map(|row| Attr::decode(&row)).transpose()?;
        }
        let mut heads = vec![None; names.len()];
        for at in order {
            if names[at].kind != FileKind::Directory {
                let head = reading.head(ObjectId::data(names[at].inode));
                heads[at] = Some(match head {
                    // Its content was given up for want of space; that must not hide its neighbours.
                    Err(error) if error.kind() == ErrorKind::Forgotten => DataHead::default(),
                    head => head?,
                });
            }
        }
        // A name whose file went since it was read is left out.
        for ((name, attr), head) in names.into_iter().zip(attrs).zip(heads) {
            if let Some(attr) = attr {
                let stat = stat_of(name.inode, &attr, head);
                entries.push(DirEntry {
                    name: name.name,
                    stat,
                });
            }
        }
        Ok(())
    }
}

fn folded_of(key: &[u8]) -> Result<&str> {
    let name = key.get(8..).and_then(|rest| std::str::from_utf8(rest).ok());
    name.ok_or_else(|| VfsError::Corrupt("a row of names is not well formed".into()))
}
