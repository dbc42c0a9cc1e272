//! One promise to one holder, and its breaking.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_store::ObjectId;
use tokio::sync::Notify;

use super::{Broken, Conflict, GrantHolder, GrantKey, GrantRights};

/// A promise to a holder. It lasts as long as an open under it.
#[derive(Debug)]
pub struct Grant {
    pub(super) key: GrantKey,
    pub(super) object: ObjectId,
    /// Shared by all opens under a key that the holder chose.
    pub(super) keyed: bool,
    holder: Arc<dyn GrantHolder>,
    state: Mutex<State>,
    pub(super) settled: Notify,
}

#[derive(Debug)]
struct State {
    rights: GrantRights,
    breaking: Option<Breaking>,
    opens: usize,
    /// Counts what waiters wait for: answers, expiries, the end.
    rounds: u64,
}

#[derive(Debug, Clone, Copy)]
struct Breaking {
    /// What the holder was told to keep.
    asked: GrantRights,
    /// What it may keep in the end; less than `asked` where something else came to conflict meanwhile.
    required: GrantRights,
    /// Monotonic time when the holder was told.
    since: Duration,
}

/// A grant as it is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantView {
    pub rights: GrantRights,
    /// The holder was told of a break and has not answered.
    pub breaking: bool,
}

/// Why an answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAcknowledged {
    #[error("nothing is being broken")]
    NotBreaking,
    #[error("the holder wants to keep more than it was broken to")]
    TooMuch,
}

/// What a waiter waits for to be over.
#[derive(Debug)]
pub(crate) struct Blocker {
    pub(super) grant: Arc<Grant>,
    pub(super) round: u64,
    /// Monotonic time at which the holder loses its grant.
    pub(super) deadline: Duration,
}

impl Grant {
    pub(super) fn new(
        key: GrantKey,
        keyed: bool,
        object: ObjectId,
        rights: GrantRights,
        holder: Arc<dyn GrantHolder>,
    ) -> Arc<Self> {
        if !rights.is_empty() {
            holder.granted(rights);
        }
        Arc::new(Self {
            key,
            object,
            keyed,
            holder,
            state: Mutex::new(State {
                rights,
                breaking: None,
                opens: 1,
                rounds: 0,
            }),
            settled: Notify::new(),
        })
    }

    pub fn key(&self) -> GrantKey {
        self.key
    }

    /// Shared by all opens under a key that the holder chose.
    pub(crate) fn keyed(&self) -> bool {
        self.keyed
    }

    pub fn holder(&self) -> &Arc<dyn GrantHolder> {
        &self.holder
    }

    pub fn rights(&self) -> GrantRights {
        self.state.lock().rights
    }

    /// Looks at the grant while nothing about it can change.
    pub fn look<T>(&self, see: impl FnOnce(GrantView) -> T) -> T {
        let state = self.state.lock();
        see(GrantView {
            rights: state.rights,
            breaking: state.breaking.is_some(),
        })
    }

    /// One more open under the key. The rights grow only to exactly what is asked for, only from a part of it, and not
    /// while they are being broken (as Windows does it); `possible` is what others leave of what is asked for.
    pub(super) fn join(&self, asked: GrantRights, possible: GrantRights, now: Duration) {
        let mut state = self.state.lock();
        self.expire(&mut state, now);
        state.opens += 1;
        let grows = asked.contains(state.rights) && asked != state.rights;
        if grows && possible == asked && state.breaking.is_none() {
            state.rights = asked;
            self.holder.granted(asked);
        }
    }

