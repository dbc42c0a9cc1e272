//! A world for unit tests: seeded entropy, a clock that stands still.

use std::time::Duration;

use parking_lot::Mutex;
use strongroom_device::{BoxFuture, Env, Timestamp};

#[derive(Debug)]
pub(crate) struct SeededEnv(Mutex<u64>);

impl SeededEnv {
    pub(crate) fn new(seed: u64) -> Self {
        SeededEnv(Mutex::new(seed))
    }
}

impl Env for SeededEnv {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    /// SplitMix64.
    fn fill_random(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock();
        for byte in buffer {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = mixed.to_be_bytes()[0];
        }
    }

    fn spawn(&self, _name: &'static str, _task: BoxFuture<()>) {
        unreachable!("accounts run no tasks")
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<()> {
        unreachable!("accounts do not wait")
    }

    fn unblock(&self, _work: Box<dyn FnOnce() + Send>) -> BoxFuture<()> {
        unreachable!("accounts run no tasks")
    }

    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn block_in_place(&self, work: &mut dyn FnMut()) {
        work();
    }
}
