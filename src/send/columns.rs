//! Types the cells of a file: numbers, booleans or texts, according to their event type's schema. Cells of CSV are texts;
//! cells of Parquet have types of their own.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use weir_core::{Catalog, EventType, event::ENVELOPE};

/// A value of a file whose columns have types.
#[derive(Debug, Clone)]
pub(super) enum Cell<'a> {
    Text(Cow<'a, str>),
    /// A number, a boolean, a list or a structure.
    Json(&'a RawValue),
    /// Microseconds since 1970, in UTC.
    Time(i64),
    /// A date: the microseconds of its midnight.
    Date(i64),
}

/// The members of an event, as JSON texts.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// The known fields of each type.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns(BTreeMap<String, Type>);

#[derive(Debug, Clone, Default)]
struct Type {
    fields: BTreeMap<String, BTreeSet<String>>,
    required: BTreeSet<String>,
}

impl Columns {
    /// Reads a server's API description; `None` if it is not one.
    pub(super) fn of_description(description: &Value) -> Option<Self> {
        let schemas = description.pointer("/components/schemas")?.as_object()?;
        Some(Self(schemas.iter().map(|(name, schema)| (name.clone(), Type::of(schema))).collect()))
    }

    /// Reads a catalog.
    pub(super) fn of_catalog(catalog: &Catalog) -> Self {
        let of = |definition: &weir_core::catalog::Definition| {
            (definition.event_type().to_string(), Type::of(definition.schema()))
        };
        Self(catalog.iter().map(of).collect())
    }

    /// Returns the names of the types: a description also has other schemas, whose names no type can have.
    pub(super) fn types(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).filter(|name| name.parse::<EventType>().is_ok()).collect()
    }

    /// Returns the event of a row.
    pub(super) fn event<'a>(
        &self,
        event_type: &str,
        cells: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Members {
        let unknown = Type::default();
        let of_type = self.0.get(event_type).unwrap_or(&unknown);
        cells.filter_map(|(name, cell)| Some((name.to_owned(), of_type.value(name, cell)?))).collect()
    }

    /// Returns the event of a row whose cells have types. Cells that are NULL are not among them.
    pub(super) fn typed_event<'a>(
        &self,
        event_type: &str,
        cells: impl Iterator<Item = (&'a str, Cell<'a>)>,
    ) -> Members {
        let unknown = Type::default();
        let of_type = self.0.get(event_type).unwrap_or(&unknown);
        cells.filter_map(|(name, cell)| Some((name.to_owned(), of_type.typed(name, &cell)?))).collect()
    }

    /// Returns the fields of a type, or of all types; `None` if no known type has any.
    pub(super) fn fields<'a>(&'a self, event_type: Option<&'a str>) -> Option<BTreeSet<&'a str>> {
        let fields = self.of(event_type).flat_map(|of_type| of_type.fields.keys());
        let fields: BTreeSet<&str> = own(fields).collect();
        (!fields.is_empty()).then_some(fields)
    }

    /// Returns the fields that a type requires, or that all types require.
    pub(super) fn required<'a>(&'a self, event_type: Option<&'a str>) -> Vec<&'a str> {
        let types = event_type.into_iter().flat_map(|event_type| self.of(Some(event_type)));
        own(types.flat_map(|of_type| &of_type.required)).collect()
    }

    fn of<'a>(&'a self, event_type: Option<&'a str>) -> impl Iterator<Item = &'a Type> {
        // The server also describes its answers, under names that no type can have.
        let is_asked = move |name: &str| match event_type {
            Some(event_type) => event_type == name,
            None => name.parse::<EventType>().is_ok(),
        };
        self.0.iter().filter(move |(name, _)| is_asked(name)).map(|(_, of_type)| of_type)
    }
}

