//! Clones: a share as it was, as a share of its own, which shares all bytes with it until either is changed.

use std::sync::Arc;

use strongroom_store::View;

use crate::differences::joined_path;
use crate::rewind::Work;
use crate::works::Running;
use crate::{NewShare, Result, Rewound, SessionInfo, Share, Sid, Stat, Vfs, VfsError};

impl Vfs {
    /// Makes a new share of what another one was in a view: all names, contents, streams, attributes, rights and times.
    /// Contents are not copied, but for small files. What could not be made is in the report.
    ///
    /// Errors: those of [`Vfs::add_share`]; `InvalidParameter` for a view of the present, whose files may change meanwhile.
    pub async fn clone_share(
        &self,
        source: &Share,
        past: &View,
        new: NewShare,
    ) -> Result<(Arc<Share>, Rewound)> {
        if past.is_now() {
            return Err(VfsError::InvalidParameter);
        }
        let root = self.stat_at(source, past, "")?.ok_or(VfsError::NotFound)?;
        let share = self.add_share(NewShare {
            read_only: false,
            ..new.clone()
        })?;
        let session = self.begin_session(&SessionInfo {
            user: Sid::LOCAL_SYSTEM,
            user_name: "clone".to_owned(),
            address: String::new(),
            protocol: "Strongroom clone".to_owned(),
        })?;
        let mut work = Work::between(self, (source, &share), past.clone(), session);
        let running = self.running("clone", &share.name, session);
        let filled = work.fill(root, &running).await;
        let report = work.into_report();
        self.end_session(session)?;
        filled?;
        self.store.sync_all().await?;
        Ok((share, report))
    }
}

impl Work<'_> {
    /// Makes everything below the root, then puts back the directories' times, which that changed.
    async fn fill(&mut self, root: Stat, running: &Running) -> Result<()> {
        let mut directories = vec![(String::new(), root)];
        let mut place = 0;
        while let Some((directory, stat)) = directories.get(place).cloned() {
            place += 1;
            let entries = self.vfs.all_entries(&self.past, stat.inode)?;
            running.expect(entries.len());
            for entry in entries {
                running.step();
                let path = joined_path(&directory, &entry.name);
                match self.add(&path, &entry.stat).await {
                    Ok(()) => {
                        self.report.restored += 1;
                        self.report.bytes += entry.stat.size;
                    }
                    // Without room, or with the pool gone, nothing that follows could be made either.
                    Err(error @ (VfsError::NoSpace | VfsError::Offline(_))) => return Err(error),
                    Err(error) => {
                        self.report.failed.push((path, error));
                        continue;
                    }
                }
                if entry.stat.is_directory {
                    directories.push((path, entry.stat));
                }
            }
        }
        self.restore("", None, &root).await?;
        for (directory, _) in directories.iter().rev() {
            self.restore_times(directory).await?;
        }
        Ok(())
    }
}
