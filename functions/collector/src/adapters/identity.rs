//! A foreign id as an `event_id`, so that a vendor client's retry counts once.
//!
//! An id of the alphabet of event ids (1 to 64 of `A-Za-z0-9._:-`) stays as it is. Any other becomes a digest of itself, under
//! a prefix; an id that begins with the prefix becomes one too, so it cannot collide with a digest.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use weir_core::EventId;

/// The prefix of digests. With the 43 characters of one, it has fewer than 64.
const PREFIX: &str = "id.sha256:";

/// Returns the event id of a foreign one; `None` for an empty id, which identifies nothing.
pub(crate) fn event_id(foreign: &str) -> Option<EventId> {
    match foreign.parse::<EventId>() {
        _ if foreign.is_empty() => None,
        Ok(id) if !foreign.starts_with(PREFIX) => Some(id),
        _ => digest(&[foreign]),
    }
}

/// Returns the event id of several parts that identify an event together, such as a source and an id in it.
pub(crate) fn of_parts(parts: &[&str]) -> Option<EventId> {
    digest(parts)
}

/// Each part's length comes before it, so no two lists of parts have the same digest input.
fn digest(parts: &[&str]) -> Option<EventId> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(hash.finalize())).parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_stays_itself_where_it_can() {
        for id in ["a", "ajs-next-1795-a_b", "urn:x:1.2", &"a".repeat(64)] {
            assert_eq!(event_id(id).unwrap().as_str(), id);
        }
        for id in ["a b", "é", "\0", &"a".repeat(65), "id.sha256:x"] {
            assert!(event_id(id).unwrap().as_str().starts_with(PREFIX), "{id}");
        }
        assert_eq!(event_id(""), None);
    }

    proptest! {
        #[test]
        fn no_two_ids_become_one(
            ids in prop::collection::btree_set("[a-c .:]{1,3}|\\PC{1,80}|[a-z]{60,70}|id\\.sha256:[a-z]{0,3}", 1..60),
            parts in prop::collection::btree_set(prop::collection::vec("[ab]{0,2}", 2..4), 1..20),
        ) {
            let mut seen = BTreeMap::new();
            let digests: Vec<String> =
                ids.iter().filter_map(|id| event_id(id)).map(|id| id.as_str().to_owned()).collect();
            // What an id became is an id too, and may be sent by another client.
            for id in ids.iter().chain(digests.iter().filter(|digest| !ids.contains(*digest))) {
                let became = event_id(id).unwrap();
                prop_assert_eq!(seen.insert(became, id.clone()), None);
            }
            for parts in &parts {
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                prop_assert_eq!(seen.insert(of_parts(&parts).unwrap(), format!("{parts:?}")), None);
            }
        }
    }
}
