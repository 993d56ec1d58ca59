//! The fields of an event type: their order, and their valid names. Each field is a column of a table in SQL, in `DuckDB` and
//! in Athena, so a name is refused if one of the two could not distinguish it from another, or could not read it at all.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::locate::names_of;
use crate::{
    Partition,
    event::{ENVELOPE, STAMPED},
};

/// The longest name of a column that AWS Glue takes.
const MAX_NAME_BYTES: usize = 255;

/// Returns the fields of a schema: required ones first, then the others, both in the order of the file.
pub(super) fn in_order(text: &str, schema: &Map<String, Value>) -> Vec<String> {
    let mut names = names_of(text, &["properties"]);
    let required = |name: &String| {
        let required = schema.get("required").and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|required| required == name.as_str()))
    };
    names.sort_by_key(|name| !required(name));
    names
}

/// Looks for a field that cannot be a column; returns its name, and the reason.
pub(super) fn refused<'a>(names: impl Iterator<Item = &'a String>) -> Option<(&'a str, String)> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for name in names {
        // SQL ignores case, in Athena and in DuckDB.
        let column = name.to_lowercase();
        let shown = name.escape_debug();
        let reason = if name.is_empty() {
            Some("a field needs a name: SQL has no column without one".to_owned())
        } else if name.len() > MAX_NAME_BYTES {
            Some(format!(
                "the name of a field has at most {MAX_NAME_BYTES} bytes, as a column's in SQL; this one has {}",
                name.len()
            ))
        } else if name.chars().any(char::is_control) {
            Some(format!("{shown} has a control character in it, which no column of SQL can have"))
        } else if STAMPED.iter().chain(&ENVELOPE).chain(&Partition::COLUMNS).any(|own| *own == column) {
            Some(format!("{shown} is a column of Weir's own and cannot be defined"))
        } else {
            seen.insert(column, name).map(|other| {
                format!(
                    "{shown} and {} would be one column in SQL, which knows no difference of case",
                    other.escape_debug()
                )
            })
        };
        if let Some(reason) = reason {
            return Some((name, reason));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(names: &[&str]) -> Option<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        refused(names.iter()).map(|(_, reason)| reason)
    }

    #[test]
    fn a_name_that_sql_cannot_read_or_tell_from_another_is_refused() {
        for names in [
            &[""][..],
            &["a\0"],
            &["a\nb"],
            &["\u{7f}"],
            &["\u{9b}31m"],
            &["a", "A"],
            &["größe", "GRÖßE"],
            &["k", "\u{212a}"],
            &["x".repeat(256).as_str()],
        ] {
            assert!(reason(names).is_some(), "{names:?}");
        }
        for own in [
            "username",
            "received_at",
            "time",
            "event_id",
            "event_type",
            "occurred_at",
            "year",
            "month",
            "day",
            "hour",
        ] {
            assert!(reason(&[own]).is_some() && reason(&[&own.to_uppercase()]).is_some(), "{own}");
        }
        for names in [
            &["a b", "a", "'", "\"", "é", "json", "rowid", "漢", "-- x", "select"][..],
            &["x".repeat(255).as_str()],
        ] {
            assert_eq!(reason(names), None, "{names:?}");
        }
    }

    #[test]
    fn required_fields_come_first_and_both_kinds_in_the_order_of_the_file() {
        let text = r#"{"required": ["a", "z"], "properties": {"c": {}, "z": {}, "b": {}, "a": {}}}"#;
        let schema: Value = serde_json::from_str(text).unwrap();
        assert_eq!(in_order(text, schema.as_object().unwrap()), ["z", "a", "c", "b"]);
    }
}
