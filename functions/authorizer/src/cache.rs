//! A cache of recent grants.
//!
//! Refusals are never cached: they are not worth it, and a client could fill the memory with them. An entry holds no
//! secret; its key is a salted digest of the credentials.
//!
//! A grant expires by whichever clock says so first: the wall clock, which may be set back, or the monotonic clock, which
//! may stand still while Lambda freezes the process. So neither prolongs the rights of a removed access key.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use weir_core::{Clock, Random, Timestamp};

use crate::{Credentials, Grant};

/// The cache key of credentials.
pub(crate) type Fingerprint = [u8; 32];

/// Grants by the fingerprint of the credentials. When there are too many, the oldest is evicted first.
pub(crate) struct Cache {
    salt: [u8; 32],
    duration: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    grants: HashMap<Fingerprint, Entry>,
    /// The insertion order, each with its end. A replaced grant has another end here than in its entry.
    order: VecDeque<(Fingerprint, Timestamp)>,
}

struct Entry {
    grant: Grant,
    from: Moment,
    until: Timestamp,
}

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    elapsed: Duration,
}

impl Moment {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), elapsed: clock.elapsed() }
    }
}

impl Cache {
    /// The most grants in the cache: some 3 MB.
    const MAX_GRANTS: usize = 10_000;

    /// Returns an empty cache that keeps grants for `duration`. Its salt makes fingerprints useless outside this process.
    pub(crate) fn new(duration: Duration, random: &dyn Random) -> Self {
        let mut salt = [0; 32];
        random.fill(&mut salt);
        Self { salt, duration, kept: Mutex::default() }
    }

    /// Returns the fingerprint of the decoded credentials, however the header spells them. All invalid names count as one,
    /// as they all have the same answer.
    pub(crate) fn fingerprint(&self, credentials: &Credentials) -> Fingerprint {
        let name = credentials.username.as_ref().map_or("", weir_core::Username::as_str);
        Sha256::new()
            .chain_update(self.salt)
            .chain_update(name)
            .chain_update(":")
            .chain_update(credentials.secret.reveal())
            .finalize()
            .into()
    }

    /// Returns the cached grant of these credentials, if it has not expired.
    pub(crate) fn get(&self, fingerprint: &Fingerprint, now: Moment) -> Option<Grant> {
        let kept = self.kept.lock();
        let entry = kept.grants.get(fingerprint)?;
        let by_wall = entry.from.wall <= now.wall && now.wall < entry.until;
        let by_elapsed = now.elapsed.saturating_sub(entry.from.elapsed) < self.duration;
        (by_wall && by_elapsed).then(|| entry.grant.clone())
    }

    /// Caches a grant that was found right at `from`, until `expiry` at the latest.
    pub(crate) fn keep(
        &self,
        fingerprint: Fingerprint,
        grant: Grant,
        from: Moment,
        expiry: Option<Timestamp>,
    ) {
        let until = from.wall.plus_millis(u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX));
        let until = expiry.map_or(until, |expiry| until.min(expiry));
        if until <= from.wall {
            return;
        }
        let mut kept = self.kept.lock();
        while let Some(&(oldest, end)) = kept.order.front()
            && (end <= from.wall || kept.order.len() >= Self::MAX_GRANTS)
        {
            kept.order.pop_front();
            if kept.grants.get(&oldest).is_some_and(|entry| entry.until == end) {
                kept.grants.remove(&oldest);
            }
        }
        kept.order.push_back((fingerprint, until));
        kept.grants.insert(fingerprint, Entry { grant, from, until });
    }
}

#[cfg(test)]
mod tests {
    use weir_core::SeededRandom;

    use super::*;
    use crate::fixtures::{self, basic, grant};

    fn cache(seconds: u64) -> Cache {
        Cache::new(Duration::from_secs(seconds), &SeededRandom::new(1))
    }

    /// Returns the moment this many milliseconds later, on both clocks.
    fn at(millis: u64) -> Moment {
        Moment { wall: fixtures::now().plus_millis(millis), elapsed: Duration::from_millis(millis) }
    }

