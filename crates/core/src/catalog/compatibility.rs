//! Checks that a changed catalog still fits the stored events.
//!
//! Stored events are never rewritten, so SQL over them, counts and clients rely on a field keeping its type, on the route
//! staying and on counts being broken down as before. What removes stored events, or stores values that were redacted before, must
//! not come unnoticed either. Adding types and optional fields is always safe. `narrowed` says which values are refused from now on.

mod narrowed;

use std::fmt;

use serde_json::Value;

use super::{Catalog, Definition};
use crate::EventType;

/// One thing that would break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakage {
    event_type: EventType,
    what: String,
}

impl fmt::Display for Breakage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.event_type, self.what)
    }
}

pub(super) fn breakages(earlier: &Catalog, later: &Catalog) -> Vec<Breakage> {
    let mut found = Vec::new();
    for old in earlier.iter() {
        let mut say = |what: String| {
            found.push(Breakage { event_type: old.event_type().clone(), what });
        };
        let Some(new) = later.get(old.event_type()) else {
            say("the type is gone: its events are refused from now on, and stored ones stay in its table. \
                 Is --catalog missing?"
                .to_owned());
            continue;
        };
        if old.route() != new.route() {
            say(format!(
                "clients post to {}, and the route is now {}: change the clients, or give the type its old route",
                old.route(),
                new.route()
            ));
        }
        if old.count_by() != new.count_by() {
            say(count_by(old, new));
        }
        if old.latest_by() != new.latest_by() {
            say(latest_by(old, new));
        }
        let gone: Vec<(&str, &Value)> = old.fields().filter(|(name, _)| field(new, name).is_none()).collect();
        for (name, schema) in &gone {
            let name = name.escape_debug();
            let renamed = renamed(schema, &gone, old, new);
            say(format!(
                "the field {name} is gone{renamed}: stored events keep it, and SQL reads it from the table events, as \
                 event->>'{name}'"
            ));
        }
        for (name, schema) in old.fields() {
            let Some(now) = field(new, name).filter(|now| !widens(schema.get("type"), now.get("type")))
            else {
                continue;
            };
            let (name, [was, is]) = (name.escape_debug(), [schema, now].map(type_of));
            say(format!(
                "the field {name} had the type {was} and now has {is}: stored values that do not fit are NULL in its column; \
                 the table events has them as they are, as event->>'{name}'"
            ));
        }
        for (name, schema) in old.fields() {
            let limits = field(new, name).map(|now| narrowed::limits(schema, now)).unwrap_or_default();
            if !limits.is_empty() {
                say(format!(
                    "the field {} takes fewer values now ({}): events of clients that send others are refused",
                    name.escape_debug(),
                    limits.join(", ")
                ));
            }
        }
        let limits = narrowed::limits_of_types(old.schema(), new.schema());
        if !limits.is_empty() {
            say(format!(
                "it takes fewer events now ({}): clients' events that do not fit are refused",
                limits.join(", ")
            ));
        }
        for name in required(new).filter(|name| !required(old).any(|other| other == *name)) {
            say(format!(
                "the field {} is now required: events of clients that do not send it yet are refused",
                name.escape_debug()
            ));
        }
        if let Some(days) = new.keep_days().filter(|days| old.keep_days().is_none_or(|before| *days < before))
        {
            let before = old.keep_days().map_or("for ever".to_owned(), |days| format!("for {days} days"));
            say(format!(
                "events are kept for {days} days now, and were kept {before}: the next sealing removes older ones for good"
            ));
        }
        for (name, _) in old.redact().iter().filter(|(name, rule)| new.redact().of(name) != Some(*rule)) {
            let how = match new.redact().of(name) {
                Some(_) => "is redacted in another way now: values to come do not equal stored ones",
                None => "is not redacted any more: values to come are stored as they are sent",
            };
            say(format!("the field {} {how}", name.escape_debug()));
        }
    }
    found
}

