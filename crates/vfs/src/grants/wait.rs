//! Waiting for holders, without a thread and with an end.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use smallvec::SmallVec;
use strongroom_device::Env;

use super::grant::Blocker;

/// What an operation must wait for; mostly nothing.
pub(crate) type Blockers = SmallVec<[Blocker; 1]>;

thread_local! {
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Whether an operation that was polled on this thread just now ended up waiting for the holder of a grant, which may
/// take as long as a person takes. Asking clears the answer. A protocol can tell its client so, and may drop such an
/// operation: it has not had any effect yet.
pub fn waits_for_holder() -> bool {
    WAITS.take()
}

/// Waits until every blocker has answered, lost its grant, or closed.
pub(crate) async fn until_settled(env: &dyn Env, blockers: Blockers) {
    for blocker in &blockers {
        blocker.wait(env).await;
    }
}

impl Blocker {
    async fn wait(&self, env: &dyn Env) {
        loop {
            // Made before the look at the grant, so that no answer falls in between.
            let mut settled = pin!(self.grant.settled.notified());
            let now = env.monotonic();
            self.grant.check_expiry(now);
            if self.grant.is_past(self.round) {
                return;
            }
            let mut late = env.sleep(self.deadline.saturating_sub(now));
            poll_fn(|context| {
                if settled.as_mut().poll(context).is_ready()
                    || late.as_mut().poll(context).is_ready()
                {
                    return Poll::Ready(());
                }
                WAITS.set(true);
                Poll::Pending
            })
            .await;
        }
    }
}
