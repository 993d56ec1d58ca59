//! One event type: reads and checks its file, and checks events against it.

use jsonschema::{Draft, PatternOptions, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value};

use super::{
    CatalogError,
    budget::{Budget, Refusal},
    coherence,
    cost::{Cost, Extent, MAX_STEPS},
    fields,
    fill::{Fill, Sender},
    locate::{line_of, names_of},
    own::Own,
    redact::Redact,
    route::Route,
    words,
};
use crate::{CountedValue, Event, EventType, LatestKey, Violation, alike, json, names::BOTS};

/// The most members of an event that are compared with the name of a missing field.
const MAX_COMPARED: usize = 64;

/// The definition of an event type.
#[derive(Debug)]
pub struct Definition {
    event_type: EventType,
    route: Route,
    count_by: Option<String>,
    latest_by: Option<String>,
    fill: Vec<Fill>,
    redact: Redact,
    keep_days: Option<u32>,
    schema: Value,
    text: String,
    fields: Vec<String>,
    remarks: Vec<CatalogError>,
    validator: Validator,
    cost: Cost,
}

/// Tables beside those of the event types: all events, and those that failed validation; and the counts of bots' events.
const RESERVED_TYPES: [&str; 3] = ["events", "rejected", BOTS];

/// The most reasons that are given for one event.
const MAX_VIOLATIONS: usize = 100;

impl Definition {
    pub(super) fn read(file: &str, text: &str) -> Result<Self, CatalogError> {
        let fault = |line: usize, message: String| CatalogError { file: file.to_owned(), line, message };
        let at = |path: &[&str], message: String| fault(line_of(text, path), message);

        let name = file.strip_suffix(".json").unwrap_or(file);
        let event_type: EventType = name.parse().map_err(|e| fault(1, format!("the file's name: {e}")))?;
        if RESERVED_TYPES.contains(&event_type.as_str()) {
            return Err(fault(
                1,
                format!("{event_type} is a name of Weir's own and cannot be an event type"),
            ));
        }
        let schema = json::read_strictly(text).map_err(|e| fault(e.line().max(1), without_place(&e)))?;
        let Some(object) = schema.as_object() else {
            return Err(fault(1, "must be a JSON Schema object".to_owned()));
        };
        if object.get("type").and_then(Value::as_str) != Some("object") {
            return Err(at(&["type"], "an event is an object: \"type\" must be \"object\"".to_owned()));
        }
        let no_properties = Map::new();
        let properties = object.get("properties").and_then(Value::as_object).unwrap_or(&no_properties);
        if let Some((name, message)) = fields::refused(properties.keys()) {
            return Err(at(&["properties", name], message));
        }

        let Own { route, count_by, latest_by, fill, redact, keep_days } = Own::read(object, properties)
            .map_err(|(path, message)| at(&path.iter().map(String::as_str).collect::<Vec<_>>(), message))?;

        // Checked before it is compiled, which may take as long as checking.
        let cost = Cost::of(&schema)
            .map_err(|(path, message)| at(&path.iter().map(String::as_str).collect::<Vec<_>>(), message))?;
        // The linear-time engine: a pattern in a catalog thus cannot stall the collector.
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .build(&schema)
            .map_err(|error| {
                // The best line available is that of the innermost member of the path that is in the text.
                let path = error.instance_path().as_str().to_owned();
                let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
                let path: Vec<&str> = path.split('/').skip(1).collect();
                at(&path, format!("not a valid JSON Schema: {place}{error}"))
            })?;
        let disagrees = coherence::required(&schema)
            .or_else(|| coherence::examples(object, &validator))
            .or_else(|| redact.disagrees(object, &validator));
        if let Some((path, message)) = disagrees {
            return Err(at(&path.iter().map(String::as_str).collect::<Vec<_>>(), message));
        }
        let remarks = words::unknown(&schema)
            .into_iter()
            .map(|(path, message)| at(&path.iter().map(String::as_str).collect::<Vec<_>>(), message));
        let remarks = remarks.collect();
        let fields = fields::in_order(text, object);
        let text = text.to_owned();
        Ok(Self {
            event_type,
            route,
            count_by,
            latest_by,
            fill,
            redact,
            keep_days,
            schema,
            text,
            fields,
            remarks,
            validator,
            cost,
        })
    }

    /// Returns the type's name.
    #[must_use]
    pub fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// Returns the route to which its events are posted.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Makes the error of its route, which breaks this rule; it names the line of the file.
    #[must_use]
    pub fn refused_route(&self, rule: &str) -> CatalogError {
        CatalogError {
            file: format!("{}.json", self.event_type),
            line: line_of(&self.text, &["x-weir", "route"]),
            message: format!("the route {rule}"),
        }
    }