/// Names outside every event's envelope.
fn own<'a>(names: impl Iterator<Item = &'a String>) -> impl Iterator<Item = &'a str> {
    names.map(String::as_str).filter(|name| !ENVELOPE.contains(name))
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

    /// Returns the JSON value of a cell that has a type of its own; `None` if the field is omitted. A value that the field
    /// cannot have stays as it is: the server reports the expected type.
    fn typed(&self, name: &str, cell: &Cell<'_>) -> Option<Box<RawValue>> {
        let types = self.fields.get(name).filter(|types| !types.is_empty());
        let may_be = |wanted: &str| types.is_none_or(|types| types.contains(wanted));
        let is_named_by_text = matches!(name, "event_id" | "event_type");
        match cell {
            Cell::Text(cell) if name != "occurred_at" && (is_named_by_text || may_be("string")) => text(cell),
            Cell::Text(cell) => self.value(name, cell),
            Cell::Json(json) => {
                let (kind, is_scalar) = match json.get().bytes().next() {
                    Some(b'{') => ("object", false),
                    Some(b'[') => ("array", false),
                    Some(b't' | b'f') => ("boolean", true),
                    _ => ("number", true),
                };
                let fits = may_be(kind) || (kind == "number" && may_be("integer"));
                let as_text = is_scalar && (is_named_by_text || (!fits && may_be("string")));
                if as_text { text(json.get()) } else { raw(json.get()) }
            }
            Cell::Time(micros) | Cell::Date(micros) if name == "occurred_at" || !may_be("string") => {
                raw(&micros.div_euclid(1000).to_string())
            }
            Cell::Time(_) | Cell::Date(_) => cell.shown(),
        }
    }

    /// Returns a cell's JSON value; `None` if the field is omitted.
    fn value(&self, name: &str, cell: &str) -> Option<Box<RawValue>> {
        if name == "occurred_at" {
            // Milliseconds or RFC 3339, for any type.
            return match cell {
                "" => None,
                _ => number(cell, true).or_else(|| text(cell)),
            };
        }
        let types = self.fields.get(name);
        let may_be = |wanted: &str| types.is_some_and(|types| types.contains(wanted));
        let may_be_text = types.is_none_or(|types| types.is_empty() || types.contains("string"));
        if cell.is_empty() {
            // A required field may accept an empty text.
            return if self.required.contains(name) && may_be_text { text("") } else { None };
        }
        if may_be_text && types.is_none_or(|types| types.is_empty() || types.len() == 1) {
            return text(cell);
        }
        let truth = match cell.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        let found = truth.filter(|_| may_be("boolean")).and_then(|truth| to_raw_value(&truth).ok());
        let found = found.or_else(|| number(cell, false).filter(|_| may_be("number")));
        let found = found.or_else(|| number(cell, true).filter(|_| may_be("integer")));
        let document = |is_so: fn(&Value) -> bool| {
            serde_json::from_str(cell).is_ok_and(|value: Value| is_so(&value)).then(|| raw(cell)).flatten()
        };
        let found = found.or_else(|| document(Value::is_object).filter(|_| may_be("object")));
        let found = found.or_else(|| document(Value::is_array).filter(|_| may_be("array")));
        // A cell of no matching type is sent as text: the server reports the expected type.
        found.or_else(|| text(cell))
    }
}

impl Cell<'_> {
    /// Returns the cell as JSON, without regard to its field. Times are in RFC 3339.
    pub(super) fn shown(&self) -> Option<Box<RawValue>> {
        match self {
            Self::Text(cell) => text(cell),
            Self::Json(json) => raw(json.get()),
            Self::Time(micros) | Self::Date(micros) => match Timestamp::from_microsecond(*micros) {
                Ok(time) if matches!(self, Self::Date(_)) => {
                    text(&time.to_zoned(TimeZone::UTC).date().to_string())
                }
                Ok(time) => text(&time.to_string()),
                // Before the year -9999 or after the year 9999.
                Err(_) => raw(&micros.to_string()),
            },
        }
    }
}

/// Returns a text as it is, if it is JSON.
fn raw(text: &str) -> Option<Box<RawValue>> {
    serde_json::from_str(text).ok()
}

/// Encodes a text as JSON, which always succeeds.
fn text(text: &str) -> Option<Box<RawValue>> {
    to_raw_value(text).ok()
}

/// Returns the JSON types that a field may have, except null.
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

