//! Calls of the server to a client, by the client's own connection, that are not answered yet.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Calls of one connection at once.
const CALLS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Calls {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<u32, oneshot::Sender<Option<Bytes>>>,
    last: u32,
    ended: bool,
}

/// A call whose answer is waited for; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) xid: u32,
    answer: oneshot::Receiver<Option<Bytes>>,
    table: Arc<Mutex<Table>>,
}

impl Calls {
    /// None where the connection is over, or too many calls wait.
    pub(super) fn begin(&self) -> Option<Waiting> {
        let mut table = self.table.lock();
        if table.ended || table.waiting.len() >= CALLS_MAX {
            return None;
        }
        while {
            table.last = table.last.wrapping_add(1);
            table.waiting.contains_key(&table.last)
        } {}
        let (sender, answer) = oneshot::channel();
        let xid = table.last;
        table.waiting.insert(xid, sender);
        Some(Waiting {
            xid,
            answer,
            table: Arc::clone(&self.table),
        })
    }

    /// An answer came in; those to calls that nobody made, or gave up, are of no interest.
    pub(super) fn answered(&self, xid: u32, results: Option<Bytes>) {
        let waiting = self.table.lock().waiting.remove(&xid);
        if let Some(waiting) = waiting {
            // Who does not wait any more needs no answer.
            drop(waiting.send(results));
        }
    }

    /// No answer will come any more.
    pub(super) fn end(&self) {
        let mut table = self.table.lock();
        table.ended = true;
        let waiting = std::mem::take(&mut table.waiting);
        drop(table);
        drop(waiting);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.table.lock().ended
    }
}

impl Waiting {
    pub(super) async fn results(mut self) -> Option<Bytes> {
        (&mut self.answer).await.ok().flatten()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.table.lock().waiting.remove(&self.xid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_their_calls_and_none_is_waited_for_after_the_end() {
        let calls = Calls::default();
        let (mut first, mut second) = (calls.begin().unwrap(), calls.begin().unwrap());
        calls.answered(second.xid, Some(Bytes::from_static(b"2")));
        calls.answered(99, None);
        let bytes = second.answer.try_recv().unwrap();
        assert_eq!(bytes.as_deref(), Some(&b"2"[..]));
        assert!(first.answer.try_recv().is_err());
        calls.end();
        assert!(calls.begin().is_none());
        assert!(first.answer.try_recv().is_err());
    }

    #[test]
    fn a_call_that_is_given_up_leaves_nothing() {
        let calls = Calls::default();
        drop(calls.begin().unwrap());
        assert!(calls.table.lock().waiting.is_empty());
        let held: Vec<_> = (0..CALLS_MAX).map(|_| calls.begin().unwrap()).collect();
        assert!(calls.begin().is_none());
        drop(held);
        assert!(calls.begin().is_some());
    }
}