    fn print(n: usize) -> Fingerprint {
        let mut print = [0; 32];
        print[..8].copy_from_slice(&(n as u64).to_le_bytes());
        print
    }

    #[test]
    fn a_grant_is_kept_for_its_time_and_not_a_millisecond_longer() {
        let cache = cache(60);
        cache.keep(print(1), grant("web"), at(0), None);
        assert_eq!(cache.get(&print(1), at(0)), Some(grant("web")));
        assert_eq!(cache.get(&print(1), at(59_999)), Some(grant("web")));
        assert_eq!(cache.get(&print(1), at(60_000)), None);
        assert_eq!(cache.get(&print(2), at(0)), None);
    }

    #[test]
    fn the_end_of_the_access_key_ends_it_earlier() {
        let cache = cache(60);
        cache.keep(print(1), grant("web"), at(0), Some(fixtures::now().plus_millis(5)));
        assert!(cache.get(&print(1), at(4)).is_some());
        assert!(cache.get(&print(1), at(5)).is_none());
        cache.keep(print(2), grant("web"), at(0), Some(fixtures::now().plus_millis(99_000)));
        assert!(cache.get(&print(2), at(60_000)).is_none());
    }

    #[test]
    fn a_cache_for_no_time_keeps_nothing() {
        let cache = cache(0);
        cache.keep(print(1), grant("web"), at(0), None);
        assert!(cache.get(&print(1), at(0)).is_none());
        assert!(cache.kept.lock().grants.is_empty());
    }

    #[test]
    fn a_grant_ends_by_whichever_clock_says_so_first() {
        let cache = cache(60);
        cache.keep(print(1), grant("web"), at(1_000), None);
        let get = |wall, elapsed| cache.get(&print(1), Moment { wall: at(wall).wall, ..at(elapsed) });
        assert!(get(1_000, 60_999).is_some());
        assert!(get(999, 1_000).is_none(), "the wall clock was set back to before the grant");
        assert!(get(1_000, 61_000).is_none(), "the wall clock was set back for as long as has passed");
        assert!(get(61_000, 1_000).is_none(), "the other clock stood still");
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let cache = cache(60);
        for n in 0..Cache::MAX_GRANTS + 5 {
            cache.keep(print(n), grant("web"), at(0), None);
        }
        assert_eq!(cache.kept.lock().grants.len(), Cache::MAX_GRANTS);
        assert!(cache.get(&print(4), at(0)).is_none());
        assert!(cache.get(&print(5), at(0)).is_some());
    }

    #[test]
    fn what_is_over_makes_room_and_what_was_renewed_stays() {
        let cache = cache(60);
        cache.keep(print(1), grant("web"), at(0), None);
        cache.keep(print(2), grant("web"), at(0), None);
        cache.keep(print(1), grant("new"), at(30_000), None);
        cache.keep(print(3), grant("web"), at(60_000), None);
        let kept = cache.kept.lock();
        assert_eq!((kept.grants.len(), kept.order.len()), (2, 2));
        drop(kept);
        assert_eq!(cache.get(&print(1), at(60_000)), Some(grant("new")));
    }

    #[test]
    fn renewing_the_same_again_and_again_takes_no_more_room() {
        let cache = cache(60);
        for _ in 0..3 * Cache::MAX_GRANTS {
            cache.keep(print(1), grant("web"), at(0), None);
        }
        assert!(cache.kept.lock().order.len() <= Cache::MAX_GRANTS);
        assert_eq!(cache.get(&print(1), at(0)), Some(grant("web")));
    }

    #[test]
    fn a_fingerprint_is_of_name_and_secret_and_of_this_process() {
        let cache = cache(60);
        let other = Cache::new(Duration::ZERO, &SeededRandom::new(2));
        let read = |name: &str, secret: &str| Credentials::read(&basic(name, secret)).unwrap();
        let print = cache.fingerprint(&read("a", "b:c"));
        assert_eq!(print, cache.fingerprint(&read("a", "b:c")));
        assert_ne!(print, cache.fingerprint(&read("a", "b")));
        assert_ne!(print, cache.fingerprint(&read("b", "b:c")));
        assert_ne!(print, other.fingerprint(&read("a", "b:c")));
    }
}