fn count_by(old: &Definition, new: &Definition) -> String {
    let event_type = old.event_type();
    let repair = format!(
        "to count stored events too, stop the server and run weir audit --repair --type {event_type}"
    );
    match (old.count_by(), new.count_by()) {
        (Some(old), Some(new)) => {
            format!(
                "counts by {old} are set aside, and only events to come are added to counts by {new}; {repair}"
            )
        }
        (Some(old), None) => format!("it is not counted by {old} any more; the counts so far are set aside"),
        (None, new) => {
            format!("only events to come are added to counts by {}; {repair}", new.unwrap_or_default())
        }
    }
}

fn latest_by(old: &Definition, new: &Definition) -> String {
    let Some(field) = new.latest_by() else {
        return format!("latest values by {} are not kept any more", old.latest_by().unwrap_or_default());
    };
    let repair = format!(
        "only events to come become latest values by {field}; to have those of stored events too, stop the server and run weir \
         audit --repair --type {}",
        old.event_type()
    );
    match old.latest_by() {
        Some(old) => format!("latest values by {old} are removed, and {repair}"),
        None => repair,
    }
}

/// Returns a hint that a field may have been renamed, if one field is gone and one of the same type is new.
fn renamed(schema: &Value, gone: &[(&str, &Value)], old: &Definition, new: &Definition) -> String {
    let added: Vec<(&str, &Value)> = new.fields().filter(|(name, _)| field(old, name).is_none()).collect();
    match (gone, &added[..]) {
        ([_], [(name, now)]) if schema.get("type") == now.get("type") => {
            format!(" (if it is {} now, old events do not have that)", name.escape_debug())
        }
        _ => String::new(),
    }
}

fn field<'a>(definition: &'a Definition, name: &str) -> Option<&'a Value> {
    definition.fields().find(|(found, _)| *found == name).map(|(_, schema)| schema)
}

fn type_of(schema: &Value) -> String {
    match schema.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

fn required(definition: &Definition) -> impl Iterator<Item = &str> {
    let names = definition.schema().get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str)
}

