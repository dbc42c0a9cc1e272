//! Symbolic links and other reparse points (MS-FSCC 2.1.2).

use strongroom_store::{Aspect, Inode, ObjectId, View};

use crate::rows::{self, Reader, Writer};
use crate::types::REPARSE_TAG_SYMLINK;
use crate::vfs::put_attr;
use crate::watch::{WatchAction, WatchFilter};
use crate::{AccessMask, Handle, ReparseData, Result, Vfs, VfsError};

/// The largest reparse buffer, its header included (MS-FSCC 2.1.2, MAXIMUM_REPARSE_DATA_BUFFER_SIZE).
const DATA_MAX: usize = 16_384 - 8;
/// SubstituteNameOffset to Flags.
const SYMLINK_HEADER_LEN: usize = 12;
const SYMLINK_RELATIVE: u32 = 1;

impl Vfs {
    /// The reparse data of a link (FSCTL_GET_REPARSE_POINT). Errors: `NotReparsePoint`.
    pub fn reparse(&self, handle: &Handle) -> Result<ReparseData> {
        handle.check_open()?;
        if handle.node.lock().attr.reparse_tag == 0 {
            return Err(VfsError::NotReparsePoint);
        }
        self.read_reparse(handle.view(), handle.node.inode)
    }

    pub(crate) fn read_reparse(&self, view: &View, inode: Inode) -> Result<ReparseData> {
        let row = self
            .store
            .at(view)
            .get(rows::REPARSE, &rows::inode_key(inode))?;
        let row = row.ok_or(VfsError::NotReparsePoint)?;
        let mut reader = Reader::new(&row, "reparse points");
        let tag = reader.u32()?;
        Ok(ReparseData {
            tag,
            data: reader.rest().to_vec(),
        })
    }

    /// Makes an empty file or directory a reparse point (MS-FSA 2.1.5.10.37).
    ///
    /// Errors: `InvalidReparse` for malformed data or another tag than the present one; `NotEmpty` for a directory with
    /// names; `InvalidParameter` for a file with data that was to become a link.
    pub async fn set_reparse(&self, handle: &Handle, reparse: &ReparseData) -> Result<()> {
        self.check_reparse(handle, reparse)?;
        self.store.throttle().await;
        self.change_reparse(handle, reparse.tag, Some(reparse.row()))
    }

    /// Makes a reparse point a plain file or directory again (FSCTL_DELETE_REPARSE_POINT).
    pub async fn delete_reparse(&self, handle: &Handle, tag: u32) -> Result<()> {
        handle.require_any(AccessMask::WRITE_DATA | AccessMask::WRITE_ATTRIBUTES)?;
        handle.require_writable_share()?;
        self.store.throttle().await;
        match handle.node.lock().attr.reparse_tag {
            0 => return Err(VfsError::NotReparsePoint),
            present if present != tag => return Err(VfsError::InvalidReparse),
            _ => {}
        }
        self.change_reparse(handle, 0, None)
    }

    fn check_reparse(&self, handle: &Handle, reparse: &ReparseData) -> Result<()> {
        handle.require_any(AccessMask::WRITE_DATA | AccessMask::WRITE_ATTRIBUTES)?;
        handle.require_writable_share()?;
        if reparse.tag == 0 || reparse.data.len() > DATA_MAX || handle.stream != 0 {
            return Err(VfsError::InvalidReparse);
        }
        if reparse.tag == REPARSE_TAG_SYMLINK {
            symlink_target(reparse)?;
            if self.store.head(ObjectId::data(handle.node.inode))?.size != 0 {
                return Err(VfsError::InvalidParameter);
            }
        }
        Ok(())
    }

