//! Making segments durable; callers that want the same segments share one sync.

use std::sync::Arc;

use parking_lot::MutexGuard;
use strongroom_device::DeviceError;

use crate::disk::Disk;
use crate::pool::Pool;
use crate::segment::{SEGMENT_DIR, Segment, Shard, SyncState};
use crate::{Result, SegmentId};

/// A segment being synced, and how many appends the sync covers.
type Held<'a> = (&'a Arc<Segment>, u64, MutexGuard<'a, SyncState>);

impl Pool {
    /// Makes all appends to these segments durable that were made before the call. Segments that are gone are passed
    /// over.
    ///
    /// # Errors
    /// A disk that fails is set aside; an error means that the data is not redundant enough to go on.
    pub fn sync_segments(&self, segments: &[SegmentId]) -> Result<()> {
        let mut dirty: Vec<Arc<Segment>> = segments
            .iter()
            .filter_map(|segment| self.segments.get(*segment))
            .filter(|segment| !segment.is_synced())
            .collect();
        if dirty.is_empty() {
            return self.refuse_if_stopped();
        }
        // Always in one order, so that two callers never wait for each other.
        dirty.sort_unstable_by_key(|segment| segment.id);
        dirty.dedup_by_key(|segment| segment.id);
        let mut outcome = Ok(());
        self.env
            .block_in_place(&mut || outcome = self.sync_dirty(&dirty));
        outcome
    }

    fn sync_dirty(&self, dirty: &[Arc<Segment>]) -> Result<()> {
        let mut held = Vec::with_capacity(dirty.len());
        for segment in dirty {
            let state = segment.sync.lock();
            if !segment.is_synced() {
                held.push((segment, segment.appends(), state));
            }
        }
        if !held.is_empty() {
            self.sync_held(&mut held)?;
        }
        self.refuse_if_stopped()
    }

    fn sync_held(&self, held: &mut [Held<'_>]) -> Result<()> {
        let mut tasks = Vec::new();
        let mut new_on: Vec<Arc<Disk>> = Vec::new();
        for (segment, _, state) in held.iter() {
            for shard in segment.live_shards() {
                let disk = &shard.disk;
                if !state.dir_synced && !new_on.iter().any(|known| Arc::ptr_eq(known, disk)) {
                    new_on.push(Arc::clone(disk));
                }
                let segment = Arc::clone(segment);
                let disk = Arc::clone(disk);
                tasks.push(SyncTask::new(disk, move || {
                    self.sync_shard(&segment, &shard)
                }));
            }
        }
        for disk in new_on {
            let Some(device) = disk.live().cloned() else {
                continue;
            };
            tasks.push(SyncTask::new(disk, move || device.sync_dir(SEGMENT_DIR)));
        }
        self.run_syncs(tasks)?;
        for (segment, appends, state) in held {
            state.dir_synced = true;
            segment.set_synced(*appends);
        }
        Ok(())
    }

    /// A shard that moves meanwhile has no file any more. The one in its place was made durable before that.
    fn sync_shard(
        &self,
        segment: &Arc<Segment>,
        shard: &Arc<Shard>,
    ) -> std::result::Result<(), DeviceError> {
        let synced = segment
            .file(shard, &self.handles)
            .and_then(|file| file.sync());
        match synced {
            Err(DeviceError::NotFound { .. }) if !segment.has(shard) => Ok(()),
            other => other,
        }
    }

    /// Runs them side by side; disks that failed are set aside once all are done.
    fn run_syncs(&self, mut tasks: Vec<SyncTask<'_>>) -> Result<()> {
        let mut works: Vec<_> = tasks
            .iter_mut()
            .map(|task| || task.outcome = (task.sync)())
            .collect();
        let mut calls: Vec<&mut (dyn FnMut() + Send)> = works
            .iter_mut()
            .map(|work| work as &mut (dyn FnMut() + Send))
            .collect();
        self.env.run_all(&mut calls);
        drop(works);
        for task in tasks {
            if let Err(error) = task.outcome {
                self.set_aside_disk(&task.disk, &error)?;
            }
        }
        Ok(())
    }
}

/// One file or directory to sync, and what came of it.
struct SyncTask<'a> {
    disk: Arc<Disk>,
    sync: Box<dyn FnMut() -> std::result::Result<(), DeviceError> + Send + 'a>,
    outcome: std::result::Result<(), DeviceError>,
}

impl<'a> SyncTask<'a> {
    fn new(
        disk: Arc<Disk>,
        sync: impl FnMut() -> std::result::Result<(), DeviceError> + Send + 'a,
    ) -> Self {
        Self {
            disk,
            sync: Box::new(sync),
            outcome: Ok(()),
        }
    }
}
