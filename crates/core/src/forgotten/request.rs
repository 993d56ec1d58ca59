//! What `weir forget` is asked for: which events of a user are meant.

use std::borrow::Cow;

use crate::{EventType, RecordHead, Username, json};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

/// The events to forget: of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetRequest {
    /// The user who sent them.
    pub username: Username,
    /// Their type; `None` for all types, rejected events included. A rejected event is of the type that it was sent as.
    pub event_type: Option<EventType>,
    /// Which of them.
    pub which: Which,
}

/// Which events of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those with one of these values in a field. The name of a field within another has a dot: `context.email`.
    Where {
        /// The field.
        field: String,
        /// Its value as text, and the values that are stored in its place.
        values: Vec<String>,
    },
}

impl ForgetRequest {
    /// Returns whether a stored event is meant.
    #[must_use]
    pub fn means(&self, head: &RecordHead, line: &[u8]) -> bool {
        if head.partition.username != self.username {
            return false;
        }
        if head.partition.event_type.is_rejected() {
            return self.means_rejected(line);
        }
        self.is_of_type(&head.partition.event_type)
            && match &self.which {
                Which::All => true,
                Which::Where { field, values } => {
                    std::str::from_utf8(line).is_ok_and(|line| has(line, field, values))
                }
            }
    }

    /// Returns whether events of a type are meant.
    #[must_use]
    pub fn is_of_type(&self, event_type: &EventType) -> bool {
        self.event_type.as_ref().is_none_or(|wanted| wanted == event_type)
    }

    /// Returns whether a rejected event is meant: of the text that was sent, only so much is known as can be recognised. In
    /// doubt it is, as it never was an event.
    fn means_rejected(&self, line: &[u8]) -> bool {
        let Ok(line) = serde_json::from_slice::<Value>(line) else { return false };
        let claimed = line.get("claimed_type").and_then(Value::as_str);
        let body = match (line.get("body").and_then(Value::as_str), line.get("body_base64")) {
            (Some(body), _) => Cow::Borrowed(body),
            (None, Some(encoded)) => {
                let bytes = BASE64_STANDARD.decode(encoded.as_str().unwrap_or_default());
                Cow::Owned(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
            }
            (None, None) => Cow::Borrowed(""),
        };
        self.means_sent(claimed, &body)
            // An id that Weir gave to it.
            || matches!(&self.which, Which::Where { field, values }
                if field == "event_id" && line["event_id"].as_str().is_some_and(|id| values.iter().any(|value| value == id)))
    }

    /// Returns whether text is meant that was sent by the user for an event that claims this type.
    #[must_use]
    pub fn means_sent(&self, claimed: Option<&str>, body: &str) -> bool {
        let means_all_rejected = self.event_type.as_ref().is_none_or(EventType::is_rejected);
        let is_claimed = |wanted: &EventType| claimed.is_none_or(|it| wanted.as_str() == it);
        (means_all_rejected || self.event_type.as_ref().is_some_and(is_claimed))
            && match &self.which {
                // With a type, only what claims it.
                Which::All => means_all_rejected || claimed.is_some(),
                Which::Where { field, values } => mentions(body, field, values),
            }
    }

    /// Returns whether a line of raw or quarantine is meant that is no event. Whose it is may not be known: it must name the
    /// user.
    #[must_use]
    pub fn means_line(&self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        let user = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|value| Some(value.get("username")?.as_str()? == self.username.as_str()));
        // A line that cannot be read may be the user's wherever it has the name.
        let is_theirs = user.unwrap_or_else(|| text.contains(self.username.as_str()));
        is_theirs
            && match &self.which {
                Which::All => true,
                Which::Where { field, values } => mentions(&text, field, values),
            }
    }
}

/// Returns whether a JSON object has one of these values in a field, as text or as it is written.
fn has(object: &str, field: &str, values: &[String]) -> bool {
    let Ok(members) = json::members(object) else { return false };
    let is_it = |(name, raw): &(Cow<'_, str>, &serde_json::value::RawValue)| {
        if name == field {
            let text = serde_json::from_str::<String>(raw.get());
            let text = text.as_deref().unwrap_or(raw.get());
            return values.iter().any(|value| value == text);
        }
        let within = field.strip_prefix(&**name).and_then(|rest| rest.strip_prefix('.'));
        within.is_some_and(|within| raw.get().starts_with('{') && has(raw.get(), within, values))
    };
    members.iter().any(is_it)
}

