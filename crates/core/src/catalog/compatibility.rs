//! Whether a changed catalog still fits the events that are stored already.
//!
//! Stored events are never rewritten, so SQL over them, counts and clients rely on a field keeping its type, on the
//! route staying and on counts being broken down as before. Adding types and optional fields is always safe.

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
            say("the type is gone, and with it the table over its stored events".to_owned());
            continue;
        };
        if old.route() != new.route() {
            say(format!("clients post to {}, which is now {}", old.route(), new.route()));
        }
        if old.count_by() != new.count_by() {
            say(format!("counts are broken down by {:?}, now by {:?}", old.count_by(), new.count_by()));
        }
        for (field, old_type) in fields(old) {
            match fields(new).find(|(name, _)| *name == field) {
                None => say(format!("the field {field} is gone, but stored events have it")),
                Some((_, new_type)) if widens(old_type, new_type) => {}
                Some(_) => {
                    say(format!("the field {field} changed its type, but stored events have the old one"));
                }
            }
        }
        for field in required(new).filter(|field| !required(old).any(|other| other == *field)) {
            say(format!("the field {field} is now required, but clients do not send it yet"));
        }
    }
    found
}

fn fields(definition: &Definition) -> impl Iterator<Item = (&str, Option<&Value>)> {
    let properties = definition.schema().get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema.get("type")))
}

fn required(definition: &Definition) -> impl Iterator<Item = &str> {
    let names = definition.schema().get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str)
}

/// Whether whatever had the old type has the new one, and stays one column in SQL: equal, or nullable now.
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
                "t: clients post to /t, which is now /u",
                "t: counts are broken down by Some(\"a\"), now by None",
                "t: the field b changed its type, but stored events have the old one",
                "t: the field c is now required, but clients do not send it yet",
            ]
        );
        assert_eq!(Catalog::read([]).unwrap().breakages(&old).len(), 1);
    }

    #[test]
    fn adding_types_and_optional_fields_and_null_breaks_nothing() {
        let old = catalog(r#""a":{"type":"string"}"#, r#""a""#, r#""route":"/t""#);
        let new = catalog(r#""a":{"type":["string","null"]},"c":{}"#, "", r#""route":"/t""#);
        assert_eq!(new.breakages(&old), []);
        assert_eq!(new.breakages(&Catalog::read([]).unwrap()), []);
    }
}
