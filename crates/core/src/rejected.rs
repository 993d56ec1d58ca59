//! Rejected events as their senders see them: the text that was sent, cut, and the reasons against it.

use serde::{Deserialize, Serialize};

use crate::{EventId, EventType, Record, Timestamp, Violation};

/// The most rejected events of a user that are shown.
pub const MAX_SHOWN: usize = 50;

/// The most bytes of an event's text that are shown.
pub const MAX_TEXT: usize = 2048;

/// The most reasons that are shown.
pub const MAX_REASONS: usize = 10;

/// A rejected event, or the part of it that is shown. Engines store its JSON, and the API returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedEvent {
    /// The id that Weir gave it.
    pub event_id: EventId,
    /// The type that its client named.
    pub event_type: Option<EventType>,
    /// The time of its arrival.
    pub received_at: Timestamp,
    /// The first reasons against it.
    pub errors: Vec<Violation>,
    /// Its text as it was sent, or the beginning. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub event: String,
    /// Whether the text is only the beginning.
    pub truncated: bool,
}

/// The members of a rejected event's line beside the stamped ones.
#[derive(Deserialize)]
struct Line {
    claimed_type: Option<EventType>,
    errors: Vec<Violation>,
    body: Option<String>,
    body_base64: Option<String>,
    #[serde(default)]
    truncated: bool,
}

impl RejectedEvent {
    /// Returns the shown form of a record; `None` if its event was accepted.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        if !record.is_rejected() {
            return None;
        }
        Self::read(record.line(), record.event_id(), record.received_at())
    }

    /// Reads the shown form of a stored line; `None` if it is no rejected event's.
    pub(crate) fn read(line: &[u8], event_id: &EventId, received_at: Timestamp) -> Option<Self> {
        let line: Line = serde_json::from_slice(line).ok()?;
        let (mut event, cut) = match (line.body, line.body_base64) {
            (Some(text), _) => (text, false),
            (None, Some(encoded)) => beginning_of(&encoded),
            (None, None) => (String::new(), false),
        };
        let truncated = line.truncated || cut || event.len() > MAX_TEXT;
        event.truncate(event.floor_char_boundary(MAX_TEXT));
        let mut errors = line.errors;
        errors.truncate(MAX_REASONS);
        Some(Self {
            event_id: event_id.clone(),
            event_type: line.claimed_type,
            received_at,
            errors,
            event,
            truncated,
        })
    }

    /// Returns the newest rejected events among one user's records, newest first, at most `limit`. Records are in the order
    /// in which their events came.
    #[must_use]
    pub fn newest(records: &[Record], limit: usize) -> Vec<Self> {
        let rejected = records.iter().rev().filter(|record| record.is_rejected());
        rejected.take(limit).filter_map(Self::of).collect()
    }
}

/// Returns the beginning of a body that is not UTF-8, and whether there is more.
fn beginning_of(encoded: &str) -> (String, bool) {
    // Four characters of base64 are three bytes.
    let enough = encoded.len().min(MAX_TEXT.div_ceil(3) * 4);
    let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, &encoded[..enough]);
    (String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned(), enough < encoded.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Stamp};

    fn stamp(id: &str) -> Stamp {
        Stamp {
            username: "ethan".parse().unwrap(),
            event_id: id.parse().unwrap(),
            received_at: Timestamp::saturating(1_795_179_605_007),
        }
    }

    fn rejected(body: &[u8], errors: usize) -> RejectedEvent {
        let errors: Vec<Violation> =
            (0..errors).map(|n| Violation::new(format!("/{n}"), "is required")).collect();
        let claimed: EventType = "page_view".parse().unwrap();
        RejectedEvent::of(&Record::rejected(body, Some(&claimed), &errors, stamp("e-1"))).unwrap()
    }

    #[test]
    fn what_was_sent_is_shown_with_its_reasons_and_reads_back_from_its_json() {
        let shown = rejected("{\"a\":\"<b>\n\u{0}é".as_bytes(), 2);
        assert_eq!((&*shown.event, shown.truncated), ("{\"a\":\"<b>\n\u{0}é", false));
        assert_eq!(shown.errors[1], Violation::new("/1", "is required"));
        assert_eq!(shown.event_type, Some("page_view".parse().unwrap()));
        let text = serde_json::to_string(&shown).unwrap();
        assert_eq!(serde_json::from_str::<RejectedEvent>(&text).unwrap(), shown);
    }

    #[test]
    fn long_texts_and_many_reasons_are_cut_and_between_characters_only() {
        for (body, kept) in [
            ("x".repeat(2048).into_bytes(), 2048),
            (format!("x{}", "é".repeat(2000)).into_bytes(), 2047),
            (vec![b'x'; 2 << 20], 2048),
            (vec![0xff; 600], 1800),
            (vec![0xff; 2 << 20], 2046),
        ] {
            let shown = rejected(&body, 30);
            assert_eq!((shown.event.len(), shown.errors.len()), (kept, MAX_REASONS));
            assert_eq!(shown.truncated, !matches!(body.len(), 600 | 2048));
        }
    }

    #[test]
    fn of_many_records_the_newest_rejected_ones_are_shown() {
        let mut records: Vec<Record> =
            (0..5).map(|n| Record::rejected(b"?", None, &[], stamp(&format!("e-{n}")))).collect();
        let event = Event::read("{}").unwrap();
        let accepted = Record::accepted(&event, &"page_view".parse().unwrap(), None, stamp("accepted"));
        assert_eq!(RejectedEvent::of(&accepted), None);
        records.push(accepted);
        let shown = RejectedEvent::newest(&records, 3);
        let ids: Vec<&str> = shown.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!(ids, ["e-4", "e-3", "e-2"]);
    }
}