/// Returns whether every value of the old type has the new one, and stays one column in SQL: equal, or nullable now.
fn widens(old: Option<&Value>, new: Option<&Value>) -> bool {
    let names = |value: Option<&Value>| -> Vec<String> {
        let mut names: Vec<String> = match value {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(name)) => vec![name.clone()],
            _ => vec!["anything".to_owned()],
        };
        names.sort();
        names
    };
    let (old, mut new) = (names(old), names(new));
    if !old.contains(&"null".to_owned()) {
        new.retain(|name| name != "null");
    }
    old == new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(properties: &str, required: &str, weir: &str) -> Catalog {
        let text = format!(
            r#"{{"type":"object","properties":{{{properties}}},"required":[{required}],"x-weir":{{{weir}}}}}"#
        );
        Catalog::read([("t.json", text.as_str())]).unwrap()
    }

    #[test]
    fn what_stored_events_and_clients_rely_on_cannot_change_unnoticed() {
        let old = catalog(
            r#""a":{"type":"string"},"b":{"type":"integer"}"#,
            r#""a""#,
            r#""route":"/t","count_by":"a""#,
        );
        let new = catalog(
            r#""a":{"type":"string"},"b":{"type":"string"},"c":{"type":"string"}"#,
            r#""a","c""#,
            r#""route":"/u""#,
        );
        let said: Vec<_> = new.breakages(&old).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "t: clients post to /t, and the route is now /u: change the clients, or give the type its old route",
                "t: it is not counted by a any more; the counts so far are set aside",
                "t: the field b had the type integer and now has string: stored values that do not fit are NULL in its column; \
                 the table events has them as they are, as event->>'b'",
                "t: the field c is now required: events of clients that do not send it yet are refused",
            ]
        );
        assert_eq!(Catalog::read([]).unwrap().breakages(&old).len(), 1);
    }

    #[test]
    fn what_removes_stored_events_or_uncovers_values_or_refuses_some_cannot_change_unnoticed() {
        let of = |fields: &str, weir: &str| catalog(fields, "", &format!(r#""route":"/t"{weir}"#));
        let text = r#""a":{"type":"string"},"b":{"type":"integer"}"#;
        let said = |old: &Catalog, new: &Catalog| {
            let found: Vec<_> = new.breakages(old).iter().map(ToString::to_string).collect();
            found
        };
        let (kept, long, short) =
            (of(text, ""), of(text, r#","keep_days":90"#), of(text, r#","keep_days":5"#));
        for (old, new, before) in [(&kept, &short, "for ever"), (&long, &short, "for 90 days")] {
            let expected = format!(
                "t: events are kept for 5 days now, and were kept {before}: the next sealing removes older ones for good"
            );
            assert_eq!(said(old, new), [expected]);
        }
        assert_eq!(said(&short, &long).len() + said(&short, &kept).len(), 0);

        let [hash, truncate] =
            ["hash", "truncate"].map(|rule| of(text, &format!(r#","redact":{{"a":"{rule}"}}"#)));
        assert_eq!(
            said(&hash, &kept),
            ["t: the field a is not redacted any more: values to come are stored as they are sent"]
        );
        assert_eq!(
            said(&hash, &truncate),
            ["t: the field a is redacted in another way now: values to come do not equal stored ones"]
        );
        assert_eq!(said(&kept, &hash).len() + said(&hash, &hash).len(), 0);

        let narrow = of(r#""a":{"type":"string","maxLength":3,"enum":["x","y"]},"b":{"type":"integer"}"#, "");
        let narrower = of(r#""a":{"type":"string","maxLength":2,"enum":["y"]},"b":{"type":"integer"}"#, "");
        let expected = [
            "t: the field a takes fewer values now (enum, maxLength): events of clients that send others are refused",
        ];
        assert_eq!(said(&kept, &narrow), expected);
        assert_eq!(said(&narrow, &narrower), expected);
        assert_eq!(said(&narrower, &narrow).len() + said(&narrow, &kept).len(), 0);
    }

    #[test]
    fn a_renamed_field_and_a_new_count_by_are_reported_with_the_way_to_the_stored_events() {
        let old =
            catalog(r#""a":{"type":"string"},"b":{"type":"string"}"#, "", r#""route":"/t","count_by":"a""#);
        let new =
            catalog(r#""a":{"type":"string"},"c":{"type":"string"}"#, "", r#""route":"/t","count_by":"c""#);
        let said: Vec<_> = new.breakages(&old).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "t: counts by a are set aside, and only events to come are added to counts by c; to count stored events too, stop \
                 the server and run weir audit --repair --type t",
                "t: the field b is gone (if it is c now, old events do not have that): stored events keep it, and SQL reads it \
                 from the table events, as event->>'b'",
            ]
        );
    }

    #[test]
    fn a_change_of_latest_by_is_reported_with_the_way_to_the_stored_events() {
        let of = |by: &str| {
            catalog(r#""a":{"type":"string"},"b":{"type":"string"}"#, "", &format!(r#""route":"/t"{by}"#))
        };
        let [none, a, b] = ["", r#","latest_by":"a""#, r#","latest_by":"b""#].map(of);
        let said = |new: &Catalog, old: &Catalog| {
            new.breakages(old).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let repair = "only events to come become latest values by b; to have those of stored events too, stop the server and \
                      run weir audit --repair --type t";
        assert_eq!(said(&b, &none), [format!("t: {repair}")]);
        assert_eq!(said(&b, &a), [format!("t: latest values by a are removed, and {repair}")]);
        assert_eq!(said(&none, &a), ["t: latest values by a are not kept any more"]);
        assert_eq!(said(&a, &a), [""; 0]);
    }

    #[test]
    fn adding_types_and_optional_fields_and_null_breaks_nothing() {
        let old = catalog(r#""a":{"type":"string"}"#, r#""a""#, r#""route":"/t""#);
        let new = catalog(r#""a":{"type":["string","null"]},"c":{}"#, "", r#""route":"/t""#);
        assert_eq!(new.breakages(&old), []);
        assert_eq!(new.breakages(&Catalog::read([]).unwrap()), []);
    }
}
