//! Clock, entropy, spawning and blocking work, handed in from the binary or from a simulation.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Wall-clock time in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Whole seconds since the epoch.
    pub fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

/// The world outside, as everything from device to protocol sees it.
pub trait Env: Send + Sync + Debug {
    fn now(&self) -> Timestamp;
    /// Never runs backwards; only differences mean something.
    fn monotonic(&self) -> Duration;
    fn fill_random(&self, buffer: &mut [u8]);
    /// Runs a task in the background until it ends.
    fn spawn(&self, name: &'static str, task: BoxFuture<()>);
    fn sleep(&self, duration: Duration) -> BoxFuture<()>;
    /// Runs blocking work where it holds nobody up.
    fn unblock(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()>;
    /// Runs blocking work on this thread after others were given its other tasks.
    fn block_in_place(&self, work: &mut dyn FnMut());
    /// Keeps this thread for so long. For blocking work only.
    fn pause(&self, duration: Duration);
    /// Runs all of this blocking work, side by side where that is possible, and returns when it is done.
    fn run_all(&self, works: &mut [&mut (dyn FnMut() + Send)]) {
        self.block_in_place(&mut || works.iter_mut().for_each(|work| work()));
    }
}

/// Typed forms of [`Env`]'s calls.
pub trait EnvExt: Env {
    fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// [`Env::unblock`] with a result.
    fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let slot = Arc::new(Mutex::new(None));
        let filled = Arc::clone(&slot);
        let done = self.unblock(Box::new(move || {
            *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(work());
        }));
        async move {
            done.await;
            let value = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            value.expect("blocking work ran to its end")
        }
    }
}

impl<E: Env + ?Sized> EnvExt for E {}
