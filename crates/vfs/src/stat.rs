//! What is known of a file without its data.

use strongroom_store::{DataHead, Inode, ObjectId, View};

use crate::node::State;
use crate::rows::{Attr, AttrFlags};
use crate::types::REPARSE_TAG_SYMLINK;
use crate::{DosAttributes, FileKind, FileTime, Handle, LinkInfo, Result, Stat, Vfs};

/// Bytes in one allocation unit.
pub(crate) const UNIT: u64 = 4_096;

/// The space that clients are told: whole units, and the whole size for files that are not sparse, though compression
/// or packing may need less.
pub(crate) fn allocation(size: u64, allocated: u64, sparse: bool) -> u64 {
    let bytes = if sparse { allocated.min(size) } else { size };
    bytes.checked_next_multiple_of(UNIT).unwrap_or(bytes)
}

/// Attributes as clients see them.
fn visible(attr: &Attr) -> DosAttributes {
    let mut dos = attr.dos;
    if attr.is_directory() {
        dos = dos.union(DosAttributes::DIRECTORY);
    }
    if attr.reparse_tag != 0 {
        dos = dos.union(DosAttributes::REPARSE_POINT);
    }
    if dos.0 == 0 {
        DosAttributes::NORMAL
    } else {
        dos
    }
}

fn kind(attr: &Attr) -> FileKind {
    if attr.reparse_tag == REPARSE_TAG_SYMLINK {
        FileKind::Symlink
    } else {
        attr.kind
    }
}

/// Puts together what the attribute row and the data head say. `head` is None where the data was never written.
pub(crate) fn stat_of(inode: Inode, attr: &Attr, head: Option<DataHead>) -> Stat {
    let data = head.unwrap_or_default();
    let own_time =
        attr.is_directory() || data.mtime.0 == 0 || attr.flags.has(AttrFlags::OWN_MODIFIED);
    let modified = if own_time {
        attr.modified
    } else {
        FileTime::from(data.mtime)
    };
    let sparse = attr.dos.contains(DosAttributes::SPARSE_FILE);
    Stat {
        inode,
        kind: kind(attr),
        size: data.size,
        allocated: allocation(data.size, data.allocated, sparse),
        created: attr.created,
        accessed: attr.accessed,
        modified,
        changed: attr.changed,
        attributes: visible(attr),
        links: attr.links,
        delete_pending: false,
        is_directory: attr.is_directory(),
        ea_size: attr.ea_size,
        reparse_tag: attr.reparse_tag,
        parent: attr.parent,
        version: attr.version,
    }
}

impl Vfs {
    /// Everything but names and security. Needs no right: whoever opened the file may know it.
    pub fn stat(&self, handle: &Handle) -> Result<Stat> {
        handle.check_open()?;
        let node = &handle.node;
        let state = node.lock();
        let data = self.head_of(&node.view, node.inode, &state.attr)?;
        let mut stat = stat_of(node.inode, &state.attr, data);
        self.adjust(handle, &state, &mut stat)?;
        Ok(stat)
    }

    /// What the handle makes of it: the stream's sizes, the pending deletion.
    fn adjust(&self, handle: &Handle, state: &State, stat: &mut Stat) -> Result<()> {
        stat.delete_pending = state.gone
            || state
                .open_of(handle.id)
                .is_some_and(|open| state.is_pending(&open.link))
            || state.pending_streams.contains(&handle.stream);
        if stat.delete_pending && !state.gone {
            stat.links = stat.links.saturating_sub(1);
        }
        if handle.stream != 0 {
            let head = self.store.at(handle.view()).head(handle.object())?;
            stat.size = head.size;
            stat.allocated = allocation(head.size, head.allocated, false);
            stat.is_directory = false;
            stat.attributes = DosAttributes(stat.attributes.0 & !DosAttributes::DIRECTORY.0);
        }
        Ok(())
    }

    pub(crate) fn head_of(
        &self,
        view: &View,
        inode: Inode,
        attr: &Attr,
    ) -> Result<Option<DataHead>> {
        if attr.is_directory() {
            return Ok(None);
        }
        Ok(self.store.at(view).head_if_exists(ObjectId::data(inode))?)
    }

    /// The path from the share's root with today's names, `\`-separated; with `:stream` for a stream.
    pub fn path(&self, handle: &Handle) -> Result<String> {
        let mut path = match handle.node.inode == handle.root {
            true => String::new(),
            false => {
                let link = handle.link()?;
                let mut names = self.names_up(handle.view(), link.directory, handle.root)?;
                names.push(link.name.clone());
                names.join("\\")
            }
        };
        if handle.stream != 0 {
            path.push(':');
            path.push_str(&handle.stream_name());
        }
        Ok(path)
    }

    /// The names from a root down to a directory.
    pub(crate) fn names_up(
        &self,
        view: &View,
        directory: Inode,
        root: Inode,
    ) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut at = directory;
        while at != root && names.len() < crate::types::PATH_MAX {
            let (parent, name) = self.first_name(view, at)?;
            if parent == at {
                break;
            }
            names.push(name);
            at = parent;
        }
        names.reverse();
        Ok(names)
    }

    /// Every name of the file (MS-FSCC 2.4.21).
    pub fn links(&self, handle: &Handle) -> Result<Vec<LinkInfo>> {
        handle.check_open()?;
        let state = handle.node.lock();
        let links = self.links_of(handle.view(), handle.node.inode, &state.attr)?;
        Ok(links
            .into_iter()
            .map(|link| LinkInfo {
                parent: link.directory,
                name: link.name,
            })
            .collect())
    }
}
