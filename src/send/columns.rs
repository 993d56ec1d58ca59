//! What the cells of a CSV file are: numbers, truth values or texts, as the schema of their event's type says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use weir_core::{Catalog, EventType};

/// What is known of the types' fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns(BTreeMap<String, Type>);

#[derive(Debug, Clone, Default)]
struct Type {
    fields: BTreeMap<String, BTreeSet<String>>,
    required: BTreeSet<String>,
}

impl Columns {
    /// As a server describes its API; none where that is no such description.
    pub(super) fn of_description(description: &Value) -> Option<Self> {
        let schemas = description.pointer("/components/schemas")?.as_object()?;
        Some(Self(schemas.iter().map(|(name, schema)| (name.clone(), Type::of(schema))).collect()))
    }

    /// As a catalog has them.
    pub(super) fn of_catalog(catalog: &Catalog) -> Self {
        let of = |definition: &weir_core::catalog::Definition| {
            (definition.event_type().to_string(), Type::of(definition.schema()))
        };
        Self(catalog.iter().map(of).collect())
    }

    /// The names of the types: a description has other schemas beside them, whose names no type can have.
    pub(super) fn types(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).filter(|name| name.parse::<EventType>().is_ok()).collect()
    }

    /// The event of a row.
    pub(super) fn event<'a>(
        &self,
        event_type: &str,
        cells: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Map<String, Value> {
        let unknown = Type::default();
        let of_type = self.0.get(event_type).unwrap_or(&unknown);
        cells.filter_map(|(name, cell)| Some((name.to_owned(), of_type.value(name, cell)?))).collect()
    }
}

impl Type {
    fn of(schema: &Value) -> Self {
        let fields = schema.get("properties").and_then(Value::as_object);
        let fields = fields.into_iter().flatten().map(|(name, schema)| (name.clone(), types(schema)));
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        Self {
            fields: fields.collect(),
            required: required.filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
        }
    }

    /// A cell's value; none where the field is left out.
    fn value(&self, name: &str, cell: &str) -> Option<Value> {
        if name == "occurred_at" {
            // Milliseconds or RFC 3339, whatever the type.
            return match cell {
                "" => None,
                _ => Some(number(cell, true).unwrap_or_else(|| cell.into())),
            };
        }
        let types = self.fields.get(name);
        let may_be = |wanted: &str| types.is_some_and(|types| types.contains(wanted));
        let may_be_text = types.is_none_or(|types| types.is_empty() || types.contains("string"));
        if cell.is_empty() {
            // An empty text may be all that is wanted of a required one.
            return (self.required.contains(name) && may_be_text).then(|| "".into());
        }
        if may_be_text && types.is_none_or(|types| types.is_empty() || types.len() == 1) {
            return Some(cell.into());
        }
        let truth = match cell.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        let found = truth.filter(|_| may_be("boolean")).map(Value::from);
        let found = found.or_else(|| number(cell, false).filter(|_| may_be("number")));
        let found = found.or_else(|| number(cell, true).filter(|_| may_be("integer")));
        let document = || serde_json::from_str(cell).ok();
        let found =
            found.or_else(|| document().filter(|value: &Value| value.is_object() && may_be("object")));
        let found = found.or_else(|| document().filter(|value: &Value| value.is_array() && may_be("array")));
        // What is nothing of the kind is sent as it is: the server says what it should be.
        Some(found.unwrap_or_else(|| cell.into()))
    }
}

/// The JSON types that a field may have, null aside.
fn types(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    match schema.get("type") {
        Some(Value::String(name)) => drop(found.insert(name.clone())),
        Some(Value::Array(names)) => {
            found.extend(names.iter().filter_map(|name| Some(name.as_str()?.to_owned())));
        }
        _ => {
            for of in ["anyOf", "oneOf"] {
                for schema in schema.get(of).and_then(Value::as_array).into_iter().flatten() {
                    found.extend(types(schema));
                }
            }
            for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
                let name = match value {
                    Value::String(_) => "string",
                    Value::Number(_) => "number",
                    Value::Bool(_) => "boolean",
                    _ => continue,
                };
                found.insert(name.to_owned());
            }
        }
    }
    found.remove("null");
    found
}

/// A number as JSON writes it. Leading zeros make a text of it, and integers that no f64 holds stay as they are.
fn number(cell: &str, integer: bool) -> Option<Value> {
    let value: Value = serde_json::from_str(cell).ok()?;
    let exact = value.is_u64() || value.is_i64();
    let fits = value.is_number() && (exact || !integer);
    // A number of more digits than a f64 keeps would be another one.
    (fits && (exact || cell.bytes().filter(u8::is_ascii_digit).count() <= 17)).then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_what_the_schema_says_and_empty_optional_ones_are_left_out() {
        let description = json!({"components": {"schemas": {"t": {
            "properties": {
                "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": ["number", "null"]},
                "b": {"type": "boolean"}, "e": {"type": "string"}, "ri": {"type": "integer"}, "l": {"type": "array"},
                "m": {"anyOf": [{"type": "string"}, {"type": "boolean"}]}, "free": {}},
            "required": ["e", "ri"]}}}});
        let columns = Columns::of_description(&description).unwrap();
        let event = |cells: &[(&str, &str)]| Value::Object(columns.event("t", cells.iter().copied()));
        assert_eq!(
            event(&[
                ("s", "12"),
                ("i", "12"),
                ("n", "1.5"),
                ("b", "TRUE"),
                ("l", "[1]"),
                ("other", "7"),
                ("free", "7")
            ]),
            json!({"s": "12", "i": 12, "n": 1.5, "b": true, "l": [1], "other": "7", "free": "7"})
        );
        assert_eq!(
            event(&[("s", ""), ("i", ""), ("n", ""), ("b", ""), ("e", ""), ("ri", ""), ("other", "")]),
            json!({"e": ""})
        );
        // What is nothing of the kind is the server's to reject.
        assert_eq!(
            event(&[("i", "1.5"), ("n", "x"), ("b", "yes"), ("m", "true"), ("ri", "007")]),
            json!({"i": "1.5", "n": "x", "b": "yes", "m": true, "ri": "007"})
        );
        assert_eq!(
            event(&[("occurred_at", "1795176000000"), ("event_id", "7")]),
            json!({"occurred_at": 1_795_176_000_000_u64, "event_id": "7"})
        );
        assert_eq!(
            event(&[("occurred_at", "2026-11-20T12:00:00Z")]),
            json!({"occurred_at": "2026-11-20T12:00:00Z"})
        );
        assert_eq!(Value::Object(columns.event("unknown", [("i", "1")].into_iter())), json!({"i": "1"}));
        assert!(Columns::of_description(&json!({})).is_none());
    }

    #[test]
    fn the_built_in_types_are_known() {
        let columns = Columns::of_catalog(&Catalog::built_in().unwrap());
        assert!(columns.0["button_click"].required.contains("session_id"));
    }
}
