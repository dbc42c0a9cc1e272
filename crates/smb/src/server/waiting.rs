//! Requests that wait: for a lock, for a change. They can be cancelled, and end with what they wait on.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::open::Open;
use crate::wire::Route;
use crate::wire::header::Header;

/// Why a request waits no longer although what it waits for did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client sent CANCEL.
    Cancelled,
    /// The open that the request was made on is closed.
    Closed,
}

const WAITS: u8 = 0;
const CANCELLED: u8 = 1;
const CLOSED: u8 = 2;
/// Its connection is gone.
const LOST: u8 = 3;

/// One waiting request.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) async_id: u64,
    message_id: u64,
    state: AtomicU8,
    wake: Notify,
}

impl Waiter {
    fn end(&self, why: Ended) {
        self.end_as(match why {
            Ended::Cancelled => CANCELLED,
            Ended::Closed => CLOSED,
        });
    }

    fn end_as(&self, state: u8) {
        let first = self
            .state
            .compare_exchange(WAITS, state, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.wake.notify_one();
        }
    }

    pub(crate) async fn ended(&self) -> Ended {
        loop {
            match self.state.load(Ordering::Acquire) {
                CANCELLED | LOST => return Ended::Cancelled,
                CLOSED => return Ended::Closed,
                _ => self.wake.notified().await,
            }
        }
    }

    /// Nobody cancelled it: the connection that it came on is gone.
    pub(crate) fn is_lost(&self) -> bool {
        self.state.load(Ordering::Acquire) == LOST
    }

    /// Waits for `work` until somebody ends the wait; the work is dropped then.
    pub(crate) async fn until<T>(&self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut work = pin!(work);
        let mut ended = pin!(self.ended());
        poll_fn(|context| {
            if let Poll::Ready(value) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(value));
            }
            ended.as_mut().poll(context).map(Err)
        })
        .await
    }
}

/// All waiting requests of one connection, by async id.
#[derive(Debug)]
pub(crate) struct Waiters {
    table: Mutex<Table>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<u64, Arc<Waiter>>,
    last_id: u64,
    closed: bool,
}

impl Waiters {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            table: Mutex::default(),
            limit,
        }
    }

    /// None when the connection has as many as it may, or ends.
    pub(crate) fn enter(&self, message_id: u64) -> Option<Arc<Waiter>> {
        let mut table = self.table.lock();
        if table.closed || table.by_id.len() >= self.limit {
            return None;
        }
        table.last_id += 1;
        let async_id = table.last_id;
        let (state, wake) = (AtomicU8::new(WAITS), Notify::new());
        let waiter = Arc::new(Waiter {
            async_id,
            message_id,
            state,
            wake,
        });
        table.by_id.insert(async_id, Arc::clone(&waiter));
        Some(waiter)
    }

    /// The request is about to be answered; a CANCEL finds it no more.
    pub(crate) fn leave(&self, waiter: &Waiter) {
        self.table.lock().by_id.remove(&waiter.async_id);
    }

    /// Ends the wait that a CANCEL names, by async id or by message id (MS-SMB2 3.3.5.16).
    pub(crate) fn cancel(&self, header: &Header) {
        let table = self.table.lock();
        match header.route {
            Route::Async { async_id } => {
                table
                    .by_id
                    .get(&async_id.0)
                    .iter()
                    .for_each(|w| w.end(Ended::Cancelled));
            }
            Route::Sync { .. } => {
                let same = |waiter: &&Arc<Waiter>| waiter.message_id == header.message_id.0;
                table
                    .by_id
                    .values()
                    .filter(same)
                    .for_each(|w| w.end(Ended::Cancelled));
            }
        }
    }

    /// Ends all waits, for good.
    pub(crate) fn close(&self) {
        let mut table = self.table.lock();
        table.closed = true;
        table.by_id.values().for_each(|waiter| waiter.end_as(LOST));
    }
}

/// The waits on one open, which end when it closes.
#[derive(Debug, Default)]
pub(crate) struct OpenWaits(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    waiters: Vec<Arc<Waiter>>,
    closed: bool,
}

impl OpenWaits {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().waiters.len()
    }

    fn enter(&self, waiter: &Arc<Waiter>) {
        let mut waits = self.0.lock();
        if waits.closed {
            waiter.end(Ended::Closed);
        }
        waits.waiters.push(Arc::clone(waiter));
    }

    fn leave(&self, waiter: &Waiter) {
        self.0
            .lock()
            .waiters
            .retain(|other| other.async_id != waiter.async_id);
    }

    pub(crate) fn close(&self) {
        let mut waits = self.0.lock();
        waits.closed = true;
        waits
            .waiters
            .iter()
            .for_each(|waiter| waiter.end(Ended::Closed));
    }
}

/// A request's wait on an open. It leaves when it is dropped, however the request ends.
#[derive(Debug)]
pub(crate) struct OpenWait {
    pub(crate) open: Arc<Open>,
    pub(crate) waiter: Arc<Waiter>,
}

impl OpenWait {
    pub(crate) fn enter(open: Arc<Open>, waiter: Arc<Waiter>) -> Self {
        open.waits.enter(&waiter);
        Self { open, waiter }
    }
}

impl Drop for OpenWait {
    fn drop(&mut self) {
        self.open.waits.leave(&self.waiter);
    }
}
