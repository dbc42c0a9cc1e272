//! Answers to calls that must not be done twice: a client that lost its connection asks again with the same number.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use parking_lot::Mutex;

/// Answers kept.
const KEPT_MAX: usize = 8_192;

/// A call as a client repeats it: its number, and a sum of all that it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallId {
    peer: IpAddr,
    xid: u32,
    sum: u64,
}

impl CallId {
    pub(crate) fn new(peer: IpAddr, xid: u32, record: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        record.hash(&mut hasher);
        Self {
            peer,
            xid,
            sum: hasher.finish(),
        }
    }
}

/// What is known of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Never: it is under way from now on.
    First,
    /// Its answer is not ready; that one will do for both.
    UnderWay,
    Answered(Vec<u8>),
}

#[derive(Debug, Default)]
struct Table {
    answers: HashMap<CallId, Option<Vec<u8>>>,
    order: VecDeque<CallId>,
}

#[derive(Debug, Default)]
pub(crate) struct Replays {
    table: Mutex<Table>,
}

impl Replays {
    pub(crate) fn begin(&self, call: CallId) -> Seen {
        let mut table = self.table.lock();
        match table.answers.get(&call) {
            Some(Some(answer)) => return Seen::Answered(answer.clone()),
            Some(None) => return Seen::UnderWay,
            None => {}
        }
        table.answers.insert(call, None);
        table.order.push_back(call);
        if table.order.len() > KEPT_MAX
            && let Some(first) = table.order.pop_front()
        {
            table.answers.remove(&first);
        }
        Seen::First
    }

    pub(crate) fn end(&self, call: CallId, answer: &[u8]) {
        if let Some(kept) = self.table.lock().answers.get_mut(&call) {
            *kept = Some(answer.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_call_gets_the_first_answer() {
        let replays = Replays::default();
        let peer = "192.0.2.1".parse().unwrap();
        let call = CallId::new(peer, 1, b"remove");
        assert_eq!(replays.begin(call), Seen::First);
        assert_eq!(replays.begin(call), Seen::UnderWay);
        replays.end(call, b"done");
        assert_eq!(replays.begin(call), Seen::Answered(b"done".to_vec()));
        assert_eq!(replays.begin(CallId::new(peer, 1, b"rename")), Seen::First);
    }

    #[test]
    fn the_oldest_answers_make_room() {
        let replays = Replays::default();
        let peer = "192.0.2.1".parse().unwrap();
        for xid in 0..=u32::try_from(KEPT_MAX).unwrap() {
            assert_eq!(replays.begin(CallId::new(peer, xid, b"")), Seen::First);
        }
        assert_eq!(replays.begin(CallId::new(peer, 0, b"")), Seen::First);
        assert_eq!(replays.table.lock().answers.len(), KEPT_MAX);
    }
}