    /// Returns the field that its counts are broken down by.
    #[must_use]
    pub fn count_by(&self) -> Option<&str> {
        self.count_by.as_deref()
    }

    /// Returns the field that tells resources apart: the latest event of each of its values is kept.
    #[must_use]
    pub fn latest_by(&self) -> Option<&str> {
        self.latest_by.as_deref()
    }

    /// Returns the key under which a valid event may become the latest value.
    #[must_use]
    pub fn latest_key(&self, event: &Event<'_>) -> Option<LatestKey> {
        let field = self.latest_by.as_ref()?;
        event.value().get(field)?.as_str().map(LatestKey::of)
    }

    /// Returns the fields whose values are redacted before they are stored.
    #[must_use]
    pub fn redact(&self) -> &Redact {
        &self.redact
    }

    /// Returns how many days its events are kept after the end of their day; `None` if the type does not say.
    #[must_use]
    pub fn keep_days(&self) -> Option<u32> {
        self.keep_days
    }

    /// Fills the fields that the event lacks and that its type has the collector fill.
    pub fn fill(&self, event: &mut Event<'_>, sender: &Sender) {
        for fill in &self.fill {
            if event.value().get(&fill.field).is_none()
                && let Some(value) = fill.value(sender)
            {
                event.fill(&fill.field, value);
            }
        }
    }

    /// Returns the user agent that an event has in a field of its own: one that the collector would fill, or a page view's.
    #[must_use]
    pub fn user_agent_of<'a>(&self, event: &'a Event<'_>) -> Option<&'a str> {
        let filled = self.fill.iter().find(|fill| fill.is_user_agent()).map(|fill| fill.field.as_str());
        let of_page_views = (self.event_type.as_str() == "page_view").then_some("useragent");
        event.value().get(filled.or(of_page_views)?)?.as_str().filter(|text| !text.is_empty())
    }

    /// Returns whether the collector fills a field where an event lacks it.
    #[must_use]
    pub fn is_filled(&self, field: &str) -> bool {
        self.fill.iter().any(|fill| fill.field == field)
    }

