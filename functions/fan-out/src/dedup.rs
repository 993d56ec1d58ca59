//! Dedup within a batch: finds lines whose event came earlier in it.
//!
//! The stream delivers at least once. A call whose answer was lost is made again with all its lines, those whose id Weir made
//! included. Only the first line of an identity is filed (`weir_core::repeats` says when two lines are one event).
//!
//! Digests of the latest events are kept in two generations. When the younger one is full, the older one is dropped. So memory
//! is bounded, however large the batch, and a repeat is certainly found if fewer than [`GENERATION`] other events lie between it
//! and the first. Which repeats are found depends on the lines alone.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
    mem,
};

use siphasher::sip128::{Hasher128, SipHasher24};
use weir_core::{BatchKey, RecordHead};

/// The most events in a generation: nine megabytes of digests.
const GENERATION: usize = 250_000;

/// The identities of the events that were seen lately.
pub(crate) struct Repeats {
    /// If two events shared a digest, one of them would be lost. So a digest has 128 bits, and a key that no client can know:
    /// it is derived from the batch's name, which is given after the events were sent.
    digest: SipHasher24,
    size: usize,
    younger: Digests,
    older: Digests,
}

type Digests = HashSet<u128, BuildHasherDefault<AsItIs>>;

/// A hasher that takes a digest itself as its hash.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the other half is for comparing")]
    fn write_u128(&mut self, digest: u128) {
        self.0 = digest as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Repeats {
    pub(crate) fn of(batch: &BatchKey) -> Self {
        Self::with_generations_of(GENERATION, batch)
    }

    fn with_generations_of(size: usize, batch: &BatchKey) -> Self {
        let mut name = SipHasher24::new();
        name.write(batch.as_str().as_bytes());
        let key = name.finish128();
        let digest = SipHasher24::new_with_keys(key.h1, key.h2);
        Self { digest, size, younger: Digests::default(), older: Digests::default() }
    }

    /// Returns whether the event was seen before, and remembers it.
    pub(crate) fn has(&mut self, head: &RecordHead) -> bool {
        let mut digest = self.digest;
        for part in head.identity().parts() {
            digest.write(part.as_bytes());
        }
        let digest = digest.finish128().as_u128();
        if self.older.contains(&digest) || self.younger.contains(&digest) {
            return true;
        }
        if self.younger.len() >= self.size {
            mem::swap(&mut self.older, &mut self.younger);
            // Reuses its memory.
            self.younger.clear();
        }
        self.younger.insert(digest);
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;
    use weir_core::{EventId, SeededRandom, Timestamp};

    use super::*;
    use crate::memory::record;

    fn head(user: &str, event_type: &str, id: &str) -> RecordHead {
        RecordHead::read(record(user, event_type, 498_661, id).as_bytes()).unwrap()
    }

    fn repeats(size: usize) -> Repeats {
        Repeats::with_generations_of(size, &BatchKey::new("b.gz"))
    }

    #[test]
    fn an_event_is_known_by_its_user_and_id_and_by_whether_it_was_rejected() {
        let mut repeats = repeats(10);
        assert!(!repeats.has(&head("ann", "a", "1")));
        assert!(repeats.has(&head("ann", "b", "1")));
        for (user, event_type, id) in
            [("bob", "a", "1"), ("ann", "a", "2"), ("ann", "rejected", "1"), ("an", "a", "n1")]
        {
            assert!(!repeats.has(&head(user, event_type, id)), "{user} {event_type} {id}");
            assert!(repeats.has(&head(user, event_type, id)));
        }
    }

    #[test]
    fn a_line_whose_id_weir_made_is_another_event_than_one_to_which_a_client_gave_that_id() {
        // `record` is received in the first millisecond of its hour.
        let received_at = Timestamp::saturating(498_661 * 3_600_000 + 1);
        let made = EventId::generate(received_at, &SeededRandom::new(1));
        let at = |hour| {
            let line = record("ann", "a", hour, made.as_str());
            RecordHead::read(line.as_bytes()).unwrap()
        };
        let mut repeats = repeats(10);
        for (hour, comes_again) in [(498_661, false), (498_662, false), (498_663, true), (498_661, true)] {
            assert_eq!(repeats.has(&at(hour)), comes_again, "{hour}");
        }
    }

    #[test]
    fn memory_has_a_bound_however_many_events_there_are() {
        let mut repeats = repeats(1000);
        for n in 0..20_000 {
            repeats.has(&head("ann", "a", &n.to_string()));
            assert!(repeats.younger.len() <= 1000 && repeats.older.len() <= 1000);
        }
        assert!(repeats.younger.capacity() + repeats.older.capacity() < 4000);
    }

    proptest! {
        #[test]
        fn a_repeat_is_found_if_fewer_events_lie_between_than_a_generation_has(
            ids in prop::collection::vec(0..30u8, 0..300), size in 1..20usize,
        ) {
            let mut repeats = repeats(size);
            let mut last: VecDeque<u8> = VecDeque::new();
            let mut filed = Vec::new();
            for id in &ids {
                let is_repeat = repeats.has(&head("ann", "a", &id.to_string()));
                if last.contains(id) {
                    prop_assert!(is_repeat);
                }
                // What is dropped was filed.
                prop_assert!(!is_repeat || filed.contains(id));
                if !is_repeat {
                    filed.push(*id);
                    last.push_back(*id);
                    if last.len() > size { last.pop_front(); }
                }
            }
        }
    }
}
