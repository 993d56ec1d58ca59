//! Describes what dashboards read: counts by time, rejected events and tags.

use serde_json::{Map, Value, json};
use weir_core::{
    Catalog,
    rejected::{MAX_REASONS, MAX_SHOWN, MAX_TEXT},
};

use super::{errors::errors, problems, reference};
use crate::api::{
    examples::Of,
    history::{DAYS, HOURS, MAX_DAYS, MAX_HOURS, MINUTES},
    rejected::LISTED,
};

/// The patterns of hours and days, and of the ends of a range of hours. They do not check how many days a month has.
pub(super) const HOUR: &str =
    "^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])$";
pub(super) const HOUR_OR_DAY: &str =
    "^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T([01][0-9]|2[0-3]))?$";
const DAY: &str = "^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$";

const MINUTE: &str =
    "^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]$";

/// Describes `GET /counts/{event_type}/minutes`.
pub(crate) fn get_minutes(catalog: &Catalog) -> Value {
    let mut minutes =
        get_counts_by(("minute", MINUTE), (MINUTE, "2026-11-20T13:05"), [MINUTES, MINUTES], catalog);
    minutes["summary"] = "Read the live counts of one event type by minute".into();
    minutes["description"] = "The counts of the last hour, by UTC minute of the event time, both ends included. An event is counted \
        as soon as it is acknowledged. On AWS there are no counts by minute."
        .into();
    let since = json!({"type": "integer", "description": "Every event that arrived at this time or later is counted: milliseconds since 1970."});
    let schema = &mut minutes["responses"]["200"]["content"]["application/json"]["schema"];
    schema["properties"]["since"] = since;
    schema["required"] = json!(["event_type", "from", "to", "since", "minutes"]);
    let not_here = errors(Of::Minutes, &[404]);
    minutes["responses"]["404"] = not_here["404"].clone();
    minutes
}

/// Describes `GET /counts/{event_type}/hours`.
pub(crate) fn get_hours(catalog: &Catalog) -> Value {
    get_counts_by(("hour", HOUR), (HOUR_OR_DAY, "2026-11-20T13"), [HOURS, MAX_HOURS], catalog)
}

/// Describes `GET /counts/{event_type}/days`.
pub(crate) fn get_days(catalog: &Catalog) -> Value {
    get_counts_by(("day", DAY), (DAY, "2026-11-20"), [DAYS, MAX_DAYS], catalog)
}

/// Documents the tag of each `GET`.
pub(super) fn describe_etags(paths: &mut Map<String, Value>) {
    let tag = json!({"ETag": {
        "description": "Sent back as If-None-Match, it spares an answer that would be the same.",
        "schema": {"type": "string"},
    }});
    for path in paths.values_mut() {
        let streams = |responses: &&mut Value| responses["200"]["content"].get("text/event-stream").is_some();
        if let Some(responses) = path.pointer_mut("/get/responses").filter(|responses| !streams(responses)) {
            responses["200"]["headers"] = tag.clone();
            responses["304"] =
                json!({"description": "The answer is still the one with that tag.", "headers": tag});
        }
    }
}

/// Describes counts by a unit of time, whose name and pattern come first, and then the pattern and an example of a range's ends.
fn get_counts_by(
    (unit, pattern): (&str, &str),
    (of_end, example): (&str, &str),
    [usual, most]: [u64; 2],
    catalog: &Catalog,
) -> Value {
    let names: Vec<&str> = catalog.iter().map(|d| d.event_type().as_str()).chain(["rejected"]).collect();
    let units = &format!("{unit}s");
    let mut responses = problems(&[401, 403, 404, 422, 429, 503]);
    responses["200"] = json!({
        "description": format!("Each {unit} that has events, in their order."),
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["event_type", "from", "to", units],
            "properties": {
                "event_type": {"type": "string"},
                "from": {"type": "string", "pattern": pattern},
                "to": {"type": "string", "pattern": pattern},
                units: {"type": "array", "maxItems": most, "items": {
                    "type": "object", "required": [unit, "count"],
                    "properties": {unit: {"type": "string", "pattern": pattern}, "count": {"type": "integer"}},
                }},
            },
        }}},
    });
    let bound = |name: &str, description: String| {
        json!({"name": name, "in": "query", "description": description,
               "schema": {"type": "string", "pattern": of_end, "examples": [example]}})
    };
    let day = |end: &str| {
        if of_end == pattern { String::new() } else { format!(" A day stands for its {end} hour.") }
    };
    json!({
        "summary": format!("Read the settled counts of one event type by {unit}"),
        "description": format!("By UTC {unit} of arrival, both ends included; at most {most} of them."),
        "operationId": units,
        "parameters": [
            {"name": "event_type", "in": "path", "required": true, "schema": {"type": "string", "examples": names}},
            bound("from", format!("The first {unit}; {} before the last if it is missing.{}", usual - 1, day("first"))),
            bound("to", format!("The last {unit}; the current one if it is missing.{}", day("last"))),
        ],
        "responses": responses,
    })
}

/// Describes `GET /rejected`.
pub(crate) fn get_rejected(_: &Catalog) -> Value {
    let mut responses = problems(&[401, 403, 422, 429, 503]);
    responses["200"] = json!({
        "description": "The latest events that were not valid, newest first.",
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["rejected"],
            "properties": {"rejected": {"type": "array", "maxItems": MAX_SHOWN, "items": {
                "type": "object",
                "required": ["event_id", "event_type", "received_at", "errors", "event", "truncated"],
                "properties": {
                    "event_id": {"type": "string"},
                    "event_type": {"type": ["string", "null"], "description": "What it was sent as, if there is such a type."},
                    "received_at": {"type": "integer", "description": "Milliseconds since 1970."},
                    "errors": {"description": format!("The first {MAX_REASONS} reasons."),
                        "type": "array", "maxItems": MAX_REASONS, "items": reference("Violation")},
                    "event": {"type": "string", "description": format!(
                        "Its text as it was sent, {MAX_TEXT} bytes of it at the most; what is not UTF-8 is U+FFFD.")},
                    "truncated": {"type": "boolean", "description": "Whether that is only the beginning."},
                },
            }}},
        }}},
    });
    json!({
        "summary": "Read the latest rejected events",
        "description": "All of them are kept in the lake.",
        "operationId": "rejected",
        "parameters": [
            {"name": "limit", "in": "query", "description": "How many.",
             "schema": {"type": "integer", "minimum": 1, "maximum": MAX_SHOWN, "default": LISTED}},
        ],
        "responses": responses,
    })
}
