//! A rate limiter for many keys, in bounded memory.
//!
//! Each key has a token bucket (GCRA: it stores only the time at which the bucket will be full again). Unlike the usual
//! limiter, this one can be asked without taking a token, and takes an unused token back. When there are too many keys, it
//! forgets the fullest buckets first, so a flood of keys does not free the keys that it holds back.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    net::IpAddr,
    time::Duration,
};

use parking_lot::Mutex;
use weir_core::Timestamp;

/// The most keys in memory: with their times, some MB.
const MAX_KEYS: usize = 10_000;

/// A rate limit for each key on its own.
pub struct Rate<K> {
    /// The time between two tokens in the long run, in microseconds.
    interval: u64,
    /// The burst size, as time.
    window: u64,
    full_at: Mutex<Ends<K>>,
}

impl<K: Hash + Ord + Clone> Rate<K> {
    /// Allows `times` in every `period` in the long run, and a burst of up to `at_once`.
    #[must_use]
    pub fn new(times: u32, period: Duration, at_once: u32) -> Self {
        let period = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
        let interval = (period / u64::from(times.max(1))).max(1);
        let window = interval.saturating_mul(u64::from(at_once.max(1)));
        Self { interval, window, full_at: Mutex::new(Ends::new(MAX_KEYS)) }
    }

    /// Returns whether there is a token now; the error is the time until there is one.
    pub fn check(&self, key: &K, now: Timestamp) -> Result<(), Duration> {
        self.after_one_more(&self.full_at.lock(), key, micros(now)).map(drop)
    }

    /// Takes a token. The error is the time until the next token.
    pub fn take(&self, key: &K, now: Timestamp) -> Result<(), Duration> {
        let now = micros(now);
        let mut full_at = self.full_at.lock();
        let after = self.after_one_more(&full_at, key, now)?;
        full_at.set(key, after, now);
        Ok(())
    }

    /// Gives a token back.
    pub fn give_back(&self, key: &K, now: Timestamp) {
        let mut full_at = self.full_at.lock();
        if let Some(end) = full_at.get(key) {
            full_at.set(key, end.saturating_sub(self.interval), micros(now));
        }
    }

    /// Returns the time at which the bucket would be full again with one token less in it.
    fn after_one_more(&self, full_at: &Ends<K>, key: &K, now: u64) -> Result<u64, Duration> {
        let full = now.saturating_add(self.window);
        // A clock that was set back must not lock a key out for longer than an empty bucket does.
        let end = full_at.get(key).unwrap_or(now).clamp(now, full);
        let after = end.saturating_add(self.interval);
        if after <= full { Ok(after) } else { Err(Duration::from_micros(after - full)) }
    }
}

fn micros(now: Timestamp) -> u64 {
    now.millis().saturating_mul(1000)
}

/// Returns the network of an address, which stands for its owner as far as possible: every owner of IPv6 has 2^64
/// addresses.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Keys with an end time each; the earliest is forgotten when there are too many.
pub(crate) struct Ends<K> {
    until: HashMap<K, u64>,
    order: BTreeSet<(u64, K)>,
    max: usize,
}

impl<K: Hash + Ord + Clone> Ends<K> {
    pub(crate) fn new(max: usize) -> Self {
        Self { until: HashMap::new(), order: BTreeSet::new(), max }
    }

    pub(crate) fn get(&self, key: &K) -> Option<u64> {
        self.until.get(key).copied()
    }

    pub(crate) fn set(&mut self, key: &K, end: u64, now: u64) {
        self.remove(key);
        self.until.insert(key.clone(), end);
        self.order.insert((end, key.clone()));
        while let Some((end, _)) = self.order.first()
            && (*end <= now || self.order.len() > self.max)
            && let Some((_, key)) = self.order.pop_first()
        {
            self.until.remove(&key);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(end) = self.until.remove(key) {
            self.order.remove(&(end, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::now;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn so_many_pass_at_once_and_then_as_many_as_the_rate_says() {
        let rate = Rate::new(10, MINUTE, 3);
        for _ in 0..3 {
            assert_eq!(rate.check(&"a", now()), Ok(()), "asking takes nothing");
            assert_eq!(rate.take(&"a", now()), Ok(()));
        }
        assert_eq!(rate.take(&"a", now()), Err(Duration::from_secs(6)));
        assert_eq!(rate.check(&"a", now()), Err(Duration::from_secs(6)));
        assert_eq!(rate.take(&"b", now()), Ok(()), "each key has its own");
        assert_eq!(rate.take(&"a", now().plus_millis(5_999)), Err(Duration::from_millis(1)));
        assert_eq!(rate.take(&"a", now().plus_millis(6_000)), Ok(()));
        assert!(rate.take(&"a", now().plus_millis(6_000)).is_err());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rate = Rate::new(1, MINUTE, 1);
        for _ in 0..5 {
            assert_eq!(rate.take(&"a", now()), Ok(()));
            rate.give_back(&"a", now());
        }
        assert_eq!(rate.take(&"a", now()), Ok(()));
        assert!(rate.take(&"a", now()).is_err());
    }

    #[test]
    fn a_clock_that_is_set_back_locks_no_key_out_for_longer_than_an_empty_bucket() {
        let rate = Rate::new(10, MINUTE, 2);
        assert_eq!(rate.take(&"a", now().plus_millis(3_600_000)), Ok(()));
        assert_eq!(rate.take(&"a", now()), Err(Duration::from_secs(6)));
    }

    #[test]
    fn a_flood_of_keys_takes_bounded_memory_and_frees_no_locked_key() {
        let rate = Rate::new(10, MINUTE, 2);
        for _ in 0..2 {
            assert_eq!(rate.take(&0, now()), Ok(()));
        }
        for key in 1..=3 * MAX_KEYS {
            assert_eq!(rate.take(&key, now()), Ok(()));
        }
        assert!(rate.take(&0, now()).is_err());
        let kept = rate.full_at.lock();
        assert_eq!((kept.until.len(), kept.order.len()), (MAX_KEYS, MAX_KEYS));
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let rate = Rate::new(10, MINUTE, 2);
        for key in 0..100 {
            assert_eq!(rate.take(&key, now()), Ok(()));
        }
        assert_eq!(rate.take(&100, now().plus_millis(6_001)), Ok(()));
        assert_eq!(rate.full_at.lock().until.len(), 1);
    }

    #[test]
    fn who_has_an_ipv6_network_is_one_client() {
        let of = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1", "the same machine, by either protocol");
    }
}
