//! Answers on their way to one client, from whichever task made them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::buffers::{Buffers, KEEP_BYTES_MIN};

/// Unsent bytes beyond which requests that waited are not carried on, as a small request can ask for megabytes.
const UNSENT_MAX: usize = 16 << 20;

/// One answer, with its 4 bytes of transport header. Its buffer is used again once this is dropped.
#[derive(Debug)]
pub struct Frame {
    buffer: Vec<u8>,
    start: usize,
    unsent: Unsent,
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if self.buffer.capacity() >= KEEP_BYTES_MIN {
            let buffer = std::mem::take(&mut self.buffer);
            self.unsent.shared.buffers.recycle(buffer);
        }
    }
}

/// Bytes that the client has not taken yet, or will be sent soon.
#[derive(Debug)]
pub(crate) struct Unsent {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.shared.unsent.fetch_sub(self.bytes, Ordering::AcqRel);
        if self.shared.waiting.load(Ordering::Acquire) > 0 {
            self.shared.room.notify_waiters();
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// Bytes queued so far.
    sent: u64,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    buffers: Arc<Buffers>,
    unsent: AtomicUsize,
    /// Told when there are fewer unsent bytes; how many wait for that.
    room: Notify,
    waiting: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(buffers: Arc<Buffers>) -> Self {
        Self {
            queue: Mutex::default(),
            wake: Notify::new(),
            buffers,
            unsent: AtomicUsize::new(0),
            room: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Queues an answer whose first byte is at `start`.
    pub(crate) fn push(self: &Arc<Self>, buffer: Vec<u8>, start: usize) {
        let unsent = self.count(buffer.len().saturating_sub(start));
        let frame = Frame {
            buffer,
            start,
            unsent,
        };
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        queue.sent += frame.as_ref().len() as u64;
        queue.frames.push_back(frame);
        drop(queue);
        self.wake.notify_one();
    }

    pub(crate) fn sent(&self) -> u64 {
        self.queue.lock().sent
    }

    fn count(self: &Arc<Self>, bytes: usize) -> Unsent {
        self.unsent.fetch_add(bytes, Ordering::AcqRel);
        let shared = Arc::clone(self);
        Unsent { shared, bytes }
    }

    /// Waits until so many bytes may be made for the client, and counts them. Whoever comes when nothing is unsent gets
    /// any number; on a closed outbox nobody waits.
    pub(crate) async fn reserve(self: &Arc<Self>, bytes: usize) -> Unsent {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            self.waiting.fetch_add(1, Ordering::AcqRel);
            room.as_mut().enable();
            let got = self.try_reserve(bytes);
            if got.is_none() {
                room.await;
            }
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            if let Some(unsent) = got {
                return unsent;
            }
        }
    }

    fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<Unsent> {
        if self.is_closed() {
            return Some(self.count(bytes));
        }
        let fits = |unsent: usize| {
            let sum = unsent.saturating_add(bytes);
            (unsent == 0 || sum <= UNSENT_MAX).then_some(sum)
        };
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.unsent.fetch_update(set, fetch, fits).ok()?;
        let shared = Arc::clone(self);
        Some(Unsent { shared, bytes })
    }

    /// Has the sender look again.
    pub(crate) fn nudge(&self) {
        self.wake.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    /// Nothing is queued from now on; what is queued can still be drained.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.wake.notify_one();
        self.room.notify_waiters();
    }
}

/// The sending half of one client's connection.
#[derive(Debug)]
pub struct Outbox {
    shared: Arc<Shared>,
}

impl Outbox {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Moves all waiting frames to the end of `frames`, in order. False once the outbox is closed and empty.
    pub fn drain(&self, frames: &mut Vec<Frame>) -> bool {
        let mut queue = self.shared.queue.lock();
        frames.extend(queue.frames.drain(..));
        !(queue.closed && frames.is_empty())
    }

    /// Returns when there may be something to drain or the outbox was closed. Cancel safe; one caller at a time.
    pub async fn ready(&self) {
        self.shared.wake.notified().await;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.close();
        // Dropping a frame may wake others, which look at the queue.
        let frames = std::mem::take(&mut self.shared.queue.lock().frames);
        drop(frames);
    }
}
