//! Slowing down who guesses passwords, without shutting out who knows them.
//!
//! Three counts of recent failures, each bounded in entries:
//! - **name and address**: after a few free failures each further one doubles the wait. It binds this address only, so
//!   guessing at someone's account does not lock that person out elsewhere.
//! - **address**: many failures under any names make the whole address wait, but not for a name that logged on from
//!   there lately: one machine with a stale password must not stop its neighbours behind the same address.
//! - **name**: many failures from many addresses take the free failures away. The first attempt of an address is
//!   always let through, so the right password always works from a new place.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_device::Timestamp;

use crate::names;

/// Entries of each table; past that the least guilty goes.
const ENTRIES_MAX: usize = 4096;
/// Failures this old are forgotten.
const MEMORY: Duration = Duration::from_secs(60 * 60);
/// A success from an address counts for a name this long.
const PROVEN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
const FREE_PAIR: u32 = 5;
const FREE_PAIR_UNDER_ATTACK: u32 = 1;
const FREE_ADDRESS: u32 = 30;
const FREE_NAME: u32 = 50;
/// No account's name is longer.
const NAME_CHARS_MAX: usize = 64;

/// Attempts are refused for this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logons; try again in {} s", .0.as_secs() + 1)]
pub struct RetryAfter(pub Duration);

/// Failures of late. Time is passed in; it may jump, and a jump never makes a wait longer than the longest.
#[derive(Debug, Default)]
pub struct Throttle {
    tables: Mutex<Tables>,
}

type Pair = (String, IpAddr);

#[derive(Debug, Default)]
struct Tables {
    pairs: HashMap<Pair, Failures>,
    addresses: HashMap<IpAddr, Failures>,
    names: HashMap<String, Failures>,
    proven: HashMap<Pair, Failures>,
}

/// In `proven`, `count` stays zero.
#[derive(Debug, Clone, Copy, Default)]
struct Failures {
    count: u32,
    last: Timestamp,
    until: Timestamp,
    /// What `until` was before the last failure, should that turn out to be none.
    until_before: Timestamp,
}

impl Throttle {
    /// Asks leave to check one password; counts as a failure until [`Throttle::succeeded`]. A refusal is not counted.
    pub fn attempt(&self, name: &str, address: IpAddr, now: Timestamp) -> Result<(), RetryAfter> {
        let pair = pair_of(name, address);
        let mut tables = self.tables.lock();
        tables.admit(&pair, now)?;
        tables.count(pair, now);
        Ok(())
    }

    /// The attempt was right: it is not counted after all, and this address is known to be this user's.
    pub fn succeeded(&self, name: &str, address: IpAddr) {
        let pair = pair_of(name, address);
        let mut tables = self.tables.lock();
        let now = tables
            .pairs
            .remove(&pair)
            .map_or(Timestamp(0), |failures| failures.last);
        take_back(&mut tables.addresses, &pair.1);
        take_back(&mut tables.names, &pair.0);
        entry(&mut tables.proven, pair, now, PROVEN).last = now;
    }
}

impl Tables {
    fn admit(&mut self, pair: &Pair, now: Timestamp) -> Result<(), RetryAfter> {
        let proven = self
            .proven
            .get(pair)
            .is_some_and(|mark| !mark.is_old(now, PROVEN));
        let of_pair = self
            .pairs
            .get(pair)
            .map_or(Duration::ZERO, |failures| failures.wait(now));
        let of_address = match self.addresses.get(&pair.1) {
            Some(failures) if !proven => failures.wait(now),
            Some(_) | None => Duration::ZERO,
        };
        match of_pair.max(of_address) {
            Duration::ZERO => Ok(()),
            wait => Err(RetryAfter(wait)),
        }
    }