    /// One open less. True for the last one: the grant is over.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.state.lock();
        state.opens = state.opens.saturating_sub(1);
        if state.opens > 0 {
            return false;
        }
        self.end(&mut state);
        true
    }

    /// Nothing is left and nobody needs to answer.
    fn end(&self, state: &mut State) {
        state.rights = GrantRights::NONE;
        state.breaking = None;
        self.settle(state);
    }

    fn settle(&self, state: &mut State) {
        state.rounds += 1;
        self.settled.notify_waiters();
    }

    fn expire(&self, state: &mut State, now: Duration) {
        if state
            .breaking
            .is_some_and(|breaking| now >= breaking.since + self.holder.patience())
        {
            tracing::debug!(object = ?self.object, "a holder did not answer in time and lost its grant");
            self.end(state);
        }
    }

    /// Takes the grant from a holder that did not answer in time.
    pub(super) fn check_expiry(&self, now: Duration) {
        self.expire(&mut self.state.lock(), now);
    }

    pub(super) fn is_past(&self, round: u64) -> bool {
        self.state.lock().rounds != round
    }

    /// Begins a break where this grant conflicts, or notes that one under way must go further; gives what the
    /// operation must wait for. `first` is false when the operation waited already.
    pub(super) fn disturb(
        self: &Arc<Self>,
        conflict: Conflict,
        now: Duration,
        first: bool,
    ) -> Option<Blocker> {
        if conflict == Conflict::Attributes && !self.holder.caches_attributes() {
            return None;
        }
        let mut state = self.state.lock();
        self.expire(&mut state, now);
        let rights = state.rights;
        let under_way = state.breaking.is_some();
        let mut to = conflict.leaves(rights);
        let waits = if to == rights {
            under_way && conflict.is_open()
        } else {
            if !self.keyed {
                // An oplock is broken to reading or to nothing.
                to = to.intersect(GrantRights::READ);
            }
            self.shrink(&mut state, to, now);
            conflict.waits_for(rights) || (under_way && !first && conflict.is_open())
        };
        let deadline = state
            .breaking
            .map(|breaking| breaking.since + self.holder.patience());
        deadline.filter(|_| waits).map(|deadline| Blocker {
            grant: Arc::clone(self),
            round: state.rounds,
            deadline,
        })
    }

    fn shrink(&self, state: &mut State, to: GrantRights, now: Duration) {
        if let Some(breaking) = &mut state.breaking {
            // One break at a time; the rest follows when this one is answered.
            breaking.required = breaking.required.intersect(to);
            return;
        }
        self.tell(state, to, to, now, false);
    }

    /// Tells the holder. What it only read needs no answer: it is gone at once.
    fn tell(
        &self,
        state: &mut State,
        asked: GrantRights,
        required: GrantRights,
        now: Duration,
        further: bool,
    ) {
        let from = state.rights;
        let must_answer = from.need_answer();
        if must_answer {
            state.breaking = Some(Breaking {
                asked,
                required,
                since: now,
            });
        } else {
            state.rights = required;
            state.breaking = None;
        }
        self.holder.broken(Broken {
            from,
            to: asked,
            must_answer,
            further,
        });
    }

    /// The holder's answer to a break: it keeps `rights`. An oplock's holder that wants more than it was broken to gets
    /// what it was broken to; with a key that is refused.
    pub(crate) fn acknowledge(
        &self,
        rights: GrantRights,
        now: Duration,
    ) -> Result<GrantRights, NotAcknowledged> {
        let mut state = self.state.lock();
        self.expire(&mut state, now);
        let breaking = state.breaking.ok_or(NotAcknowledged::NotBreaking)?;
        if self.keyed && !breaking.asked.contains(rights) {
            return Err(NotAcknowledged::TooMuch);
        }
        state.rights = rights.intersect(breaking.asked);
        state.breaking = None;
        let kept = state.rights;
        if !breaking.required.contains(kept) {
            self.go_further(&mut state, breaking.required, now);
        }
        self.settle(&mut state);
        Ok(kept)
    }

    /// Something else came to conflict while the first break waited for its answer. Reading is left until the rest is
    /// answered, as Windows does it.
    fn go_further(&self, state: &mut State, required: GrantRights, now: Duration) {
        let asked = if state.rights.need_answer() {
            GrantRights {
                read: true,
                ..required
            }
        } else {
            required
        };
        self.tell(state, asked, required, now, true);
    }
}
