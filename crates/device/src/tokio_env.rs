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

    fn pause(&self, duration: Duration) {
        self.block_in_place(&mut || std::thread::sleep(duration));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::EnvExt;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap()
    }

    fn blocks(env: &TokioEnv) -> bool {
        let mut ran = false;
        env.block_in_place(&mut || env.block_in_place(&mut || ran = true));
        ran
    }

    #[test]
    fn blocking_in_place_works_on_every_kind_of_thread() {
        let runtime = runtime();
        let env = Arc::new(TokioEnv::new(runtime.handle().clone()));
        assert!(blocks(&env), "outside of a runtime");
        runtime.block_on(async {
            assert!(blocks(&env), "in block_on");
            let inner = Arc::clone(&env);
            assert!(
                tokio::spawn(async move { blocks(&inner) }).await.unwrap(),
                "in a task"
            );
            let inner = Arc::clone(&env);
            assert!(
                env.run_blocking(move || blocks(&inner)).await,
                "on the blocking pool"
            );
        });
        let single = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        assert!(
            single.block_on(async { blocks(&env) }),
            "on a current-thread runtime"
        );
    }

    #[test]
    fn all_works_run_side_by_side() {
        let runtime = runtime();
        let env = TokioEnv::new(runtime.handle().clone());
        let barrier = std::sync::Barrier::new(3);
        let count = AtomicU32::new(0);
        let mut works = [(); 3].map(|()| {
            || {
                barrier.wait();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut calls: Vec<&mut (dyn FnMut() + Send)> = works
            .iter_mut()
            .map(|work| work as &mut (dyn FnMut() + Send))
            .collect();
        env.run_all(&mut calls);
        env.run_all(&mut []);
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn time_and_entropy_are_real() {
        let runtime = runtime();
        let env = TokioEnv::new(runtime.handle().clone());
        assert!(env.now().seconds() > 1_700_000_000);
        assert_ne!(env.random_u64(), env.random_u64());
        let before = env.monotonic();
        runtime.block_on(async { env.sleep(Duration::from_millis(2)).await });
        assert!(env.monotonic() - before >= Duration::from_millis(2));
    }
}