    fn count(&mut self, pair: Pair, now: Timestamp) {
        let name = entry(&mut self.names, pair.0.clone(), now, MEMORY);
        name.fail(u32::MAX, now);
        let attacked = name.count > FREE_NAME;
        let free = if attacked {
            FREE_PAIR_UNDER_ATTACK
        } else {
            FREE_PAIR
        };
        entry(&mut self.addresses, pair.1, now, MEMORY).fail(FREE_ADDRESS, now);
        entry(&mut self.pairs, pair, now, MEMORY).fail(free, now);
    }
}

impl Failures {
    /// One more; past the free ones the wait doubles each time.
    fn fail(&mut self, free: u32, now: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.last = now;
        self.until_before = self.until;
        if let Some(beyond) = self
            .count
            .checked_sub(free)
            .and_then(|over| over.checked_sub(1))
        {
            let factor = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX);
            self.until = later(now, WAIT_FIRST.saturating_mul(factor).min(WAIT_MAX));
        }
    }

    fn wait(&self, now: Timestamp) -> Duration {
        Duration::from_nanos(self.until.0.saturating_sub(now.0)).min(WAIT_MAX)
    }

    fn is_old(&self, now: Timestamp, memory: Duration) -> bool {
        later(self.last, memory) < now
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(
        time.0
            .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
    )
}

/// Undoes the count that an attempt made, and no more: an address that waits goes on waiting.
fn take_back<K: Hash + Eq>(table: &mut HashMap<K, Failures>, key: &K) {
    if let Some(failures) = table.get_mut(key) {
        failures.count = failures.count.saturating_sub(1);
        failures.until = failures.until_before;
        if failures.count == 0 {
            table.remove(key);
        }
    }
}

/// The entry of `key`, begun anew if it is old, in a table that stays bounded.
fn entry<K: Hash + Eq + Clone>(
    table: &mut HashMap<K, Failures>,
    key: K,
    now: Timestamp,
    memory: Duration,
) -> &mut Failures {
    if table.len() >= ENTRIES_MAX && !table.contains_key(&key) {
        make_room(table, now, memory);
    }
    let failures = table.entry(key).or_default();
    if failures.is_old(now, memory) {
        *failures = Failures::default();
    }
    failures
}

/// Drops what is old; if nothing is, the entry with the fewest and then the oldest failures.
fn make_room<K: Hash + Eq + Clone>(
    table: &mut HashMap<K, Failures>,
    now: Timestamp,
    memory: Duration,
) {
    table.retain(|_, failures| !failures.is_old(now, memory));
    if table.len() < ENTRIES_MAX {
        return;
    }
    let least = table
        .iter()
        .min_by_key(|(_, failures)| (failures.count, failures.last));
    if let Some(key) = least.map(|(key, _)| key.clone()) {
        table.remove(&key);
    }
}

