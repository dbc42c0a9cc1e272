//! Answers on their way to one client, from whichever task made them.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Buffers at least this large are worth keeping for the next answer.
const KEEP_BYTES_MIN: usize = 16 << 10;
/// So many large buffers are kept a connection.
const KEEP_COUNT_MAX: usize = 8;

/// One answer, with its 4 bytes of transport header. Its buffer is used again once this is dropped.
#[derive(Debug)]
pub struct Frame {
    buffer: Vec<u8>,
    start: usize,
    pool: Option<Arc<Shared>>,
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.recycle(std::mem::take(&mut self.buffer));
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    spare: Vec<Vec<u8>>,
    closed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
}

impl Shared {
    /// An empty buffer, perhaps one with room (and old bytes cut off) from an earlier answer.
    pub(crate) fn buffer(&self, bytes: usize) -> Vec<u8> {
        let spare = if bytes >= KEEP_BYTES_MIN {
            self.queue.lock().spare.pop()
        } else {
            None
        };
        let mut buffer = spare.unwrap_or_default();
        buffer.clear();
        buffer.reserve(bytes);
        buffer
    }

    fn recycle(&self, buffer: Vec<u8>) {
        if buffer.capacity() >= KEEP_BYTES_MIN {
            let mut queue = self.queue.lock();
            if queue.spare.len() < KEEP_COUNT_MAX && !queue.closed {
                queue.spare.push(buffer);
            }
        }
    }

    /// Queues an answer whose first byte is at `start`.
    pub(crate) fn push(self: &Arc<Self>, buffer: Vec<u8>, start: usize) {
        let pool = (buffer.capacity() >= KEEP_BYTES_MIN).then(|| Arc::clone(self));
        let frame = Frame {
            buffer,
            start,
            pool,
        };
        let mut queue = self.queue.lock();
        if !queue.closed {
            queue.frames.push_back(frame);
            drop(queue);
            self.wake.notify_one();
        }
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
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.spare.clear();
        drop(queue);
        self.wake.notify_one();
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
        // Dropping a frame takes the lock again.
        let frames = std::mem::take(&mut self.shared.queue.lock().frames);
        drop(frames);
    }
}
