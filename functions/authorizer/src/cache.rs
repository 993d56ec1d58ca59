//! Grants that were given a moment ago.
//!
//! Only grants are kept, never refusals: a refusal is not worth remembering, and a client could fill the memory
//! with them. What is kept holds no secret; it is found by a salted digest of the credentials.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use weir_core::{Random, Timestamp};

use crate::{Credentials, Grant};

/// What credentials are known by in memory.
pub(crate) type Fingerprint = [u8; 32];

/// Grants by the fingerprint of the credentials, the oldest given up first when there are too many.
pub(crate) struct Cache {
    salt: [u8; 32],
    millis: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    grants: HashMap<Fingerprint, Entry>,
    /// In the order of their coming, each with its end: one that was replaced has another end than its entry.
    order: VecDeque<(Fingerprint, Timestamp)>,
}

struct Entry {
    grant: Grant,
    from: Timestamp,
    until: Timestamp,
}

impl Cache {
    /// The most grants that are kept: some 3 MB.
    const MAX_GRANTS: usize = 10_000;

    /// An empty cache that keeps grants for `duration`. Its salt makes fingerprints useless outside this process.
    pub(crate) fn new(duration: Duration, random: &dyn Random) -> Self {
        let mut salt = [0; 32];
        random.fill(&mut salt);
        Self { salt, millis: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), kept: Mutex::default() }
    }

    /// The fingerprint of credentials: of what they say, however the header spells it. Names that nobody can have
    /// count as one, as they all have the same answer.
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

    /// The grant that was given to these credentials, if that was not too long ago.
    pub(crate) fn get(&self, fingerprint: &Fingerprint, now: Timestamp) -> Option<Grant> {
        let kept = self.kept();
        let entry = kept.grants.get(fingerprint)?;
        // A clock that was set back must not prolong anything.
        (entry.from <= now && now < entry.until).then(|| entry.grant.clone())
    }

    /// Keeps a grant that was found right at `from`, and counts no longer than until `expiry`.
    pub(crate) fn keep(
        &self,
        fingerprint: Fingerprint,
        grant: Grant,
        from: Timestamp,
        expiry: Option<Timestamp>,
    ) {
        let until = from.plus_millis(self.millis);
        let until = expiry.map_or(until, |expiry| until.min(expiry));
        if until <= from {
            return;
        }
        let mut kept = self.kept();
        while let Some(&(oldest, end)) = kept.order.front()
            && (end <= from || kept.order.len() >= Self::MAX_GRANTS)
        {
            kept.order.pop_front();
            if kept.grants.get(&oldest).is_some_and(|entry| entry.until == end) {
                kept.grants.remove(&oldest);
            }
        }
        kept.order.push_back((fingerprint, until));
        kept.grants.insert(fingerprint, Entry { grant, from, until });
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing is left half done by what happens under this lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use weir_core::SeededRandom;

    use super::*;
    use crate::fixtures::{basic, grant, now};

    fn cache(seconds: u64) -> Cache {
        Cache::new(Duration::from_secs(seconds), &SeededRandom::new(1))
    }

    fn print(n: usize) -> Fingerprint {
        let mut print = [0; 32];
        print[..8].copy_from_slice(&(n as u64).to_le_bytes());
        print
    }

    #[test]
    fn a_grant_is_kept_for_its_time_and_not_a_millisecond_longer() {
        let cache = cache(60);
        cache.keep(print(1), grant("web"), now(), None);
        assert_eq!(cache.get(&print(1), now()), Some(grant("web")));
        assert_eq!(cache.get(&print(1), now().plus_millis(59_999)), Some(grant("web")));
        assert_eq!(cache.get(&print(1), now().plus_millis(60_000)), None);
        assert_eq!(cache.get(&print(2), now()), None);
    }

    #[test]
    fn the_end_of_the_access_key_ends_it_earlier() {
        let cache = cache(60);
        cache.keep(print(1), grant("web"), now(), Some(now().plus_millis(5)));
        assert!(cache.get(&print(1), now().plus_millis(4)).is_some());
        assert!(cache.get(&print(1), now().plus_millis(5)).is_none());
        cache.keep(print(2), grant("web"), now(), Some(now().plus_millis(99_000)));
        assert!(cache.get(&print(2), now().plus_millis(60_000)).is_none());
    }

    #[test]
    fn a_cache_for_no_time_keeps_nothing() {
        let cache = cache(0);
        cache.keep(print(1), grant("web"), now(), None);
        assert!(cache.get(&print(1), now()).is_none());
        assert!(cache.kept().grants.is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_nothing() {
        let cache = cache(60);
        cache.keep(print(1), grant("web"), now().plus_millis(1_000), None);
        assert!(cache.get(&print(1), now()).is_none());
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let cache = cache(60);
        for n in 0..Cache::MAX_GRANTS + 5 {
            cache.keep(print(n), grant("web"), now(), None);
        }
        assert_eq!(cache.kept().grants.len(), Cache::MAX_GRANTS);
        assert!(cache.get(&print(4), now()).is_none());
        assert!(cache.get(&print(5), now()).is_some());
    }

    #[test]
    fn what_is_over_makes_room_and_what_was_renewed_stays() {
        let cache = cache(60);
        cache.keep(print(1), grant("web"), now(), None);
        cache.keep(print(2), grant("web"), now(), None);
        cache.keep(print(1), grant("new"), now().plus_millis(30_000), None);
        cache.keep(print(3), grant("web"), now().plus_millis(60_000), None);
        let kept = cache.kept();
        assert_eq!((kept.grants.len(), kept.order.len()), (2, 2));
        drop(kept);
        assert_eq!(cache.get(&print(1), now().plus_millis(60_000)), Some(grant("new")));
    }

    #[test]
    fn renewing_the_same_again_and_again_takes_no_more_room() {
        let cache = cache(60);
        for _ in 0..3 * Cache::MAX_GRANTS {
            cache.keep(print(1), grant("web"), now(), None);
        }
        assert!(cache.kept().order.len() <= Cache::MAX_GRANTS);
        assert_eq!(cache.get(&print(1), now()), Some(grant("web")));
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