    /// Returns its JSON Schema, with `x-weir`.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Returns its file, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns its fields with their schemas: required ones first, then the others, both in the order of the file. People see
    /// them in this order everywhere.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        let properties = self.schema.get("properties");
        self.fields.iter().filter_map(move |name| Some((name.as_str(), properties?.get(name)?)))
    }

    /// Returns the names of an object's members in its file, in their order there; none if there is no object at `path`. A
    /// segment of the path is a member's name, or a position in an array.
    #[must_use]
    pub fn names_at(&self, path: &[&str]) -> Vec<String> {
        names_of(&self.text, path)
    }

    /// Returns the first example of its file, in one line and in the order of the file.
    #[must_use]
    pub fn example(&self) -> Option<String> {
        let example = self.schema.get("examples")?.get(0)?.as_object()?;
        let members = self
            .names_at(&["examples", "0"])
            .into_iter()
            .filter_map(|name| Some(format!("{}:{}", Value::from(name.as_str()), example.get(&name)?)));
        Some(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
    }

    /// Returns warnings about its file that stop no start.
    pub fn remarks(&self) -> impl Iterator<Item = &CatalogError> {
        self.remarks.iter()
    }

    /// Checks an event's fields. Returns its key, or the reasons against it, a hundred at most. If all reasons could take too
    /// much time or memory, only one is returned. An event that could take too much time to be checked at all is refused.
    pub fn check(&self, event: &Event<'_>) -> Result<Option<CountedValue>, Vec<Violation>> {
        self.check_within(event, &mut Budget::of_a_request()).map_err(|refusal| match refusal {
            Refusal::Invalid(violations) => violations,
            // A whole budget is enough for one event.
            Refusal::Unchecked => vec![self.too_much()],
        })
    }

    /// Works like [`Self::check`], for an event that shares its budget with others.
    pub fn check_within(
        &self,
        event: &Event<'_>,
        budget: &mut Budget,
    ) -> Result<Option<CountedValue>, Refusal> {
        let (extent, steps) = self.cost.extent(event.value());
        if !budget.take(steps) {
            return Err(Refusal::Unchecked);
        }
        let violations = self.violations(event.value(), extent);
        if !violations.is_empty() {
            return Err(Refusal::Invalid(violations));
        }
        Ok(self.key_of(event))
    }

    /// Returns the key of an event that was checked.
    #[must_use]
    pub fn key_of(&self, event: &Event<'_>) -> Option<CountedValue> {
        let counted = self.count_by.as_ref().and_then(|field| event.value().get(field)?.as_str());
        counted.map(CountedValue::of)
    }

    /// Returns the most steps that checking one value of an event can take.
    pub(super) fn steps_of_a_value(&self) -> u64 {
        self.cost.most_of_a_value()
    }

    fn violations(&self, event: &Value, extent: Extent) -> Vec<Violation> {
        match extent {
            Extent::Reasons => self
                .validator
                .iter_errors(event)
                .take(MAX_VIOLATIONS)
                .map(|error| self.explain(&error))
                .collect(),
            Extent::TooMuch => vec![self.too_much()],
            _ if self.validator.is_valid(event) => Vec::new(),
            Extent::FirstReason => {
                let first = self.validator.validate(event).err().map(|error| self.explain(&error));
                let more = "may be wrong in more places, which are not listed: it has very many values";
                first.into_iter().chain([Violation::whole(more)]).collect()
            }
            Extent::Verdict => vec![Violation::whole(format!(
                "is not what the schema of {} allows; the reasons are not listed, as there may be very many",
                self.event_type
            ))],
        }
    }

    /// Puts a validation error in Weir's words: it points at the member itself and never repeats the client's value.
    fn explain(&self, error: &jsonschema::ValidationError<'_>) -> Violation {
        let path = error.instance_path().as_str();
        let of_event = path.is_empty();
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let meant = of_event.then(|| self.misspelt(name, error.instance())).flatten();
                let meant = meant.map(|meant| format!("; {meant} may be meant by it")).unwrap_or_default();
                Violation::new(format!("{path}/{}", escaped(name)), format!("is required{meant}"))
            }
            ValidationErrorKind::AdditionalProperties { unexpected } if unexpected.len() == 1 => {
                let mut fields = self.fields().map(|(name, _)| name).filter(|_| of_event);
                let meant = fields.find(|name| alike(name, &unexpected[0]));
                let meant = meant.map(|meant| format!("; {meant} may be meant")).unwrap_or_default();
                let message = format!("is not a field of this event type{meant}");
                Violation::new(format!("{path}/{}", escaped(&unexpected[0])), message)
            }
            _ => Violation::new(path, error.masked().to_string()),
        }
    }

    /// Returns a member of the event that is no field of the type, and is nearly named as a required field that is missing.
    fn misspelt<'event>(&self, required: &str, event: &'event Value) -> Option<&'event str> {
        let members = event.as_object().filter(|members| members.len() <= MAX_COMPARED)?;
        let plain =
            |name: &&String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte));
        let is_field = |name: &str| self.fields().any(|(field, _)| field == name);
        let like = members.keys().filter(|name| alike(required, name)).filter(plain);
        like.map(String::as_str).find(|name| !is_field(name))
    }

    fn too_much(&self) -> Violation {
        Violation::whole(format!(
            "is too much to check: for so many values, the schema of {} may take more than {MAX_STEPS} steps",
            self.event_type
        ))
    }
}

/// Returns the message of a `serde_json` error without the line, which stands before the message.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map(str::to_owned).unwrap_or(text)
}

