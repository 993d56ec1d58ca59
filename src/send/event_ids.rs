//! Ids for events that have none, which make retries idempotent.
//!
//! An id is derived from the file's whole content, the line's number and the line itself. So the same file gives the same
//! ids, whatever its name and whether or not it is compressed; two equal lines of a file are two events; and files that
//! differ anywhere have no id in common, even if they share lines. A digest of the beginning alone would save reading the
//! file twice, and would lose the events of files that begin alike. A file that has grown is another file: naming the
//! source makes its ids stable.
//!
//! Parquet has no lines. The id of an event in it is derived from the file's content and the row's number, because DuckDB's
//! text of a row may change with its version. Only with a named source, the row as JSON takes the line's place.
//!
//! An option is part of an id only where it changes the event: it gives a line without a type its type. Versions before
//! this rule, and before the whole-content rule, made other ids ([`Ids::Before`]). A run that such a version left
//! unfinished continues with them, as a line that was sent but not recorded would otherwise be stored twice.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{ErrorKind, Read},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use weir_core::{Event, EventType, Random};

/// The part that all ids of a file have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed([u8; 32]);

impl Seed {
    /// Returns the seed of a file with this content, up to its end or to a read error: sending it meets the same error.
    pub(super) fn of_content(mut content: impl Read) -> Self {
        let mut digest = Sha256::new().chain_update(b"weir send, a whole file\0");
        let mut piece = vec![0; 64 << 10];
        loop {
            match content.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => digest.update(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        Self(digest.finalize().into())
    }

    /// Returns the seed of [`Ids::Before`] for a file with this beginning.
    pub(super) fn of_beginning(head: &[u8]) -> Self {
        Self(Sha256::new().chain_update(b"weir send, a file\0").chain_update(head).finalize().into())
    }

    /// Returns the seed of a source that the user named.
    pub(super) fn of_source(name: &str) -> Self {
        Self(Sha256::new().chain_update(b"weir send, a source\0").chain_update(name).finalize().into())
    }

    /// Returns a seed for an input that cannot be read twice.
    pub(super) fn of_nothing(random: &dyn Random) -> Self {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        Self(bytes)
    }

    /// Returns the seed as text, for comparison.
    pub(super) fn text(&self) -> String {
        hex(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The rule by which ids are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ids {
    /// Until November 2026: from the first 64 KiB of a file, and from `--type` even if a line names its own type. State
    /// files of that time do not name the rule.
    #[default]
    Before,
    /// From the whole content, and from the type given to a line.
    WholeContent,
}

/// Adds missing ids and types to events.
#[derive(Debug, Clone)]
pub(super) struct Stamper {
    pub(super) seed: Seed,
    pub(super) ids: Ids,
    /// The type of events that name none.
    pub(super) event_type: Option<EventType>,
}

impl Stamper {
    /// Returns the id of a line, given the type added to it.
    fn id(&self, given: Option<&EventType>, number: u64, line: &[u8]) -> String {
        let event_type = match self.ids {
            Ids::Before => self.event_type.as_ref(),
            Ids::WholeContent => given,
        };
        let event_type = event_type.map_or("", EventType::as_str);
        let digest = Sha256::new()
            .chain_update(self.seed.0)
            .chain_update(event_type)
            .chain_update([0])
            .chain_update(number.to_le_bytes())
            .chain_update(line)
            .finalize();
        format!("weir-send-{}", hex(&digest[..16]))
    }

    /// Returns a line's event with an id and a type; its text is otherwise unchanged. A line that is not an event is left
    /// as it is, and the server reports why.
    pub(super) fn stamp<'a>(&self, number: u64, line: &[u8], text: &'a [u8]) -> Cow<'a, [u8]> {
        let unchanged = Cow::Borrowed(text);
        let Ok(text) = std::str::from_utf8(text) else { return unchanged };
        let Ok(event) = Event::read(text) else { return unchanged };
        let event_type = self.event_type.as_ref().filter(|_| event.event_type.is_none());
        let event_id = event.event_id.is_none().then(|| self.id(event_type, number, line));
        let lacks = [("event_id", event_id.as_deref()), ("event_type", event_type.map(EventType::as_str))];
        let lacks: Vec<(&str, &str)> =
            lacks.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        if lacks.is_empty() {
            return unchanged;
        }
        let Ok(mut members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else {
            return unchanged;
        };
        let mut rest = Cow::Borrowed(&text.trim_start()[1..]);
        if lacks.iter().any(|(name, _)| members.contains_key(*name)) {
            // The member is there, and null.
            members.retain(|name, _| lacks.iter().all(|(lacking, _)| name != lacking));
            let Ok(others) = serde_json::to_string(&members) else { return unchanged };
            rest = Cow::Owned(others[1..].to_owned());
        }
        // Neither value has a character that JSON would escape.
        let lacks: Vec<String> =
            lacks.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let comma = if members.is_empty() { "" } else { "," };
        let stamped = format!("{{{}{comma}{rest}", lacks.join(","));
        Cow::Owned(stamped.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use weir_core::SeededRandom;

    use super::*;

    fn stamper(head: &str, event_type: Option<&str>) -> Stamper {
        Stamper {
            seed: Seed::of_content(head.as_bytes()),
            ids: Ids::WholeContent,
            event_type: event_type.map(|event_type| event_type.parse().unwrap()),
        }
    }

    fn stamped(stamper: &Stamper, number: u64, line: &str) -> String {
        String::from_utf8(stamper.stamp(number, line.as_bytes(), line.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn an_id_follows_from_the_file_the_number_and_the_line() {
        let id = |head: &str, number, line: &str| {
            let event: Value = serde_json::from_str(&stamped(&stamper(head, None), number, line)).unwrap();
            event["event_id"].as_str().unwrap().to_owned()
        };
        let first = id("a", 1, r#"{"x":1}"#);
        assert_eq!(first, id("a", 1, r#"{"x":1}"#));
        for other in [id("b", 1, r#"{"x":1}"#), id("a", 2, r#"{"x":1}"#), id("a", 1, r#"{"x":2}"#)] {
            assert_ne!(first, other);
        }
        assert!(first.parse::<weir_core::EventId>().is_ok());
        let random = SeededRandom::new(1);
        assert_ne!(Seed::of_nothing(&random), Seed::of_nothing(&random));
        assert_ne!(Seed::of_source("a"), Seed::of_content(&b"a"[..]));
    }

    #[test]
    fn an_option_that_changes_nothing_about_an_event_changes_no_id() {
        let id = |event_type, line: &str| {
            let event: Value = serde_json::from_str(&stamped(&stamper("a", event_type), 1, line)).unwrap();
            event["event_id"].as_str().unwrap().to_owned()
        };
        let own = r#"{"event_type":"t"}"#;
        assert_eq!(id(None, own), id(Some("page_view"), own));
        assert_ne!(id(None, "{}"), id(Some("page_view"), "{}"));
    }

    #[test]
    fn what_an_event_has_is_left_and_what_it_lacks_is_added() {
        let with = stamper("a", Some("page_view"));
        assert_eq!(
            stamped(&with, 1, r#"{"event_id":"e","event_type":"t"}"#),
            r#"{"event_id":"e","event_type":"t"}"#
        );
        let added = stamped(&with, 1, r#"{"event_id":"e", "n": 1.10}"#);
        assert_eq!(added, r#"{"event_type":"page_view","event_id":"e", "n": 1.10}"#);
        for (line, members) in [
            ("{}", 2),
            (" { } ", 2),
            (r#"{"event_id":null}"#, 2),
            (r#"{"event_type": null, "event_id":null , "x":[{}]}"#, 3),
            (r#"{"x":",}"}"#, 3),
        ] {
            let event: Value = serde_json::from_str(&stamped(&with, 1, line)).unwrap();
            assert_eq!(event["event_type"], "page_view", "{line}");
            assert!(event["event_id"].is_string() && event.as_object().unwrap().len() == members, "{event}");
        }
        for broken in ["", "x", "[1]", "{\"a\":1,\"a\":2}", r#"{"event_id":7}"#, r#"{"username":"x"}"#] {
            assert_eq!(stamped(&with, 1, broken), broken);
        }
    }

    proptest! {
        #[test]
        fn a_stamped_event_says_what_it_said(name in "\\PC{0,8}", text in "[,{}\"\\\\ a]{0,9}", space in "[ \t]{0,2}") {
            prop_assume!(!["event_id", "event_type", "username", "received_at", "occurred_at"].contains(&&*name));
            let fields = json!({name: text});
            let line = format!("{space}{{{space}{}", &fields.to_string()[1..]);
            let stamped = stamped(&stamper("h", Some("t")), 3, &line);
            let mut event: Value = serde_json::from_str(&stamped).unwrap();
            prop_assert!(event.as_object_mut().unwrap().remove("event_id").is_some());
            prop_assert_eq!(event.as_object_mut().unwrap().remove("event_type"), Some(json!("t")));
            prop_assert_eq!(event, fields);
        }
    }
}
