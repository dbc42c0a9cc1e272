//! Answers on their way to one client, from whichever task made them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<Vec<u8>>,
    closed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    /// Calls that are not answered yet, and the bytes that they hold.
    calls: AtomicUsize,
    bytes: AtomicUsize,
}

impl Shared {
    pub(crate) fn push(&self, record: Vec<u8>) {
        let mut queue = self.queue.lock();
        if !queue.closed {
            queue.records.push_back(record);
            drop(queue);
            self.wake.notify_one();
        }
    }

    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.wake.notify_one();
    }

    pub(crate) fn begin_call(self: &Arc<Self>, bytes: usize) -> UnderWay {
        self.calls.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        UnderWay {
            shared: Arc::clone(self),
            bytes,
        }
    }

    pub(crate) fn under_way(&self) -> (usize, usize) {
        let calls = self.calls.load(Ordering::Acquire);
        (calls, self.bytes.load(Ordering::Acquire))
    }
}

/// A call that is not answered yet.
#[derive(Debug)]
pub(crate) struct UnderWay {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.shared.calls.fetch_sub(1, Ordering::AcqRel);
        self.shared.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        // The reader may have stopped for it.
        self.shared.wake.notify_one();
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

    /// Moves all waiting records, each with its mark, to the end of `records`. False once the outbox is closed and empty.
    pub fn drain(&self, records: &mut VecDeque<Vec<u8>>) -> bool {
        let mut queue = self.shared.queue.lock();
        records.extend(queue.records.drain(..));
        !(queue.closed && records.is_empty())
    }

    /// Returns when there may be something to drain, the outbox was closed, or calls may be taken up again. Cancel safe;
    /// one caller at a time.
    pub async fn ready(&self) {
        self.shared.wake.notified().await;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.queue.lock().records.clear();
    }
}