/// Formats a number as JSON, with all its digits. It is an integer if its fraction is zero: `5.0` and `1e3` are, as JSON
/// Schema defines (<https://json-schema.org/draft/2020-12/json-schema-validation#section-6.1.1>). Leading zeros make it a
/// text.
fn number(cell: &str, integer: bool) -> Option<Box<RawValue>> {
    let value: serde_json::Number = serde_json::from_str(cell).ok()?;
    let is_whole = value.as_f64().is_some_and(|value| value.fract() == 0.0);
    if is_whole || !integer { raw(cell) } else { None }
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
        let event = |cells: &[(&str, &str)]| json!(columns.event("t", cells.iter().copied()));
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
        // Cells of no matching type are left to the server to reject.
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
        assert_eq!(json!(columns.event("unknown", [("i", "1")].into_iter())), json!({"i": "1"}));
        assert!(Columns::of_description(&json!({})).is_none());
    }

    #[test]
    fn cells_that_have_types_are_what_the_schema_says_where_they_can_be() {
        // 2026-11-20 at 12:00:00.5.
        const TIME: i64 = 1_795_176_000_500_000;
        const DAY: i64 = 1_795_132_800_000_000;
        let description = json!({"components": {"schemas": {"t": {"properties": {
            "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": ["number", "null"]},
            "b": {"type": "boolean"}, "l": {"type": "array"}, "free": {}}}}}});
        let columns = Columns::of_description(&description).unwrap();
        let event = |cells: &[(&str, Cell<'_>)]| json!(columns.typed_event("t", cells.iter().cloned()));
        let json = |text: &'static str| Cell::Json(serde_json::from_str(text).unwrap());
        let of_text = |text: &'static str| Cell::Text(text.into());
        assert_eq!(
            event(&[("s", json("7")), ("i", json("7")), ("n", json("1.50")), ("b", json("true"))]),
            json!({"s": "7", "i": 7, "n": 1.5, "b": true})
        );
        assert_eq!(
            event(&[("s", of_text("")), ("i", of_text("7")), ("n", of_text("x")), ("b", of_text("TRUE"))]),
            json!({"s": "", "i": 7, "n": "x", "b": true})
        );
        assert_eq!(
            event(&[
                ("s", json("[1]")),
                ("l", json("[1]")),
                ("free", json("{\"a\":1}")),
                ("other", json("[]"))
            ]),
            json!({"s": [1], "l": [1], "free": {"a": 1}, "other": []})
        );
        assert_eq!(
            event(&[("s", Cell::Time(TIME)), ("i", Cell::Time(TIME)), ("other", Cell::Time(TIME))]),
            json!({"s": "2026-11-20T12:00:00.5Z", "i": TIME / 1000, "other": "2026-11-20T12:00:00.5Z"})
        );
        assert_eq!(
            event(&[("s", Cell::Date(DAY)), ("n", Cell::Date(DAY)), ("occurred_at", Cell::Date(DAY))]),
            json!({"s": "2026-11-20", "n": DAY / 1000, "occurred_at": DAY / 1000})
        );
        assert_eq!(
            event(&[("event_id", json("7")), ("occurred_at", Cell::Time(TIME)), ("s", Cell::Time(i64::MAX))]),
            json!({"event_id": "7", "occurred_at": TIME / 1000, "s": i64::MAX})
        );
        assert_eq!(
            event(&[("occurred_at", of_text("2026-11-20T12:00:00Z"))])["occurred_at"],
            "2026-11-20T12:00:00Z"
        );
    }

    #[test]
    fn a_number_is_one_by_the_rules_of_json_schema_and_keeps_its_digits() {
        let columns = Columns::of_description(&json!({"components": {"schemas": {"t": {
            "properties": {"i": {"type": "integer"}, "n": {"type": "number"}, "e": {"type": ["integer", "null"]}}}}}}));
        let columns = columns.unwrap();
        for (cell, is_integer, is_number) in [
            ("5", true, true),
            ("5.0", true, true),
            ("1e3", true, true),
            ("-0.0", true, true),
            ("12345678901234567890123", true, true),
            ("9007199254740993.0", true, true),
            ("5.5", false, true),
            ("1e-3", false, true),
            ("0.10000000000000000001", false, true),
            ("05", false, false),
            ("+5", false, false),
            ("5.", false, false),
            ("1_000", false, false),
            ("0x10", false, false),
            ("1e400", false, false),
            ("NaN", false, false),
        ] {
            let sent = |field: &str| columns.event("t", [(field, cell)].into_iter())[field].get().to_owned();
            let text = json!(cell).to_string();
            let expected = |is: bool| if is { cell.to_owned() } else { text.clone() };
            assert_eq!((sent("i"), sent("e")), (expected(is_integer), expected(is_integer)), "{cell}");
            assert_eq!(sent("n"), expected(is_number), "{cell}");
        }
    }

    #[test]
    fn the_built_in_types_are_known() {
        let columns = Columns::of_catalog(&Catalog::built_in().unwrap());
        assert!(columns.0["button_click"].required.contains("session_id"));
    }
}
