//! Finds the key of a stored event in its line.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{Deserializer as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::Definition;
use crate::{CountedValue, LatestKey};

impl Definition {
    /// Returns the key of a stored line of this type: the one that [`Definition::check`] returned when the event came, as
    /// long as the catalog counts by the same field.
    #[must_use]
    pub fn key_of_stored<'line>(&self, line: &'line [u8]) -> Option<Cow<'line, str>> {
        let text = text_of(line, self.count_by()?)?;
        Some(if text.len() <= CountedValue::MAX_BYTES {
            text
        } else {
            CountedValue::of(&text).as_str().to_owned().into()
        })
    }

    /// Returns the latest key of a stored line of this type, likewise.
    #[must_use]
    pub fn latest_key_of_stored(&self, line: &[u8]) -> Option<LatestKey> {
        Some(LatestKey::of(&text_of(line, self.latest_by()?)?))
    }
}

/// Returns the value of a member that is text.
fn text_of<'line>(line: &'line [u8], member: &str) -> Option<Cow<'line, str>> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let raw = json.deserialize_map(Member(member)).ok().flatten()?;
    let Text(text) = serde_json::from_str(raw.get()).ok()?;
    Some(text)
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Looks for the value of one member.
struct Member<'name>(&'name str);

impl<'line> Visitor<'line> for Member<'_> {
    type Value = Option<&'line RawValue>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'line>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Text(name)) = members.next_key()? {
            if name == self.0 {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::{Catalog, CountedValue, Event, Record, Stamp, Timestamp};

    fn stored(event: &str) -> [Option<String>; 4] {
        let file = r#"{"type": "object", "properties": {"button_id": {"type": "string"}},
            "x-weir": {"route": "/a", "count_by": "button_id", "latest_by": "button_id"}}"#;
        let catalog = Catalog::read([("button_click.json", file)]).unwrap();
        let definition = catalog.get(&"button_click".parse().unwrap()).unwrap();
        let event = Event::read(event).unwrap();
        let key = definition.check(&event).unwrap();
        let stamp = Stamp {
            username: "u".parse().unwrap(),
            event_id: "1".parse().unwrap(),
            received_at: Timestamp::saturating(0),
        };
        let record = Record::accepted(&event, definition.event_type(), key.clone(), stamp);
        let found = definition.key_of_stored(record.line()).map(std::borrow::Cow::into_owned);
        let latest = definition.latest_key(&event).map(|key| key.to_string());
        let latest_found = definition.latest_key_of_stored(record.line()).map(|key| key.to_string());
        [key.map(|key| key.to_string()), found, latest, latest_found]
    }

    #[test]
    fn lines_without_a_key_have_none() {
        let catalog = Catalog::built_in().unwrap();
        let definition = catalog.get(&"button_click".parse().unwrap()).unwrap();
        for line in
            ["", "[]", "{}", r#"{"button_id":1}"#, r#"{"button_id":null}"#, r#"{"a":{"button_id":"x"}}"#]
        {
            assert_eq!(definition.key_of_stored(line.as_bytes()), None, "{line}");
        }
        let file =
            r#"{"type": "object", "properties": {"x": {"type": "string"}}, "x-weir": {"route": "/a"}}"#;
        let catalog = Catalog::read([("a.json", file)]).unwrap();
        assert_eq!(catalog.iter().next().unwrap().key_of_stored(br#"{"x":"y"}"#), None);
    }

    proptest! {
        #[test]
        fn the_key_of_a_stored_line_is_the_one_it_was_counted_for(key in "\\PC{0,20}", other in "\\PC{0,10}") {
            for key in [key.clone(), key.repeat(30), key.repeat(300)] {
                let event = json!({"session_id": other, "button_id": key, "n": {"button_id": "not this"}}).to_string();
                let expected = Some(CountedValue::of(&key).to_string());
                prop_assert!(stored(&event).iter().all(|found| *found == expected));
            }
        }
    }
}