/// Returns whether text that may not be JSON has the field and one of the values.
fn mentions(text: &str, field: &str, values: &[String]) -> bool {
    let name = field.rsplit('.').next().unwrap_or(field);
    if serde_json::from_str::<Value>(text).is_ok_and(|value| has_anywhere(&value, name, values)) {
        return true;
    }
    let quoted = |value: &String| text.contains(&Value::from(value.as_str()).to_string());
    // JSON without the pair may still have it twice, under names that are given twice.
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    text.contains(name)
        && values.iter().any(|value| quoted(value) || (!is_json && text.contains(value.as_str())))
}

fn has_anywhere(value: &Value, name: &str, values: &[String]) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(key, value)| {
            let is_it = || match value {
                Value::String(text) => values.contains(text),
                Value::Number(_) | Value::Bool(_) => values.contains(&value.to_string()),
                _ => false,
            };
            (key == name && is_it()) || has_anywhere(value, name, values)
        }),
        Value::Array(elements) => elements.iter().any(|element| has_anywhere(element, name, values)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(field: &str, value: &str) -> ForgetRequest {
        let which = Which::Where { field: field.to_owned(), values: vec![value.to_owned()] };
        ForgetRequest { username: "ann".parse().unwrap(), event_type: None, which }
    }

    fn line(user: &str, rest: &str) -> String {
        format!(
            "{{\"time\":7,\"event_id\":\"e\",\"username\":\"{user}\",\"event_type\":\"t\",\"received_at\":7,{rest}}}\n"
        )
    }

    #[test]
    fn an_event_is_meant_by_the_exact_value_of_its_field_only() {
        for (field, value, rest, is_meant) in [
            ("email", "a@b", r#""email":"a@b""#, true),
            ("email", "a@b", r#""em\u0061il":"\u0061@b""#, true),
            ("email", "a@b", r#""email":"a@bc""#, false),
            ("email", "a@b", r#""mail":"a@b","x":{"email":"a@b"}"#, false),
            ("x.email", "a@b", r#""x":{"email":"a@b"}"#, true),
            ("x.email", "a@b", r#""x.email":"a@b""#, true),
            ("x.y.z", "1", r#""x.y":{"z":1}"#, true),
            ("n", "123456789012345678901", r#""n":123456789012345678901"#, true),
            ("n", "123456789012345678901", r#""n":123456789012345678902"#, false),
            ("n", "1.10", r#""n":1.10"#, true),
            ("b", "true", r#""b":true"#, true),
            ("s", "null", r#""s":"null""#, true),
            ("event_id", "e", r#""a":1"#, true),
            ("", "x", r#""":"x""#, true),
        ] {
            for user in ["ann", "bob"] {
                let line = line(user, rest);
                let head = RecordHead::read(line.as_bytes()).unwrap();
                let found = request(field, value).means(&head, line.as_bytes());
                assert_eq!(found, is_meant && user == "ann", "{field} {value} {rest}");
            }
        }
    }

    #[test]
    fn a_rejected_text_is_meant_wherever_the_pair_may_be() {
        for (body, is_meant) in [
            (r#"{"email":"a@b"}"#, true),
            (r#"{"x":[{"email":"\u0061@b"}]}"#, true),
            (r#"{"email":"a@b","email":"c@d"}"#, true),
            (r#"{"email":"a@b""#, true),
            ("email=a@b", true),
            (r#"{"email":"c@d"}"#, false),
            (r#"{"email":"xa@b"}"#, false),
            ("a@b", false),
        ] {
            assert_eq!(request("email", "a@b").means_sent(None, body), is_meant, "{body}");
        }
        let mut of_type = request("email", "a@b");
        of_type.event_type = Some("t".parse().unwrap());
        assert!(of_type.means_sent(Some("t"), r#"{"email":"a@b"}"#));
        assert!(!of_type.means_sent(Some("u"), r#"{"email":"a@b"}"#));
        // All rejected events, whatever they were sent as.
        for (which, is_meant) in [(Which::All, true), (request("email", "x").which, false)] {
            let event_type = Some(EventType::rejected());
            let all = ForgetRequest { event_type, which, ..request("email", "a@b") };
            for claimed in [None, Some("t"), Some("no such type")] {
                assert_eq!(all.means_sent(claimed, r#"{"email":"a@b"}"#), is_meant, "{claimed:?}");
            }
            let event = line("ann", r#""email":"x""#);
            assert!(!all.means(&RecordHead::read(event.as_bytes()).unwrap(), event.as_bytes()));
        }
    }

    #[test]
    fn a_line_that_is_no_event_is_meant_if_it_names_the_user() {
        let request = request("email", "a@b");
        assert!(request.means_line(br#"{"username":"ann","email":"a@b"}"#));
        assert!(!request.means_line(br#"{"username":"bob","email":"a@b"}"#));
        assert!(request.means_line(br#"{"username":"ann","email":"a@b"#));
        assert!(!request.means_line(b"\xff\xfe"));
    }
}
