//! Dedup: when an event is a repeat of another. It is decided here, for the journal, `DynamoDB` and the fan-out alike.
//!
//! 1. Two events of one user to which the *client* gave the same id are one event that was sent twice. The first that is
//!    stored stands, even if the second has other content.
//! 2. An event whose id *Weir* made repeats only itself: the stream may deliver the same line twice.
//! 3. A rejected event has an id that Weir made as its identity, so that it can be corrected and sent again.
//!
//! These are three namespaces. A client may send an event under an id that Weir made for an earlier one: it is an event of
//! its own, and is stored and filed. The maker of an id follows from the stored line alone: Weir's ids carry the millisecond
//! of the line's `received_at`, and [`Stamp::new`](crate::Stamp::new) ensures that a client's id never does.

use sha2::{Digest, Sha256};

use crate::{EventId, EventType, Timestamp, Username};

/// The digest of an identity: half of a SHA-256. No collision happens by chance, and no client can construct one.
pub type IdentityDigest = [u8; 16];

/// The identity of an event for dedup. Two stored lines with the same identity are one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity<'a> {
    /// The client gave the id: the event may be sent again, and is looked up before it is stored.
    Given {
        /// The user who sent the event.
        username: &'a Username,
        /// The client's id.
        event_id: &'a EventId,
    },
    /// Weir made the id: only the stream can repeat the line.
    Made {
        /// The user who sent the event.
        username: &'a Username,
        /// Weir's id.
        event_id: &'a EventId,
    },
    /// The event failed validation, and is kept aside.
    Rejected {
        /// The user who sent the event.
        username: &'a Username,
        /// Weir's id.
        event_id: &'a EventId,
    },
}

impl<'a> Identity<'a> {
    /// Returns the identity of an event, from the members stamped onto it.
    #[must_use]
    #[inline]
    pub fn of(
        username: &'a Username,
        event_type: &EventType,
        event_id: &'a EventId,
        received_at: Timestamp,
    ) -> Self {
        if event_type.is_rejected() {
            Self::Rejected { username, event_id }
        } else if event_id.is_generated_at(received_at) {
            Self::Made { username, event_id }
        } else {
            Self::Given { username, event_id }
        }
    }

    /// Returns the parts that distinguish identities: the user, a sign for the namespace, and the id. The sign occurs in no
    /// username and in no id, so their concatenation is unique as well.
    #[must_use]
    #[inline]
    pub fn parts(&self) -> [&'a str; 3] {
        match *self {
            Self::Given { username, event_id } => [username.as_str(), "/", event_id.as_str()],
            Self::Made { username, event_id } => [username.as_str(), "=", event_id.as_str()],
            Self::Rejected { username, event_id } => [username.as_str(), "!", event_id.as_str()],
        }
    }

    /// Returns the digest of the identity, for a store that remembers it in little room.
    #[must_use]
    pub fn digest(&self) -> IdentityDigest {
        let mut hash = Sha256::new();
        for part in self.parts() {
            hash.update(part);
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        digest
    }

    /// Returns whether the client gave the event its id, so that a store has to remember it.
    #[must_use]
    pub fn is_given(&self) -> bool {
        matches!(self, Self::Given { .. })
    }

    /// Returns the key under which a store remembers the event, `USERNAME/EVENT_ID`, if its client gave it its id.
    #[must_use]
    pub fn to_remember(&self) -> Option<String> {
        self.is_given().then(|| self.parts().concat())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Event, Record, RecordHead, SeededRandom, Stamp};

    const NOW: u64 = 1_795_179_605_007;

    fn record(id: Option<&str>, at: u64) -> Record {
        let given = id.map(|id| id.parse().unwrap());
        let stamp = Stamp::new(
            "ann".parse().unwrap(),
            given,
            Timestamp::from_millis(at).unwrap(),
            &SeededRandom::new(at),
        );
        let text = id.map_or("{}".to_owned(), |id| format!("{{\"event_id\":\"{id}\"}}"));
        Record::accepted(&Event::read(&text).unwrap(), &"a".parse().unwrap(), None, stamp)
    }

    #[test]
    fn an_id_that_weir_made_and_a_client_sends_again_is_an_event_of_its_own() {
        for later in [0, 1, 86_400_000] {
            let first = record(None, NOW);
            assert!(!first.may_repeat());
            let told = first.event_id().as_str();
            let again = record(Some(told), NOW + later);
            assert!(again.may_repeat(), "{later} ms later");
            assert_ne!(first.identity(), again.identity());
            assert_eq!(again.identity(), record(Some(told), NOW + later + 5).identity());
        }
    }

    #[test]
    fn only_the_form_in_which_weir_writes_ids_of_that_millisecond_is_weirs_own() {
        let at = Timestamp::from_millis(NOW).unwrap();
        let own = EventId::generate(at, &SeededRandom::new(1));
        assert!(own.is_generated_at(at));
        assert!(!own.is_generated_at(at.plus_millis(1)));
        let own = own.as_str();
        for other in [
            own.to_uppercase(),
            own.replace('-', ":"),
            own.replacen("-7", "-4", 1),
            own.replace('-', ""),
            format!("{}c{}", &own[..19], &own[20..]),
            format!("{}g", &own[..35]),
        ] {
            assert!(!other.parse::<EventId>().unwrap().is_generated_at(at), "{other}");
        }
    }

    proptest! {
        #[test]
        fn the_stored_line_tells_the_identity_that_the_record_had(
            given in prop::option::of("[A-Za-z0-9._:-]{1,64}"), at in 0..=Timestamp::MAX_MILLIS - 1,
        ) {
            let record = record(given.as_deref(), at);
            prop_assert_eq!(record.may_repeat(), given.is_some());
            let head = RecordHead::read(record.line()).unwrap();
            prop_assert_eq!(head.identity(), record.identity());
        }
    }
}
