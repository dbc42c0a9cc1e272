//! Sessions: each request has a slot, and each slot keeps its last answer (RFC 8881, 2.10.6).

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Backchannel, Client, SessionId, Status};
use crate::xdr::length;

/// Requests at once in one session.
pub(crate) const SLOTS_MAX: u32 = 128;
/// The longest answer that is kept.
pub(crate) const CACHED_MAX: u32 = 8 << 10;

/// channel_attrs4, as far as it means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) request: u32,
    pub(crate) response: u32,
    pub(crate) cached: u32,
    pub(crate) operations: u32,
    pub(crate) requests: u32,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) client: Arc<Client>,
    pub(crate) fore: Limits,
    pub(crate) back: Backchannel,
    /// The minor version that it was made by.
    pub(crate) minor: u32,
    slots: Vec<Mutex<Slot>>,
}

#[derive(Debug, Default)]
pub(crate) struct Slot {
    sequence: u32,
    busy: bool,
    answer: Answer,
    /// A sum over the request that was answered.
    sum: u64,
}

#[derive(Debug, Default)]
enum Answer {
    /// The slot was never used.
    #[default]
    None,
    /// Not kept, as the client did not ask for it.
    Uncached,
    Kept(Vec<u8>),
}

/// What a request with a slot and a number is.
#[derive(Debug)]
pub(crate) enum Turn {
    /// New: to be done, and its answer to be kept.
    New,
    /// Done before, with this answer.
    Replay(Vec<u8>),
}

impl Session {
    pub(crate) fn new(
        id: SessionId,
        client: Arc<Client>,
        fore: Limits,
        back: Backchannel,
        minor: u32,
    ) -> Self {
        let slots = (0..fore.requests).map(|_| Mutex::default()).collect();
        Self {
            id,
            client,
            fore,
            back,
            minor,
            slots,
        }
    }

    pub(crate) fn slots(&self) -> u32 {
        self.fore.requests
    }

    fn slot(&self, slot: u32) -> Result<&Mutex<Slot>, Status> {
        let at = usize::try_from(slot).unwrap_or(usize::MAX);
        self.slots.get(at).ok_or(Status::BADSLOT)
    }

    /// Begins a request.
    pub(crate) fn begin(&self, slot: u32, sequence: u32, sum: u64) -> Result<Turn, Status> {
        let mut slot = self.slot(slot)?.lock();
        if sequence == slot.sequence.wrapping_add(1) {
            if slot.busy {
                return Err(Status::SEQ_MISORDERED);
            }
            slot.sequence = sequence;
            slot.busy = true;
            slot.sum = sum;
            return Ok(Turn::New);
        }
        if sequence != slot.sequence {
            return Err(Status::SEQ_MISORDERED);
        }
        if slot.busy {
            return Err(Status::DELAY);
        }
        match &slot.answer {
            Answer::None => Err(Status::SEQ_MISORDERED),
            _ if slot.sum != sum => Err(Status::SEQ_FALSE_RETRY),
            Answer::Uncached => Err(Status::RETRY_UNCACHED_REP),
            Answer::Kept(answer) => Ok(Turn::Replay(answer.clone())),
        }
    }

    /// Ends a request with its answer, which is kept where the client asked for that or it is short.
    pub(crate) fn end(&self, slot: u32, answer: &[u8], wanted: bool) {
        let Ok(slot) = self.slot(slot) else { return };
        let mut slot = slot.lock();
        slot.busy = false;
        slot.answer = if length(answer.len()) <= CACHED_MAX && (wanted || answer.len() <= 1024) {
            Answer::Kept(answer.to_vec())
        } else {
            Answer::Uncached
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v4::state::{Principal, Security};

    fn session() -> Session {
        let client = Client::new(1, b"c", [0; 8], Principal::default(), Default::default());
        let fore = Limits {
            request: 1024,
            response: 1024,
            cached: 1024,
            operations: 8,
            requests: 2,
        };
        let back = Backchannel::new(0, Security::None, fore);
        Session::new([0; 16], Arc::new(client), fore, back, 1)
    }

    #[test]
    fn a_request_sent_twice_is_answered_twice_and_done_once() {
        let session = session();
        assert!(matches!(session.begin(0, 1, 7), Ok(Turn::New)));
        assert_eq!(session.begin(0, 1, 7).unwrap_err(), Status::DELAY);
        session.end(0, b"answer", true);
        let Ok(Turn::Replay(answer)) = session.begin(0, 1, 7) else {
            panic!("not a replay");
        };
        assert_eq!(answer, b"answer");
        assert_eq!(session.begin(0, 1, 8).unwrap_err(), Status::SEQ_FALSE_RETRY);
        assert!(matches!(session.begin(0, 2, 9), Ok(Turn::New)));
    }

    #[test]
    fn numbers_out_of_order_and_unknown_slots_are_refused() {
        let session = session();
        for sequence in [0, 2, u32::MAX] {
            let error = session.begin(1, sequence, 0).unwrap_err();
            assert_eq!(error, Status::SEQ_MISORDERED, "{sequence}");
        }
        assert_eq!(session.begin(2, 1, 0).unwrap_err(), Status::BADSLOT);
    }

    #[test]
    fn a_long_answer_that_was_not_to_be_kept_is_not() {
        let session = session();
        session.begin(0, 1, 0).unwrap();
        session.end(0, &[0; 2000], false);
        assert_eq!(
            session.begin(0, 1, 0).unwrap_err(),
            Status::RETRY_UNCACHED_REP
        );
    }
}
