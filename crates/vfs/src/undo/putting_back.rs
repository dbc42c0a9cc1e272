//! What an undo does with each file, in the order that keeps them out of each other's way.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use strongroom_store::{Inode, View};

use super::{Item, Part, Place, UndoWanted, Undone};
use crate::differences::joined_path;
use crate::rewind::Work;
use crate::{AccessMask, Disposition, Handle, OpenRequest, Result, Stat, VfsError};

/// Names tried for older content beside a file.
const BESIDE_MAX: u32 = 1_000;

/// In this order: what is in the way goes first, content comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Remove,
    Rename,
    Recreate,
    Restore,
}

impl Step {
    pub(super) const ALL: [Self; 4] = [Self::Remove, Self::Rename, Self::Recreate, Self::Restore];
}

/// What is yet to give up the names that it has.
pub(super) fn leaving(items: &[Item]) -> HashSet<Inode> {
    let moved = items.iter().filter(|item| item.moved);
    moved.map(|item| item.inode).collect()
}

impl Work<'_> {
    pub(super) async fn undo(
        &mut self,
        step: Step,
        item: &Item,
        wanted: &UndoWanted,
        (report, leaving): (&mut Undone, &mut HashSet<Inode>),
    ) -> Result<()> {
        match (step, &item.now, &item.then) {
            (Step::Remove, Some((path, now)), None) => {
                if item.is_others() {
                    report.kept.push(path.clone());
                    return Ok(());
                }
                self.remove_all(item, now).await?;
                report.removed += 1;
                Ok(())
            }
            (Step::Rename, Some((_, now)), Some((_, then))) if item.moved => {
                leaving.remove(&item.inode);
                let several = now.links > 1 || then.links > 1;
                self.put_back_names(item, several, (report, leaving)).await
            }
            (Step::Recreate, None, Some((old, then))) => {
                let wanted = self.places_back(item)?;
                let path = wanted.first().unwrap_or(old);
                if self.is_back(path, then)? {
                    return Ok(());
                }
                let made = self.recreate(item, path, then).await?;
                for name in wanted.iter().skip(1) {
                    self.link(made, &self.free_name(name)?).await?;
                }
                report.restored += 1;
                report.bytes += then.size;
                Ok(())
            }
            (Step::Restore, Some((_, now)), Some((_, then))) => {
                self.put_back_parts(item, now, then, wanted, report).await
            }
            _ => Ok(()),
        }
    }

    /// A file of theirs goes, under all of its names.
    async fn remove_all(&self, item: &Item, now: &Stat) -> Result<()> {
        for place in self.vfs.places_of(self.share, &View::Now, item.inode)? {
            self.remove(&place.path, Some(now)).await?;
        }
        Ok(())
    }

    /// The paths that a file's old names are at now: its folders may have moved since, by whomever.
    fn places_back(&self, item: &Item) -> Result<Vec<String>> {
        let places = self.vfs.places_of(self.share, &item.view, item.inode)?;
        let back = |place: Place| -> Result<String> {
            let above = self
                .vfs
                .path_below(self.share, &View::Now, place.directory)?;
            Ok(above.map_or(place.path, |above| joined_path(&above, &place.name)))
        };
        places.into_iter().map(back).collect()
    }

    /// Gives a file back the names that it had. Nobody else changed them since, so whatever they are now is theirs.
    async fn put_back_names(
        &mut self,
        item: &Item,
        several: bool,
        (report, leaving): (&mut Undone, &HashSet<Inode>),
    ) -> Result<()> {
        let wanted: BTreeSet<_> = self.places_back(item)?.into_iter().collect();
        let places = self.vfs.places_of(self.share, &View::Now, item.inode)?;
        let now: BTreeSet<_> = places.into_iter().map(|place| place.path).collect();
        if now == wanted {
            // The folder above has its name back.
            return Ok(());
        }
        let (missing, excess) = (wanted.difference(&now), now.difference(&wanted));
        let mut excess = excess.into_iter();
        for path in missing {
            let free = self.room_for(item.inode, path, leaving).await?;
            if free != *path {
                report.beside.push(free.clone());
            }
            match excess.next() {
                Some(name) => self.rename_name(item.inode, name, &free).await?,
                None if several => self.link(item.inode, &free).await?,
                None => {}
            }
        }
        for name in excess {
            self.remove(name, item.now.as_ref().map(|(_, now)| now))
                .await?;
        }
        report.renamed += 1;
        Ok(())
    }

    /// Renames one of a file's names.
    async fn rename_name(&mut self, inode: Inode, name: &str, path: &str) -> Result<()> {
        let request = OpenRequest {
            access: AccessMask::FILE_READ | AccessMask::DELETE,
            ..self.request(name)
        };
        let handle = self.open(request).await?;
        let done = if handle.inode() == inode {
            self.rename_open(&handle, path).await
        } else {
            // Somebody was quicker.
            Err(VfsError::InUse)
        };
        self.vfs.close(&handle).await?;
        done
    }

    /// The path itself, which whoever is about to leave it makes free; one like it where somebody stays.
    async fn room_for(
        &mut self,
        inode: Inode,
        path: &str,
        leaving: &HashSet<Inode>,
    ) -> Result<String> {
        match self.vfs.stat_at(self.share, &View::Now, path)? {
            None => Ok(path.to_owned()),
            Some(there) if there.inode == inode => Ok(path.to_owned()),
            Some(there) if leaving.contains(&there.inode) => {
                self.make_way(path).await?;
                Ok(path.to_owned())
            }
            Some(_) => self.free_name(path),
        }
    }

    /// Whether an earlier undo, or somebody else, has brought a file back.
    fn is_back(&self, path: &str, then: &Stat) -> Result<bool> {
        let now = self.vfs.stat_at(self.share, &View::Now, path)?;
        let state = |stat: &Stat| (stat.size, stat.modified, stat.created);
        Ok(
            now.is_some_and(|now| match (now.is_directory, then.is_directory) {
                // What came back into it changed its other time.
                (true, true) => now.created == then.created,
                _ => state(&now) == state(then),
            }),
        )
    }

    async fn past_handle(&self, inode: Inode) -> Result<Arc<Handle>> {
        let mut request = OpenRequest {
            view: self.past.clone(),
            access: AccessMask::FILE_READ | AccessMask::ACCESS_SYSTEM_SECURITY,
            ..self.request("")
        };
        request.file_id = Some(inode);
        request.options.by_file_id = true;
        self.open(request).await
    }

    /// Makes a file anew under a name of its own, and gives it the wanted one, or one like it, when it is whole. What a
    /// crash left half made is made over.
    async fn recreate(&self, item: &Item, path: &str, then: &Stat) -> Result<Inode> {
        if then.is_directory {
            return self.recreate_directory(item, path, then).await;
        }
        let making = format!("{path}.undo-{}", item.inode.0);
        let mut request = self.request(&making);
        request.disposition = Disposition::OverwriteIf;
        let handle = self.open(request).await?;
        let past = self.past_handle(item.inode).await?;
        let made = async {
            self.restore_open(&handle, &past, then, true).await?;
            let path = self.free_name(path)?;
            self.vfs.rename(&handle, &path, false).await
        };
        let made = made.await;
        self.vfs.close(&past).await?;
        self.vfs.close(&handle).await?;
        made?;
        Ok(handle.inode())
    }

    async fn recreate_directory(&self, item: &Item, path: &str, then: &Stat) -> Result<Inode> {
        let path = self.free_name(path)?;
        let mut request = self.request(&path);
        request.disposition = Disposition::Create;
        request.options.directory = true;
        let handle = self.open(request).await?;
        let past = self.past_handle(item.inode).await?;
        let made = self.restore_open(&handle, &past, then, false).await;
        self.vfs.close(&past).await?;
        self.vfs.close(&handle).await?;
        made?;
        Ok(handle.inode())
    }

    async fn put_back_parts(
        &self,
        item: &Item,
        now: &Stat,
        then: &Stat,
        wanted: &UndoWanted,
        report: &mut Undone,
    ) -> Result<()> {
        if item.is_back {
            return Ok(());
        }
        if item.overtaken() {
            if !wanted.keep_both {
                report.kept.push(item.path());
                return Ok(());
            }
            let handle = self.open_inode(item.inode).await?;
            let path = self.vfs.path(&handle)?;
            self.vfs.close(&handle).await?;
            let beside = self.free_name(&beside_name(&path))?;
            self.recreate(item, &beside, then).await?;
            report.beside.push(beside);
            return Ok(());
        }
        if !item.goes_back() {
            return Ok(());
        }
        let handle = self.open_inode(item.inode).await?;
        let path = self.vfs.path(&handle)?;
        self.vfs.close(&handle).await?;
        let handle = self.open_now(&path, Some(now)).await?;
        let past = self.past_handle(item.inode).await?;
        // Content that they did not write stays, whatever it is.
        let content = item.run(Part::Content).open().is_some();
        let done = self.restore_open(&handle, &past, then, content).await;
        self.vfs.close(&past).await?;
        self.vfs.close(&handle).await?;
        done?;
        report.changed += 1;
        report.bytes += then.size;
        Ok(())
    }

    /// A path that nothing has: this one, or one like it.
    fn free_name(&self, path: &str) -> Result<String> {
        let mut candidate = path.to_owned();
        for number in 2..BESIDE_MAX {
            if self
                .vfs
                .stat_at(self.share, &View::Now, &candidate)?
                .is_none()
            {
                return Ok(candidate);
            }
            candidate = numbered(path, number);
        }
        Err(VfsError::Exists)
    }
}

/// `report.txt` becomes `report (before undo).txt`.
fn beside_name(path: &str) -> String {
    insert(path, " (before undo)")
}

fn numbered(path: &str, number: u32) -> String {
    insert(path, &format!(" ({number})"))
}

/// Puts a text in front of a name's extension.
fn insert(path: &str, text: &str) -> String {
    let (above, name) = path
        .rsplit_once('\\')
        .map_or((None, path), |(above, name)| (Some(above), name));
    let named = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}{text}.{extension}"),
        _ => format!("{name}{text}"),
    };
    above.map_or(named.clone(), |above| joined_path(above, &named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beside_keeps_its_extension() {
        assert_eq!(beside_name("a\\report.txt"), "a\\report (before undo).txt");
        assert_eq!(beside_name(".profile"), ".profile (before undo)");
        assert_eq!(numbered("a\\b", 2), "a\\b (2)");
    }
}
