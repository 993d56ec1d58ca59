//! Forgotten events: what must never come back, by a replay, a late notification or a client's retry.
//!
//! A forgotten event leaves a tombstone: a digest of its identity, keyed with the secret of the installation. So nothing of the
//! event is left, and without the secret no id can be looked up, as an id may be made of an address.

mod request;

use std::collections::HashSet;

pub use request::{ForgetRequest, Which};

use crate::{
    EventType, InstallationSecret, RecordHead, Timestamp,
    dedup::{Identity, IdentityDigest},
};

/// The tombstone of a forgotten event: a keyed digest.
pub type Tombstone = [u8; 16];

/// Returns the tombstone by which a client's retry of a forgotten event is recognised. `digest` is of its identity.
#[must_use]
pub fn tombstone_of_id(secret: &InstallationSecret, digest: &IdentityDigest) -> Tombstone {
    half(&secret.digest(&[&b"id\n"[..], digest].concat()))
}

/// Returns the tombstone of a stored event: of its identity, its type and its time of arrival. Another event that its client
/// sent under the same id, a week later perhaps, has another one.
#[must_use]
pub fn tombstone_of_event(
    secret: &InstallationSecret,
    identity: &Identity<'_>,
    event_type: &EventType,
    received_at: Timestamp,
) -> Tombstone {
    let [user, sign, id] = identity.parts();
    let (event_type, at) = (event_type.as_str(), received_at.millis());
    half(&secret.digest(format!("event\n{user}{sign}{id}\n{event_type}\n{at}").as_bytes()))
}

/// Returns the tombstone of a line that is no event and could not be filed.
#[must_use]
pub fn tombstone_of_line(secret: &InstallationSecret, line: &[u8]) -> Tombstone {
    half(&secret.digest(&[b"line\n", line].concat()))
}

fn half(hash: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

/// All that was forgotten: the tombstones, and the secret by which they were made.
#[derive(Debug, Default)]
pub struct ForgottenEvents(Option<(InstallationSecret, HashSet<Tombstone>)>);

impl ForgottenEvents {
    /// Collects what was forgotten.
    #[must_use]
    pub fn new(secret: InstallationSecret, tombstones: HashSet<Tombstone>) -> Self {
        Self((!tombstones.is_empty()).then_some((secret, tombstones)))
    }

    /// Returns whether nothing was ever forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether a stored event was forgotten.
    #[must_use]
    pub fn has(&self, head: &RecordHead) -> bool {
        let event_type = &head.partition.event_type;
        self.has_one(|secret| tombstone_of_event(secret, &head.identity(), event_type, head.received_at))
    }

    /// Returns whether a client's event is a retry of a forgotten one. `digest` is of its identity.
    #[must_use]
    pub fn has_id(&self, digest: &IdentityDigest) -> bool {
        self.has_one(|secret| tombstone_of_id(secret, digest))
    }

    /// Returns whether a line that is no event was forgotten.
    #[must_use]
    pub fn has_line(&self, line: &[u8]) -> bool {
        self.has_one(|secret| tombstone_of_line(secret, line))
    }

    /// Returns whether a line of a file was forgotten, also if no event can be read from it.
    #[must_use]
    pub fn has_stored(&self, line: &[u8]) -> bool {
        // A line that ends a file may lack its line break.
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        match RecordHead::read(line) {
            Ok(head) => self.has(&head),
            Err(_) => self.has_line(line),
        }
    }

    /// Returns the secret and the tombstones; `None` if nothing was ever forgotten.
    #[must_use]
    pub fn parts(&self) -> Option<(&InstallationSecret, &HashSet<Tombstone>)> {
        self.0.as_ref().map(|(secret, tombstones)| (secret, tombstones))
    }

    fn has_one(&self, tombstone: impl FnOnce(&InstallationSecret) -> Tombstone) -> bool {
        self.0.as_ref().is_some_and(|(secret, tombstones)| tombstones.contains(&tombstone(secret)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Event, Record, SeededRandom, Stamp};

    fn head(user: &str, id: Option<&str>, at: u64) -> RecordHead {
        let text = id.map_or("{}".to_owned(), |id| format!(r#"{{"event_id":"{id}"}}"#));
        let id = id.map(|id| id.parse().unwrap());
        let stamp = Stamp::new(user.parse().unwrap(), id, Timestamp::saturating(at), &SeededRandom::new(at));
        let record = Record::accepted(&Event::read(&text).unwrap(), &"t".parse().unwrap(), None, stamp);
        RecordHead::read(record.line()).unwrap()
    }

    fn of(secret: &InstallationSecret, head: &RecordHead) -> [Tombstone; 2] {
        let event_type = &head.partition.event_type;
        let event = tombstone_of_event(secret, &head.identity(), event_type, head.received_at);
        [event, tombstone_of_id(secret, &head.identity().digest())]
    }

    #[test]
    fn only_the_forgotten_events_and_their_retries_are_forgotten() {
        let secret = InstallationSecret::generate(&SeededRandom::new(1));
        let gone = [head("ann", Some("a"), 9), head("ann", None, 9)];
        let mut tombstones: HashSet<Tombstone> = gone.iter().flat_map(|head| of(&secret, head)).collect();
        tombstones.insert(tombstone_of_line(&secret, b"no event"));
        let forgotten = ForgottenEvents::new(secret, tombstones);
        assert!(gone.iter().all(|head| forgotten.has(head)));
        let later = head("ann", Some("a"), 77);
        assert!(forgotten.has_id(&later.identity().digest()), "a retry comes later");
        assert!(!forgotten.has(&later), "what was stored under the same id at another time is another event");
        for other in [head("ann", Some("b"), 9), head("bob", Some("a"), 9), head("ann", None, 8)] {
            assert!(!forgotten.has(&other) && !forgotten.has_id(&other.identity().digest()));
        }
        assert!(forgotten.has_line(b"no event") && !forgotten.has_line(b"no other"));
        assert!(!forgotten.is_empty() && ForgottenEvents::default().is_empty());
    }

    proptest! {
        #[test]
        fn a_tombstone_says_nothing_without_the_secret(id in "[a-z0-9]{1,20}", one: u64, other: u64) {
            prop_assume!(one != other);
            let head = head("ann", Some(&id), 9);
            let digest = head.identity().digest();
            let by = |seed| of(&InstallationSecret::generate(&SeededRandom::new(seed)), &head);
            prop_assert!(by(one).iter().all(|tombstone| !by(other).contains(tombstone) && *tombstone != digest));
        }
    }
}
