//! Closing transaction groups and making them durable.
//!
//! Two tasks. The *ticker* wakes when something changed, waits one interval, brings all dirty data into segments and
//! syncs those, then asks for a commit; when nothing changed any more it leaves one watermark and sleeps. The
//! *committer* serves requests, all that are there at once with one commit: publish, sync segments, close the group,
//! write and sync every copy of the log side by side, wake who waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_device::{DeviceError, EnvExt as _};
use tokio::sync::oneshot;

use crate::data::{Object, Published, SealedLayers};
use crate::engine::Engine;
use crate::log::{LogCopy, Prepared};
use crate::{ObjectId, Result, StoreError, Txg};

/// Payload that may ride in one record.
const RECORD_PAYLOAD_MAX: usize = 256 << 10;

/// What a waiter wants durable.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// All rows so far, and the data of these objects.
    Objects(Vec<ObjectId>),
    /// All rows and all data.
    Everything,
    /// All rows, and these objects as they were sealed; their segments are synced.
    Sealed(Vec<Arc<Object>>),
    /// Nothing but a mark that the last commit is durable.
    Watermark,
}

#[derive(Debug)]
pub(crate) struct Request {
    wanted: Wanted,
    done: oneshot::Sender<Result<()>>,
}

/// Requests that wait for the committer.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: Vec<Request>,
    /// The committer has gone.
    ended: bool,
}

/// A closed group with its frames.
#[derive(Debug)]
struct Closing {
    txg: Txg,
    prepared: Arc<Prepared>,
    watermark_only: bool,
}

/// What became of a write to one copy of the log.
type Outcome = (Result<(), DeviceError>, Arc<LogCopy>);

/// Objects that could not be stored or published, with the reason.
pub(crate) type Failures = HashMap<ObjectId, StoreError>;

impl Engine {
    /// Asks the committer and waits for its answer.
    pub(crate) async fn request(&self, wanted: Wanted) -> Result<()> {
        let (done, answer) = oneshot::channel();
        {
            let mut requests = self.requests.lock();
            if requests.ended {
                return self.ended();
            }
            requests.waiting.push(Request { wanted, done });
        }
        self.wake.committer.notify_one();
        answer.await.unwrap_or_else(|_| self.ended())
    }

    /// Why there is no committer any more.
    fn ended(&self) -> Result<()> {
        self.writable_still()?;
        Err(StoreError::Closed)
    }

    /// Answers who waits for a commit that nobody will make.
    pub(crate) fn end_requests(&self) {
        let waiting = {
            let mut requests = self.requests.lock();
            requests.ended = true;
            std::mem::take(&mut requests.waiting)
        };
        drop(waiting);
    }

    /// Serves requests until the store stops.
    pub(crate) async fn run_committer(self: Arc<Self>) {
        let mut unwritten = None;
        loop {
            let requests = self.take_requests();
            if requests.is_empty() {
                if self.requests.lock().ended {
                    return;
                }
                self.wake.committer.notified().await;
                continue;
            }
            let (result, failures) = self.commit(&requests, &mut unwritten).await;
            for request in requests {
                let answer = result
                    .clone()
                    .and_then(|()| own_failure(&request, &failures));
                // A waiter that went away needs no answer.
                drop(request.done.send(answer));
            }
        }
    }

    /// What waits now. Once the store stops and nothing waits, nothing is taken on any more.
    fn take_requests(&self) -> Vec<Request> {
        let mut requests = self.requests.lock();
        requests.ended = requests.waiting.is_empty() && self.stopping();
        std::mem::take(&mut requests.waiting)
    }

    /// Commits what is requested. A group that found no space in the log is `unwritten` afterwards, and comes first the
    /// next time.
    async fn commit(
        self: &Arc<Self>,
        requests: &[Request],
        unwritten: &mut Option<Closing>,
    ) -> (Result<()>, Failures) {
        if let Err(error) = self.write_first(unwritten).await {
            return (Err(error), Failures::new());
        }
        let work = Work::of(requests);
        let engine = Arc::clone(self);
        let closing = self
            .env
            .run_blocking(move || engine.close_with(&work))
            .await;
        match closing {
            Err(error) => (Err(error), Failures::new()),
            Ok((None, failures)) => (self.writable_still(), failures),
            Ok((Some(closing), failures)) => {
                *unwritten = Some(closing);
                (self.write_first(unwritten).await, failures)
            }
        }
    }

