//! Times and DOS attributes (FileBasicInformation, MS-FSA 2.1.5.15.2).

use strongroom_store::{Aspect, ObjectId};

use crate::rows::{Attr, AttrFlags};
use crate::vfs::put_attr;
use crate::watch::{WatchAction, WatchFilter};
use crate::{AccessMask, DosAttributes, FileTime, Handle, Result, SetTimes, Vfs, VfsError};

impl Vfs {
    /// Sets the times that are given, exactly; and stops or restarts their changing through this handle.
    pub async fn set_times(&self, handle: &Handle, times: SetTimes) -> Result<()> {
        handle.require(AccessMask::WRITE_ATTRIBUTES)?;
        handle.require_writable_share()?;
        self.freeze(handle, &times);
        let SetTimes {
            created,
            accessed,
            modified,
            changed,
            ..
        } = times;
        if [created, accessed, modified, changed]
            .iter()
            .all(Option::is_none)
        {
            return Ok(());
        }
        self.store.throttle().await;
        self.change_attr(handle, times_filter(&times), |attr| {
            attr.created = created.unwrap_or(attr.created);
            attr.accessed = accessed.unwrap_or(attr.accessed);
            if changed.is_none() && !handle.frozen.lock().changed {
                attr.changed = self.now();
            }
            attr.changed = changed.unwrap_or(attr.changed);
            match modified {
                Some(time) => self.set_modified(handle, attr, time),
                None => Ok(()),
            }
        })
    }

    /// What the handle has written counts as written now, unless its client keeps the time still.
    pub async fn touch(&self, handle: &Handle) -> Result<()> {
        handle.check_open()?;
        handle.require_writable_share()?;
        if handle.frozen.lock().modified || handle.stream != 0 {
            return Ok(());
        }
        let now = self.now();
        self.change_attr(handle, WatchFilter::LAST_WRITE, |attr| {
            self.put_modified(handle, attr, now)
        })
    }

    fn set_modified(&self, handle: &Handle, attr: &mut Attr, time: FileTime) -> Result<()> {
        // A time set by the client is not changed by later writes of the same handle (MS-FSA 2.1.5.15.2).
        handle.frozen.lock().modified = true;
        self.put_modified(handle, attr, time)
    }

    /// The modification time lies with the data, where the store can hold it.
    fn put_modified(&self, handle: &Handle, attr: &mut Attr, time: FileTime) -> Result<()> {
        let object = ObjectId::data(handle.node.inode);
        attr.modified = time;
        if attr.is_directory() {
            return Ok(());
        }
        let written = self
            .store
            .head_if_exists(object)?
            .is_some_and(|head| head.mtime.0 != 0);
        let exact = time.to_timestamp().filter(|exact| exact.0 != 0);
        attr.flags.set(AttrFlags::OWN_MODIFIED, exact.is_none());
        if let Some(exact) = exact.filter(|_| written) {
            self.store.set_mtime(handle.session(), object, exact)?;
        }
        Ok(())
    }

    fn freeze(&self, handle: &Handle, times: &SetTimes) {
        let mut frozen = handle.frozen.lock();
        frozen.accessed = (frozen.accessed || times.freeze.accessed) && !times.thaw.accessed;
        frozen.modified = (frozen.modified || times.freeze.modified) && !times.thaw.modified;
        frozen.changed = (frozen.changed || times.freeze.changed) && !times.thaw.changed;
    }

    /// Sets the DOS attributes; 0 leaves them, NORMAL alone clears them.
    ///
    /// Errors: `InvalidParameter` for DIRECTORY on a file and TEMPORARY on a directory.
    pub async fn set_attributes(&self, handle: &Handle, attributes: DosAttributes) -> Result<()> {
        handle.require(AccessMask::WRITE_ATTRIBUTES)?;
        handle.require_writable_share()?;
        if attributes.0 == 0 {
            return Ok(());
        }
        let is_directory = handle.node.is_directory();
        let wrong = if is_directory {
            DosAttributes::TEMPORARY
        } else {
            DosAttributes::DIRECTORY
        };
        if attributes.contains(wrong) {
            return Err(VfsError::InvalidParameter);
        }
        self.store.throttle().await;
        self.change_attr(handle, WatchFilter::ATTRIBUTES, |attr| {
            let kept = attr.dos.0 & !DosAttributes::SETTABLE.0;
            attr.dos = DosAttributes(kept | (attributes.0 & DosAttributes::SETTABLE.0));
            if !handle.frozen.lock().changed {
                attr.changed = self.now();
            }
            Ok(())
        })
    }

    /// Changes the attribute row in one transaction and tells watchers.
    pub(crate) fn change_attr(
        &self,
        handle: &Handle,
        filter: WatchFilter,
        change: impl FnOnce(&mut Attr) -> Result<()>,
    ) -> Result<()> {
        let node = &handle.node;
        let mut state = handle.lock_open()?;
        let mut attr = state.attr.clone();
        change(&mut attr)?;
        let mut txn = self.store.txn(handle.session());
        put_attr(&mut txn, node.inode, &mut attr);
        txn.note(node.inode, Aspect::Attributes);
        txn.commit()?;
        state.attr = attr;
        drop(state);
        let link = handle.link()?;
        self.tell(
            handle.parent_grant,
            link.directory,
            filter,
            WatchAction::Modified,
            &link.name,
        );
        Ok(())
    }
}

fn times_filter(times: &SetTimes) -> WatchFilter {
    let parts = [
        (times.created.is_some(), WatchFilter::CREATION),
        (times.accessed.is_some(), WatchFilter::LAST_ACCESS),
        (times.modified.is_some(), WatchFilter::LAST_WRITE),
        (times.changed.is_some(), WatchFilter::ATTRIBUTES),
    ];
    parts
        .iter()
        .filter(|(given, _)| *given)
        .fold(WatchFilter(0), |all, (_, part)| all.union(*part))
}