/// Names without case and cut to a length that no account's exceeds; an IPv6 address by its network of 64 bits, which
/// one machine can use up as it likes.
fn pair_of(name: &str, address: IpAddr) -> Pair {
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    let address = match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    };
    (names::fold(&name), address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn at(seconds: u64) -> Timestamp {
        Timestamp((1_700_000_000 + seconds) * 1_000_000_000)
    }

    fn host(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn waits_double_after_the_free_failures() {
        let throttle = Throttle::default();
        let mut now = 0;
        for _ in 0..=FREE_PAIR {
            assert_eq!(throttle.attempt("anna", OFFICE, at(now)), Ok(()));
        }
        for wait in [1, 2, 4, 8, 16] {
            let expected = Err(RetryAfter(Duration::from_secs(wait)));
            assert_eq!(throttle.attempt("ANNA", OFFICE, at(now)), expected);
            now += wait;
            assert_eq!(throttle.attempt("anna", OFFICE, at(now)), Ok(()));
        }
    }

    #[test]
    fn the_wait_never_exceeds_the_longest() {
        let throttle = Throttle::default();
        let mut now = 0;
        for _ in 0..100 {
            if throttle.attempt("anna", OFFICE, at(now)).is_err() {
                now += WAIT_MAX.as_secs();
                assert_eq!(throttle.attempt("anna", OFFICE, at(now)), Ok(()));
            }
        }
        // The clock was set back by a year.
        let early = Timestamp(at(now).0 - 31_536_000_000_000_000);
        let wait = throttle.attempt("anna", OFFICE, early).unwrap_err().0;
        assert_eq!(wait, WAIT_MAX);
    }

    #[test]
    fn guessing_elsewhere_does_not_shut_the_user_out() {
        let throttle = Throttle::default();
        for attacker in 0..1000 {
            for _ in 0..10 {
                let _refused = throttle.attempt("anna", host(attacker), at(0));
            }
        }
        assert_eq!(throttle.attempt("anna", OFFICE, at(0)), Ok(()));
    }

    #[test]
    fn many_addresses_get_one_free_failure_each() {
        let throttle = Throttle::default();
        for attacker in 0..=FREE_NAME {
            assert_eq!(throttle.attempt("anna", host(attacker), at(0)), Ok(()));
        }
        assert_eq!(throttle.attempt("anna", OFFICE, at(0)), Ok(()));
        assert_eq!(throttle.attempt("anna", OFFICE, at(0)), Ok(()));
        assert!(throttle.attempt("anna", OFFICE, at(0)).is_err());
    }

    #[test]
    fn an_address_that_tries_many_names_waits_but_not_for_a_proven_one() {
        let throttle = Throttle::default();
        throttle.attempt("anna", OFFICE, at(0)).unwrap();
        throttle.succeeded("anna", OFFICE);
        for number in 0..=FREE_ADDRESS {
            throttle
                .attempt(&format!("user{number}"), OFFICE, at(0))
                .unwrap();
        }
        assert!(throttle.attempt("fresh", OFFICE, at(0)).is_err());
        assert_eq!(throttle.attempt("anna", OFFICE, at(0)), Ok(()));
    }

    #[test]
    fn successes_are_never_counted() {
        let throttle = Throttle::default();
        for _ in 0..1000 {
            assert_eq!(throttle.attempt("anna", OFFICE, at(0)), Ok(()));
            throttle.succeeded("anna", OFFICE);
        }
    }

    #[test]
    fn ones_own_successes_do_not_excuse_guessing_at_others() {
        let throttle = Throttle::default();
        let mut let_through = 0;
        for number in 0..1000 {
            let_through += u32::from(
                throttle
                    .attempt(&format!("u{number}"), OFFICE, at(0))
                    .is_ok(),
            );
            if throttle.attempt("mallory", OFFICE, at(0)).is_ok() {
                throttle.succeeded("mallory", OFFICE);
            }
        }
        assert!(let_through <= FREE_ADDRESS + 2, "{let_through}");
    }

    #[test]
    fn failures_are_forgotten_in_time() {
        let throttle = Throttle::default();
        for _ in 0..=FREE_PAIR {
            throttle.attempt("anna", OFFICE, at(0)).unwrap();
        }
        for _ in 0..FREE_PAIR {
            assert_eq!(throttle.attempt("anna", OFFICE, at(3601)), Ok(()));
        }
    }

    #[test]
    fn tables_stay_bounded_and_keep_the_guilty() {
        let throttle = Throttle::default();
        for _ in 0..=FREE_PAIR {
            throttle.attempt("anna", OFFICE, at(0)).unwrap();
        }
        for number in 0..10_000 {
            let _refused = throttle.attempt(&"x".repeat(100_000), host(number), at(0));
        }
        let tables = throttle.tables.lock();
        assert!(tables.pairs.len() <= ENTRIES_MAX && tables.addresses.len() <= ENTRIES_MAX);
        drop(tables);
        assert!(throttle.attempt("anna", OFFICE, at(0)).is_err());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let throttle = Throttle::default();
        let address = |low: u16| IpAddr::V6([0x2001, 0xdb8, 0, 7, 0, 0, 0, low].into());
        for low in 0..=5 {
            throttle.attempt("anna", address(low), at(0)).unwrap();
        }
        assert!(throttle.attempt("anna", address(99), at(0)).is_err());
    }
}