    /// Writes the group that waits to be written, if there is one.
    async fn write_first(self: &Arc<Self>, unwritten: &mut Option<Closing>) -> Result<()> {
        let Some(closing) = unwritten else {
            return Ok(());
        };
        let written = self.write_log(closing).await;
        if !matches!(written, Err(StoreError::NoSpace)) {
            *unwritten = None;
        }
        written
    }

    /// Nothing to write says nothing about what could not be written before.
    fn writable_still(&self) -> Result<()> {
        self.failure()
            .map_or(Ok(()), |why| Err(StoreError::Offline { why }))
    }

    /// Publishes, syncs segments, closes the group and cuts its frames.
    fn close_with(&self, work: &Work) -> Result<(Option<Closing>, Failures)> {
        self.writable_still()?;
        self.stop_with_pool()?;
        self.follow_members()?;
        let mut failures = Failures::new();
        let mut published = Published::default();
        if work.publishes() {
            let _flushing = self.flushing.lock();
            self.publish_all(work, &mut published, &mut failures);
        }
        published.segments.sort_unstable();
        published.segments.dedup();
        self.sync_segments(&published.segments)?;
        let closing = match self.close_group() {
            Some((txg, time, body)) => {
                let prepared = self.log.prepare(txg, time, self.durable_txg(), &body);
                Some(Closing {
                    txg,
                    prepared: Arc::new(prepared),
                    watermark_only: false,
                })
            }
            None if work.watermark => {
                let txg = self.durable_txg();
                let prepared = self.log.prepare_watermark(txg, self.group_time());
                Some(Closing {
                    txg,
                    prepared: Arc::new(prepared),
                    watermark_only: true,
                })
            }
            None => None,
        };
        Ok((closing, failures))
    }

    fn publish_all(&self, work: &Work, published: &mut Published, failures: &mut Failures) {
        let mut objects = work.sealed.clone();
        let wanted = if work.everything {
            self.objects.all()
        } else {
            self.cannot_ride(&work.objects, failures)
        };
        objects.extend(self.flush_objects(&wanted, failures));
        for object in objects {
            let txg = self.join();
            if let Err(error) = self.publish(&object, *txg, published) {
                tracing::error!(object = ?object.id, %error, "cannot publish file data");
                failures.insert(object.id, error);
            }
        }
    }

    /// Lets small payload ride in the record; returns the objects that must go to segments.
    fn cannot_ride(&self, objects: &[ObjectId], failures: &mut Failures) -> Vec<Arc<Object>> {
        let mut budget = RECORD_PAYLOAD_MAX;
        let mut others = Vec::new();
        for id in objects {
            let Some(object) = self.objects.get(*id) else {
                continue;
            };
            let txg = self.join();
            match self.log_payload(&object, *txg, &mut budget) {
                Ok(true) => {}
                Ok(false) => others.push(object),
                Err(error) => {
                    failures.insert(*id, error);
                }
            }
        }
        others
    }

    /// Commits the rows so far on this thread, before the tasks run.
    pub(crate) fn commit_first(&self) -> Result<()> {
        let (closing, _) = self.close_with(&Work::default())?;
        let Some(closing) = closing else {
            return Ok(());
        };
        let write = |copy: Arc<LogCopy>| (closing.prepared.write(&copy, false), copy);
        let outcomes = self.log.copies().into_iter().map(write).collect();
        self.log_written(outcomes)?;
        self.follow_members()?;
        self.now_durable(closing.txg);
        Ok(())
    }

    /// Writes the frames to every copy side by side.
    ///
    /// # Errors
    /// `NoSpace` when a copy's disk is full: the same frames are to be written again, before any others.
    async fn write_log(self: &Arc<Self>, closing: &Closing) -> Result<()> {
        let skip_sync = self.options.planted.skip_log_sync;
        let copies = self.log.copies();
        let mut writes = Vec::with_capacity(copies.len());
        for copy in &copies {
            let (copy, prepared) = (Arc::clone(copy), Arc::clone(&closing.prepared));
            writes.push(
                self.env
                    .run_blocking(move || prepared.write(&copy, skip_sync)),
            );
        }
        let mut outcomes = Vec::with_capacity(copies.len());
        for (write, copy) in writes.into_iter().zip(copies) {
            outcomes.push((write.await, copy));
        }
        self.log_written(outcomes)?;
        if self.log.epoch() != self.pool.epoch() {
            let engine = Arc::clone(self);
            self.env
                .run_blocking(move || engine.follow_members())
                .await?;
        }
        if !closing.watermark_only {
            self.now_durable(closing.txg);
        }
        Ok(())
    }