    fn change_reparse(&self, handle: &Handle, tag: u32, row: Option<Vec<u8>>) -> Result<()> {
        let node = &handle.node;
        let mut state = handle.lock_open()?;
        if node.is_directory() && tag != 0 && !self.is_empty(node.inode)? {
            return Err(VfsError::NotEmpty);
        }
        let present = state.attr.reparse_tag;
        if tag != 0 && present != 0 && present != tag {
            return Err(VfsError::InvalidReparse);
        }
        let mut attr = state.attr.clone();
        attr.reparse_tag = tag;
        attr.changed = self.now();
        let mut txn = self.store.txn(handle.session());
        match row {
            Some(row) => txn.put(rows::REPARSE, rows::inode_key(node.inode), row),
            None => txn.delete(rows::REPARSE, rows::inode_key(node.inode)),
        }
        put_attr(&mut txn, node.inode, &mut attr);
        txn.note(node.inode, Aspect::Attributes);
        txn.commit()?;
        state.attr = attr;
        drop(state);
        let link = handle.link()?;
        self.tell(
            handle.parent_grant,
            link.directory,
            WatchFilter::ATTRIBUTES,
            WatchAction::Modified,
            &link.name,
        );
        Ok(())
    }
}

impl ReparseData {
    /// The row that keeps it.
    pub(crate) fn row(&self) -> Vec<u8> {
        let mut row = Writer::with_capacity(4 + self.data.len());
        row.u32(self.tag).bytes(&self.data);
        row.0
    }

    /// A symbolic link to `target`; relative unless it begins with a separator or a drive. Where it does not fit twice,
    /// there is no name for display.
    pub fn symlink(target: &str) -> Self {
        let relative = !target.starts_with(['\\', '/']) && target.as_bytes().get(1) != Some(&b':');
        let name: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let shown: &[u8] = if SYMLINK_HEADER_LEN + 2 * name.len() <= DATA_MAX {
            &name
        } else {
            &[]
        };
        let shown_len = u16::try_from(shown.len()).unwrap_or(u16::MAX);
        let mut data = Writer::with_capacity(SYMLINK_HEADER_LEN + 2 * name.len());
        data.u16(0)
            .u16(len)
            .u16(len)
            .u16(shown_len)
            .u32(if relative { SYMLINK_RELATIVE } else { 0 });
        data.bytes(&name).bytes(shown);
        Self {
            tag: REPARSE_TAG_SYMLINK,
            data: data.0,
        }
    }
}

/// Where a symbolic link leads, and whether relative to itself (MS-FSCC 2.1.2.4).
pub(crate) fn symlink_target(reparse: &ReparseData) -> Result<(String, bool)> {
    if reparse.tag != REPARSE_TAG_SYMLINK {
        return Err(VfsError::NotReparsePoint);
    }
    let mut reader = Reader::new(&reparse.data, "reparse points");
    parse_symlink(&mut reader).map_err(|_| VfsError::InvalidReparse)
}

fn parse_symlink(reader: &mut Reader<'_>) -> Result<(String, bool)> {
    let offset = usize::from(reader.u16()?);
    let len = usize::from(reader.u16()?);
    let (_print_offset, _print_len) = (reader.u16()?, reader.u16()?);
    let flags = reader.u32()?;
    reader.bytes(offset)?;
    let name = reader.bytes(len)?;
    let (units, odd) = name.as_chunks::<2>();
    if !odd.is_empty() || units.is_empty() {
        return Err(VfsError::InvalidReparse);
    }
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let target = String::from_utf16(&units).map_err(|_| VfsError::InvalidReparse)?;
    Ok((target, flags & SYMLINK_RELATIVE != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlink_data_holds_its_target() {
        let data = ReparseData::symlink("..\\other");
        assert_eq!(
            symlink_target(&data).unwrap(),
            ("..\\other".to_owned(), true)
        );
        assert!(!symlink_target(&ReparseData::symlink("\\abs")).unwrap().1);
    }

    #[test]
    fn refuses_every_cut_of_the_substitute_name() {
        let whole = ReparseData::symlink("target");
        for len in 0..SYMLINK_HEADER_LEN + 12 {
            let cut = ReparseData {
                tag: whole.tag,
                data: whole.data[..len].to_vec(),
            };
            assert!(symlink_target(&cut).is_err());
        }
    }
}