/// Escapes a name as a segment of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(file: &str, text: &str) -> String {
        Definition::read(file, text).unwrap_err().to_string()
    }

    #[test]
    fn a_bad_file_is_refused_with_its_line_and_reason() {
        for (file, text, said) in [
            ("Click.json", "{}", "Click.json:1: the file's name: an event type must be 1 to 48"),
            ("rejected.json", "{}", "rejected.json:1: rejected is a name of Weir's own"),
            ("a.json", "{\n\"type\": \"object\",\n}", "a.json:3: trailing comma$"),
            ("a.json", "{\n\"a\": 1,\n\"a\": 2}", "a.json:3: the name \"a\" is given twice"),
            ("a.json", "[]", "a.json:1: must be a JSON Schema object"),
            ("a.json", "{\n\"type\": \"array\"}", "a.json:2: an event is an object"),
            (
                "a.json",
                "{\"type\": \"object\",\n\"properties\": {\n\"username\": {}}}",
                "a.json:3: username is a column of Weir's own",
            ),
            (
                "a.json",
                "{\"type\": \"object\",\n\"properties\": {\n\"Hour\": {}}}",
                "a.json:3: Hour is a column",
            ),
            (
                "a.json",
                "{\"type\": \"object\",\n\"properties\": {\"plan\": {},\n\"Plan\": {}}}",
                "a.json:2: plan and Plan would be",
            ),
            ("a.json", "{\"type\": \"object\"}", "a.json:1: \"x-weir\""),
            (
                "a.json",
                "{\"type\": \"object\",\n\"x-weir\": {\"rout\": 1}}",
                "a.json:2: x-weir has no member rout; it may have route, count_by, latest_by",
            ),
            (
                "a.json",
                "{\"type\": \"object\", \"x-weir\":\n{\"route\":\n\"/A\"}}",
                "a.json:3: the route must be like",
            ),
            (
                "a.json",
                "{\"type\": \"object\", \"x-weir\": {\"route\": \"/a\",\n\"count_by\": \"b\"}}",
                "a.json:2: count_by names b",
            ),
            (
                "a.json",
                "{\"type\": \"object\", \"x-weir\": {\"route\": \"/a\", \"count_by\": \"b\"},\n\"properties\": {\n\"b\": {\"type\": \"integer\"}}}",
                "a.json:3: count_by names b, whose type",
            ),
            (
                "a.json",
                "{\"type\": \"object\", \"x-weir\": {\"route\": \"/a\"},\n\"properties\": {\n\"\": {}}}",
                "a.json:3: a field needs a name",
            ),
            (
                "a.json",
                "{\"type\": \"object\", \"x-weir\": {\"route\": \"/a\"},\n\"properties\": {\"email\": {}},\n\"required\": [\"email\",\n\"emial\"]}",
                "a.json:4: required names emial, which is not among the properties$",
            ),
            (
                "a.json",
                "{\"type\": \"object\", \"x-weir\": {\"route\": \"/a\"},\n\"properties\": {\"n\": {\"type\": \"integer\"}},\n\"examples\": [{\"n\": 1},\n{\"n\": \"secret\"}]}",
                "a.json:4: the example is not valid: /n: value is not of type \"integer\"$",
            ),
            (
                "a.json",
                "{\"type\": \"object\", \"x-weir\": {\"route\": \"/a\"},\n\"properties\": {\"n\": {\"type\": \"integer\",\n\"examples\": [1.5]}}, \"required\": [\"n\"]}",
                "a.json:3: the example is not valid",
            ),
            (
                "a.json",
                "{\"type\": \"object\", \"x-weir\": {\"route\": \"/a\"},\n\"properties\": {\n\"b\": {\"type\": 7}}}",
                "a.json:3: not a valid JSON Schema: /properties/b/type: ",
            ),
            (
                "a.json",
                "{\"type\": \"object\", \"x-weir\": {\"route\": \"/a\"},\n\"properties\": {\n\"b\": {\"pattern\": \"(\"}}}",
                "a.json:3: not a valid JSON Schema: /properties/b/pattern: ",
            ),
        ] {
            let refusal = refusal(file, text);
            let right = match said.strip_suffix('$') {
                Some(whole) => refusal == whole,
                None => refusal.starts_with(said),
            };
            assert!(right, "{refusal}\n  should begin with\n{said}");
        }
    }

    fn check(schema: &str, event: &str) -> Result<Option<CountedValue>, Vec<(String, String)>> {
        let definition = Definition::read("t.json", schema).unwrap();
        definition
            .check(&Event::read(event).unwrap())
            .map_err(|violations| violations.into_iter().map(|v| (v.path, v.message)).collect())
    }

    const CLICK: &str = r#"{"type": "object", "x-weir": {"route": "/t", "count_by": "id"},
        "properties": {"id": {"type": "string"}, "n": {"type": ["integer", "null"], "minimum": 0}, "s/~": {}}, "required": ["id", "s/~"],
        "additionalProperties": {"type": "string"}}"#;

    #[test]
    fn a_valid_event_has_its_key() {
        assert_eq!(check(CLICK, r#"{"id": "x", "s/~": "", "n": null}"#), Ok(Some("x".parse().unwrap())));
    }

    #[test]
    fn every_fault_is_reported_with_its_path_and_without_the_value() {
        let faults = check(CLICK, r#"{"id": 77777, "n": -5, "more": [77777]}"#).unwrap_err();
        let paths: std::collections::BTreeSet<_> = faults.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["/id", "/more", "/n", "/s~1~0"]);
        assert!(!format!("{faults:?}").contains("77777"), "{faults:?}");
    }

    #[test]
    fn a_value_that_is_too_long_to_be_a_key_is_no_fault_of_the_event() {
        let value = "x".repeat(513);
        let long = format!(r#"{{"id": "{value}", "s/~": ""}}"#);
        assert_eq!(check(CLICK, &long), Ok(Some(CountedValue::of(&value))));
    }

    #[test]
    fn the_envelope_does_not_disturb_a_strict_schema() {
        let strict = r#"{"type": "object", "x-weir": {"route": "/t"}, "properties": {"a": {}}, "additionalProperties": false}"#;
        assert_eq!(check(strict, r#"{"event_id": "1", "occurred_at": 1, "event_type": "t"}"#), Ok(None));
        assert_eq!(
            check(strict, r#"{"b": 1}"#).unwrap_err(),
            [("/b".to_owned(), "is not a field of this event type".to_owned())]
        );
    }
}
