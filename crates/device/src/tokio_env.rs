//! The real world: tokio's threads, the system's clock and entropy.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::{BoxFuture, Env, Timestamp};

/// Runs tasks on a multi-threaded tokio runtime.
#[derive(Debug)]
pub struct TokioEnv {
    handle: Handle,
    started: Instant,
}

impl TokioEnv {
    /// Tasks run on `handle`'s runtime, which must have its timer enabled.
    pub fn new(handle: Handle) -> Self {
        Self {
            handle,
            started: Instant::now(),
        }
    }

    /// The runtime of the calling task.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn current() -> Self {
        Self::new(Handle::current())
    }
}

impl Env for TokioEnv {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn fill_random(&self, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            match getrandom(&mut *buffer, GetRandomFlags::empty()) {
                Ok(filled) => buffer = &mut buffer[filled..],
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => unreachable!("getrandom cannot fail with these arguments: {error}"),
            }
        }
    }

    fn spawn(&self, _name: &'static str, task: BoxFuture<()>) {
        drop(self.handle.spawn(task));
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()> {
        let task = self.handle.spawn_blocking(work);
        Box::pin(async move {
            if let Err(error) = task.await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        })
    }

    fn block_in_place(&self, work: &mut dyn FnMut()) {
        // Tokio's call hands over only on a worker of a multi-threaded runtime, does nothing on its blocking pool, and
        // refuses on a current-thread runtime, where there is nobody to hand over to.
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
            Ok(_) | Err(_) => work(),
        }
    }

    fn run_all(&self, works: &mut [&mut (dyn FnMut() + Send)]) {
        self.block_in_place(&mut || run_side_by_side(works));
    }
}

/// The first on this thread, each other on one of its own.
fn run_side_by_side(works: &mut [&mut (dyn FnMut() + Send)]) {
    let Some((first, others)) = works.split_first_mut() else {
        return;
    };
    std::thread::scope(|scope| {
        for work in others {
            scope.spawn(work);
        }
        first();
    });
}
