//! Damaged file data by the names that people know.

use strongroom_store::{Inode, LostRange, View};

use crate::{Result, Vfs, VfsError};

/// Bytes of a file that no disk gives any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostFile {
    /// `share\directory\file`, with `:stream` for a stream; the file's number where no name leads to it.
    pub path: String,
    pub offset: u64,
    pub len: u64,
    /// Only older states of the file have these bytes.
    pub past: bool,
}

impl Vfs {
    /// What the last scrub found and could not repair, each file with its first name.
    pub fn lost_files(&self) -> Vec<LostFile> {
        let lost = self.store.scrub_status().lost;
        lost.iter().map(|range| self.lost_file(range)).collect()
    }

    fn lost_file(&self, range: &LostRange) -> LostFile {
        let inode = range.object.inode;
        let unnamed = || format!("file {}", inode.0);
        let mut path = self.known_path(inode).unwrap_or_else(|_| unnamed());
        if range.object.stream != 0 {
            let streams = self.stream_rows(&View::Now, inode).unwrap_or_default();
            let stream = streams
                .into_iter()
                .find(|(id, _)| *id == range.object.stream);
            path.push(':');
            path.push_str(
                &stream.map_or_else(|| range.object.stream.to_string(), |(_, name)| name),
            );
        }
        LostFile {
            path,
            offset: range.offset,
            len: range.len,
            past: range.past,
        }
    }

    /// The path of an inode from its share's name on.
    fn known_path(&self, inode: Inode) -> Result<String> {
        let shares = self.shares();
        let (mut names, mut at) = (Vec::new(), inode);
        for _ in 0..crate::types::PATH_MAX {
            if let Some(share) = shares.iter().find(|share| share.root == at) {
                names.push(share.name.clone());
                names.reverse();
                return Ok(names.join("\\"));
            }
            let (parent, name) = self.first_name(&View::Now, at)?;
            if name.is_empty() || parent == at {
                break;
            }
            names.push(name);
            at = parent;
        }
        Err(VfsError::NotFound)
    }
}
