//! Slowing down who guesses passwords.

use std::net::IpAddr;
use std::time::Duration;

use strongroom_device::Timestamp;

/// Attempts are refused for this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logons; try again in {} s", .0.as_secs() + 1)]
pub struct RetryAfter(pub Duration);

/// Failures of late, by name and by address. Bounded.
#[derive(Debug, Default)]
pub struct Throttle {}

impl Throttle {
    /// Asks leave to check a password; counts as a failure until [`Throttle::succeeded`].
    pub fn attempt(
        &self,
        _name: &str,
        _address: IpAddr,
        _now: Timestamp,
    ) -> Result<(), RetryAfter> {
        unimplemented!()
    }

    /// The attempt was right.
    pub fn succeeded(&self, _name: &str, _address: IpAddr) {
        unimplemented!()
    }
}
