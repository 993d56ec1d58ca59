//! What strangers or mistakes can put before a reader, read by a second implementation too: what is taken must be taken
//! by both and be the same, and nothing may panic.
//!
//! | input | second opinion | where |
//! | --- | --- | --- |
//! | events | `serde_json`'s own tree, members counted in the text | here |
//! | catalog files | none: no panic, and an error names file and line | here |
//! | stored lines | `serde_json`'s own tree | `src/record.rs` |
//! | bodies of many events | the list that they were made of | `functions/collector/src/intake/framing.rs` |
//! | requests from API Gateway | none: no panic | `functions/collector/src/host/gateway.rs` |
//! | the whole API | Schemathesis, by `/openapi.json` | `tests/it/openapi.rs` |
//! | `Authorization` headers | what was encoded | `functions/authorizer/src/basic.rs` |
//! | events of an authorizer | only right credentials are allowed anything | `functions/authorizer/src/answer.rs` |
//! | batches | `flate2`'s decoder | `functions/fan-out/src/reader.rs` |
//! | notifications of S3 and queues | the same key in every form | `functions/fan-out/src/notification.rs` |
//! | names, partitions, times, stored hashes | what they are printed as | `src/` |
//! | answers of a query as CSV and JSON | a reader of RFC 4180, `serde_json` | `src/query/rows.rs` of `weir` |

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Map, Value, json};
use weir_core::{Catalog, Event, Timestamp};

/// Any JSON, not too deep.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let members = vec(("[a-c]|\\PC{0,3}", inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A member of an event: one of the envelope now and then, right or wrong.
fn member() -> impl Strategy<Value = (String, Value)> {
    let good = proptest::sample::select(vec![
        ("event_id", json!("a-1:B_.")),
        ("event_type", json!("page_view")),
        ("occurred_at", json!(1_700_000_000_000_u64)),
        ("occurred_at", json!(5.0)),
        ("occurred_at", json!("2026-11-20T14:05:00.5+01:00")),
        ("event_id", json!(null)),
    ]);
    let names = vec!["event_id", "event_type", "occurred_at", "username", "received_at", "time"];
    prop_oneof![
        4 => ("[a-c]|\\PC{0,3}", document()),
        2 => good.prop_map(|(name, value)| (name.to_owned(), value)),
        1 => (proptest::sample::select(names).prop_map(str::to_owned), document()),
    ]
}

/// What happens to a text: some characters are taken out, doubled or replaced.
fn spoiled(text: &str, changes: &[(Index, u8)]) -> String {
    let others: Vec<char> = "{}[]\",:\\0e-.nt \n\u{1}\u{feff}".chars().collect();
    let mut characters: Vec<char> = text.chars().collect();
    for (at, change) in changes {
        if characters.is_empty() {
            break;
        }
        let at = at.index(characters.len());
        match change {
            0..50 => drop(characters.remove(at)),
            50..100 => characters.insert(at, characters[at]),
            other => characters[at] = others[usize::from(*other) % others.len()],
        }
    }
    characters.into_iter().collect()
}

/// How many members its objects have, at any depth.
fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        _ => 0,
    }
}

/// How many colons a text has outside its strings: one for each member that is written.
fn members_written(text: &str) -> usize {
    let (mut colons, mut in_string, mut escaped) = (0, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ':' if !in_string => colons += 1,
            _ => {}
        }
    }
    colons
}

/// Whether the members of the envelope are what an event may have.
fn has_a_good_envelope(object: &Map<String, Value>) -> bool {
    let text = |name: &str, is_good: fn(&str) -> bool| match object.get(name) {
        None | Some(Value::Null) => true,
        Some(value) => value.as_str().is_some_and(is_good),
    };
    let time = match object.get("occurred_at") {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => Timestamp::from_rfc3339(text).is_ok(),
        Some(other) => other
            .as_f64()
            .is_some_and(|number| number.fract() == 0.0 && (0.0..=253_402_207_200_000.0).contains(&number)),
    };
    let id = text("event_id", |id| {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        (1..=64).contains(&id.len()) && id.bytes().all(is_good)
    });
    let event_type = text("event_type", |name| {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        name.len() <= 48 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(is_good)
    });
    time && id
        && event_type
        && !["username", "received_at", "time"].iter().any(|own| object.contains_key(*own))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Taken exactly where `serde_json` takes it, no name repeats and the envelope is good.
    #[test]
    fn an_event_is_taken_where_a_second_reader_takes_it_and_says_the_same(
        fields in vec(member(), 0..5),
        pretty: bool,
        changes in prop_oneof![Just(Vec::new()), vec((any::<Index>(), any::<u8>()), 1..3)],
    ) {
        // Written by hand, so that names can repeat.
        let written = |(name, value): &(String, Value)| {
            let value = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
            format!("{}:{}", json!(name), value.unwrap())
        };
        let text = format!("{{{}}}", fields.iter().map(written).collect::<Vec<_>>().join(","));
        let text = spoiled(&text, &changes);
        let other = serde_json::from_str::<Value>(&text).ok();
        let others = other.as_ref().filter(|value| members(value) == members_written(&text));
        let others = others.and_then(Value::as_object).filter(|object| has_a_good_envelope(object));
        match (Event::read(&text), others) {
            (Ok(event), Some(object)) => {
                let mut object = object.clone();
                for name in ["event_id", "event_type", "occurred_at"] { object.remove(name); }
                prop_assert_eq!(event.value(), &Value::Object(object));
            }
            (Err(violations), None) => prop_assert!(!violations.is_empty()),
            (read, others) => prop_assert!(false, "{text:?}: {read:?}, and the second reader {others:?}"),
        }
    }
}

const TYPE: &str = r#"{
  "type": "object",
  "description": "A text",
  "properties": {
    "email": { "type": "string", "minLength": 3 },
    "plan": { "type": ["string", "null"], "pattern": "^[a-z]+$" },
    "n": { "type": "integer", "minimum": 0 }
  },
  "required": ["email"],
  "additionalProperties": false,
  "x-weir": { "route": "/shop/signup", "count_by": "plan" },
  "examples": [{ "email": "a@b.c" }]
}"#;

/// Every place in a document.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    let mut visit = |name: &str, value| places(value, &format!("{here}/{name}"), found);
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| visit(&name.replace('~', "~0").replace('/', "~1"), value));
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| visit(&at.to_string(), value)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_catalog_file_is_read_or_refused_with_its_name_and_a_line_of_it(
        put in vec((any::<Index>(), document()), 0..3),
        changes in prop_oneof![Just(Vec::new()), vec((any::<Index>(), any::<u8>()), 1..4)],
    ) {
        let mut schema: Value = serde_json::from_str(TYPE).unwrap();
        for (at, value) in put {
            let mut all = Vec::new();
            places(&schema, "", &mut all);
            *schema.pointer_mut(&all[at.index(all.len())]).unwrap() = value;
        }
        let text = spoiled(&serde_json::to_string_pretty(&schema).unwrap(), &changes);
        match Catalog::read([("signup.json", text.as_str())]) {
            Ok(catalog) => {
                let event = Event::read(r#"{"email": "a@b.c", "plan": "x", "n": 1, "a": [1]}"#).unwrap();
                for definition in catalog.iter() { let _ = definition.check(&event); }
            }
            Err(error) => {
                prop_assert_eq!(&error.file, "signup.json");
                // What ends too early does so behind its last line feed, perhaps.
                let lines = 1 + text.matches('\n').count();
                prop_assert!((1..=lines).contains(&error.line), "{}: {}", error, text);
                prop_assert!(!error.message.is_empty());
            }
        }
    }
}