    /// Judges what became of a write to every copy. Copies that failed are set aside with their disks.
    fn log_written(&self, outcomes: Vec<Outcome>) -> Result<()> {
        let (mut written, mut full) = (0, 0);
        for (outcome, copy) in outcomes {
            match outcome {
                Ok(()) => written += 1,
                Err(error @ DeviceError::NoSpace { .. }) => {
                    tracing::warn!(%error, "a log copy cannot grow");
                    full += 1;
                }
                Err(error) => self.log_copy_failed(&copy, &error)?,
            }
        }
        if full > 0 {
            self.give_ballast();
            self.wake.cleaner.notify_one();
            return Err(StoreError::NoSpace);
        }
        if written == 0 {
            return Err(self.fail("no copy of the log can be written".into()));
        }
        Ok(())
    }

    fn now_durable(&self, txg: Txg) {
        self.durable.store(txg.0, Ordering::Release);
        self.logged_durable(txg);
        self.unmarked.store(true, Ordering::Release);
        // The ticker leaves the watermark, and the feeder sees to it that the log does not grow old.
        self.wake.ticker.notify_one();
        self.wake.feeder.notify_one();
    }

    /// Commits what changed, once an interval, until the store stops.
    pub(crate) async fn run_ticker(self: Arc<Self>) {
        while !self.stopping() {
            self.wake.ticker.notified().await;
            while !self.stopping() {
                self.nap(self.options.txg_interval, &self.wake.hurry).await;
                if self.wake.dirty.swap(false, Ordering::AcqRel) {
                    self.tick().await;
                } else {
                    self.leave_watermark().await;
                    break;
                }
            }
        }
    }

    async fn tick(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        let (sealed, flushed) = self.env.run_blocking(move || engine.flush_all()).await;
        // The rows, and what could be stored, do not wait for what could not.
        let committed = self.request(Wanted::Sealed(sealed)).await;
        if let Err(error) = flushed.and(committed) {
            tracing::warn!(%error, "the periodic commit failed");
            if self.failure().is_none() {
                // What could not be stored waits for the next interval.
                self.mark_dirty();
            }
        }
    }

    /// Brings all dirty data into segments and syncs those, without holding up commits on demand. Returns what may be
    /// published, and what went wrong with the rest.
    fn flush_all(&self) -> (Vec<Arc<Object>>, Result<()>) {
        self.refresh_space();
        let mut layers = SealedLayers::default();
        let mut failures = Failures::new();
        for chunk in self.objects.all().chunks(256) {
            let _flushing = self.flushing.lock();
            let sealed = self.flush_objects(chunk, &mut failures);
            layers.add(sealed);
        }
        // A commit on demand may seal or publish some of these meanwhile; it syncs what it publishes itself.
        if let Err(error) = self.sync_segments(layers.segments()) {
            return (Vec::new(), Err(error));
        }
        layers.mark_synced();
        let failed = failures.len();
        let failure = failures.into_values().next().map_or(Ok(()), |error| {
            tracing::error!(failed, %error, "file data cannot be stored");
            Err(error)
        });
        (layers.into_objects(), failure)
    }

    async fn leave_watermark(&self) {
        if self.unmarked.swap(false, Ordering::AcqRel)
            && let Err(error) = self.request(Wanted::Watermark).await
        {
            tracing::warn!(%error, "cannot leave a watermark");
        }
    }
}

/// What the requests of one commit want together.
#[derive(Debug, Default)]
struct Work {
    objects: Vec<ObjectId>,
    sealed: Vec<Arc<Object>>,
    everything: bool,
    watermark: bool,
}

impl Work {
    fn of(requests: &[Request]) -> Self {
        let mut work = Self::default();
        for request in requests {
            match &request.wanted {
                Wanted::Objects(objects) => work.objects.extend_from_slice(objects),
                Wanted::Everything => work.everything = true,
                Wanted::Sealed(objects) => work.sealed.extend(objects.iter().cloned()),
                Wanted::Watermark => work.watermark = true,
            }
        }
        work.objects.sort_unstable();
        work.objects.dedup();
        work
    }

    fn publishes(&self) -> bool {
        self.everything || !self.objects.is_empty() || !self.sealed.is_empty()
    }
}

/// What went wrong with what this request asked for.
fn own_failure(request: &Request, failures: &Failures) -> Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let failure = match &request.wanted {
        Wanted::Objects(objects) => objects.iter().find_map(|object| failures.get(object)),
        Wanted::Everything | Wanted::Sealed(_) => failures.values().next(),
        Wanted::Watermark => None,
    };
    failure.map_or(Ok(()), |error| Err(error.clone()))
}
