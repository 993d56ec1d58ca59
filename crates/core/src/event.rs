//! Events as clients send them, and the faults that one can have.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::{EventId, EventType, Timestamp, json, looks, occurred};

/// The largest event, in bytes of JSON as it was sent.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// The names that Weir stamps onto an event and that a client cannot set.
pub const STAMPED: [&str; 3] = ["username", "received_at", "time"];

/// The names that a client may send beside its fields and that no schema can define.
pub const ENVELOPE: [&str; 3] = ["event_type", "event_id", "occurred_at"];

/// The name of the mark of a bot's event. Unlike a stamped name it may be a field's.
pub const BOT: &str = "bot";

/// One reason why an event is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The place in the event: a JSON pointer (RFC 6901), empty for the whole.
    pub path: String,
    /// The reason, in words; it never repeats the client's value.
    pub message: String,
}

impl Violation {
    /// The longest path and message, in characters; longer ones are cut.
    const MAX_CHARS: usize = 300;

    /// Makes a violation at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        let cut = |text: String| match text.char_indices().nth(Self::MAX_CHARS) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        };
        Self { path: cut(path.into()), message: cut(message.into()) }
    }

    /// Makes a violation of the whole event.
    #[must_use]
    pub fn whole(message: impl Into<String>) -> Self {
        Self::new("", message)
    }
}

/// An event as it was sent: well-formed JSON without members that a client may not set. The catalog checks whether its fields
/// are those of its type.
#[derive(Debug)]
pub struct Event<'a> {
    /// The type that the client named, if it did.
    pub event_type: Option<EventType>,
    /// The client's identity for the event, if it gave one.
    pub event_id: Option<EventId>,
    /// The time at which it happened, by the client's clock, if the client gave it.
    pub occurred_at: Option<Timestamp>,
    fields: Vec<(Cow<'a, str>, Cow<'a, RawValue>)>,
    filled: Vec<(String, String)>,
    is_of_a_bot: bool,
    value: Value,
}

impl<'a> Event<'a> {
    /// Reads one event from its JSON text, or returns all of its faults.
    pub fn read(text: &'a str) -> Result<Self, Vec<Violation>> {
        if text.len() > MAX_EVENT_BYTES {
            return Err(vec![Violation::whole(format!("an event has at most {MAX_EVENT_BYTES} bytes"))]);
        }
        let syntax = |error: serde_json::Error| {
            let looks = looks::of_text(text, &error).map(|looks| format!(": {looks}"));
            vec![Violation::whole(format!("not valid JSON: {error}{}", looks.unwrap_or_default()))]
        };
        let mut value = json::read_strictly(text).map_err(syntax)?;
        let Value::Object(object) = &mut value else {
            return Err(vec![Violation::whole("an event must be a JSON object")]);
        };
        let mut violations = Vec::new();
        for name in STAMPED {
            if object.contains_key(name) {
                let hint = if name == "time" { ": send when the event happened as occurred_at" } else { "" };
                let message = format!("is set by the collector and cannot be sent{hint}");
                violations.push(Violation::new(format!("/{name}"), message));
            }
        }
        let event_type = envelope(object.remove("event_type"), "event_type", &mut violations, |value| {
            value.as_str().ok_or("must be a string".to_owned())?.parse().map_err(|e| format!("{e}"))
        });
        let event_id = envelope(object.remove("event_id"), "event_id", &mut violations, |value| {
            value.as_str().ok_or("must be a string".to_owned())?.parse().map_err(|e| format!("{e}"))
        });
        let occurred_at =
            envelope(object.remove("occurred_at"), "occurred_at", &mut violations, occurred::read);
        if !violations.is_empty() {
            return Err(violations);
        }
        let fields = json::members(text).map_err(syntax)?.into_iter();
        let fields = fields.filter(|(name, _)| !ENVELOPE.contains(&&**name));
        let fields = fields.map(|(name, value)| (name, Cow::Borrowed(value))).collect();
        Ok(Self { event_type, event_id, occurred_at, fields, filled: Vec::new(), is_of_a_bot: false, value })
    }

    /// Returns the event's fields as a JSON object, for validation: numbers are those of IEEE 754 here.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Marks the event as one of a bot. An event that has a field of the mark's name keeps it, and stays unmarked.
    pub fn mark_as_of_a_bot(&mut self) {
        self.is_of_a_bot = self.value.get(BOT).is_none();
    }

    /// Returns whether the event is marked as one of a bot.
    pub(crate) fn is_of_a_bot(&self) -> bool {
        self.is_of_a_bot
    }

    /// Adds a field with a text, which the client did not send.
    pub(crate) fn fill(&mut self, name: &str, text: String) {
        self.value[name] = Value::String(text.clone());
        self.filled.push((name.to_owned(), text));
    }

    /// Returns the fields that the client did not send, each with its text.
    pub(crate) fn filled(&self) -> &[(String, String)] {
        &self.filled
    }

    /// Returns the client's fields, each with its JSON text exactly as it was sent.
    pub(crate) fn fields(&self) -> &[(Cow<'a, str>, Cow<'a, RawValue>)] {
        &self.fields
    }

    /// Replaces the value of a field, if it is text.
    pub(crate) fn replace_text(&mut self, name: &str, replacement: impl FnOnce(&str) -> String) {
        let Some(Value::String(text)) = self.value.get_mut(name) else { return };
        *text = replacement(text);
        if let Some((_, raw)) = self.fields.iter_mut().find(|(field, _)| field == name) {
            *raw = Cow::Owned(to_raw_value(text).expect("a string is JSON"));
        }
        if let Some((_, filled)) = self.filled.iter_mut().find(|(field, _)| field == name) {
            filled.clone_from(text);
        }
    }
}

/// Reads a member that may be missing; null counts as missing.
fn envelope<T>(
    value: Option<Value>,
    name: &str,
    violations: &mut Vec<Violation>,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Option<T> {
    let value = value.filter(|value| !value.is_null())?;
    match read(&value) {
        Ok(read) => Some(read),
        Err(message) => {
            // Messages read "A time must be …": the path replaces the subject.
            let rule = message.find("must be ").map_or(&*message, |at| &message[at..]);
            violations.push(Violation::new(format!("/{name}"), rule));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages(text: &str) -> Vec<String> {
        Event::read(text).unwrap_err().into_iter().map(|v| format!("{} {}", v.path, v.message)).collect()
    }

    #[test]
    fn a_reason_says_once_which_field_it_is_about() {
        for (text, reason) in [
            (r#"{"event_id":"a b"}"#, "/event_id must be 1 to 64 of"),
            (r#"{"event_id":7}"#, "/event_id must be a string"),
            (r#"{"event_type":"No"}"#, "/event_type must be 1 to 48 of"),
            (r#"{"occurred_at":"x"}"#, "/occurred_at must be milliseconds"),
        ] {
            let said = messages(text);
            assert!(said.len() == 1 && said[0].starts_with(reason), "{said:?}");
        }
    }

    #[test]
    fn everything_wrong_with_the_envelope_is_said_at_once() {
        let said = messages(
            r#"{"username":"eve","received_at":1,"event_type":7,"event_id":"a b","occurred_at":-1}"#,
        );
        assert_eq!(said.len(), 5, "{said:?}");
        assert!(said[0].starts_with("/username is set by the collector"));
    }

    #[test]
    fn an_event_is_an_object_of_bounded_size() {
        assert_eq!(messages("[1]"), [" an event must be a JSON object"]);
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_EVENT_BYTES));
        assert_eq!(messages(&large), [" an event has at most 262144 bytes"]);
    }

    #[test]
    fn occurred_at_is_milliseconds_or_rfc_3339() {
        for time in ["1000", "1000.0", "1e3", r#""1970-01-01T00:00:01Z""#] {
            let text = format!(r#"{{"occurred_at":{time}}}"#);
            assert_eq!(Event::read(&text).unwrap().occurred_at.unwrap().millis(), 1000, "{time}");
        }
        for time in ["1000.5", "-1", "-1.0", "1e300", "253402207200001", "253402207200001.0", "true"] {
            let said = messages(&format!(r#"{{"occurred_at":{time}}}"#));
            assert!(said.len() == 1 && said[0].starts_with("/occurred_at must be"), "{time}: {said:?}");
        }
        assert!(Event::read(r#"{"occurred_at":null}"#).unwrap().occurred_at.is_none());
    }

    #[test]
    fn the_envelope_is_no_part_of_the_fields() {
        let event = Event::read(r#"{"event_type":"t","event_id":"1","occurred_at":1,"a":1}"#).unwrap();
        assert_eq!(event.value(), &serde_json::json!({"a": 1}));
        assert_eq!(event.fields().len(), 1);
    }

    #[test]
    fn long_paths_are_cut() {
        assert_eq!(Violation::new("é".repeat(999), "").path.chars().count(), 301);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,120}") {
            let _ = Event::read(&text);
        }
    }
}
