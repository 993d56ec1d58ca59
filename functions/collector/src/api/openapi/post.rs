//! Describes how events are posted: many of any type, and one on its type's own route.

use serde_json::{Map, Value, json};
use weir_core::{Catalog, catalog::Definition};

use super::{errors::errors, reference};
use crate::{api::examples::Of, intake::limits::MAX_EVENTS};

/// Returns an event of a type as `POST /events` takes it: its schema's first example.
fn example(definition: &Definition) -> Option<Value> {
    let mut event = json!({"event_type": definition.event_type()});
    let example = definition.schema().get("examples")?.get(0)?.as_object()?;
    event.as_object_mut()?.extend(example.clone());
    Some(event)
}

/// Returns the same as a line of NDJSON, in the order of the file.
fn example_line(definition: &Definition) -> Option<String> {
    let example = definition.example()?;
    let fields = example.strip_prefix('{').filter(|fields| *fields != "}")?;
    Some(format!("{{\"event_type\":\"{}\",{fields}", definition.event_type()))
}

/// Describes `POST /events`.
pub(crate) fn post_events(catalog: &Catalog) -> Value {
    let one: Vec<Value> =
        catalog.iter().map(|definition| reference(definition.event_type().as_str())).collect();
    let event = json!({
        "type": "object", "required": ["event_type"], "properties": {"event_type": {"type": "string"}}, "anyOf": one,
    });
    let body = json!({"anyOf": [event, {"type": "array", "items": event, "maxItems": MAX_EVENTS}]});
    let events: Vec<Value> = catalog.iter().filter_map(example).collect();
    let mut sent: Map<String, Value> = events
        .iter()
        .filter_map(|event| Some((event["event_type"].as_str()?.to_owned(), json!({"value": event}))))
        .collect();
    sent.insert("many".to_owned(), json!({"summary": "One of each type", "value": events}));
    let lines: Vec<String> = catalog.iter().filter_map(example_line).collect();
    // Not as an example: tools would take one for a JSON value, and few can send NDJSON.
    let ndjson = json!({"schema": {"type": "string", "description": format!("A line for each event:\n{}", lines.join("\n"))}});
    let outcomes = |description: &str| json!({"description": description, "content": {"application/json": {"schema": reference("Outcomes")}}});
    let mut responses = errors(Of::ManyEvents, &[400, 401, 403, 408, 413, 415, 422, 429, 503]);
    responses["200"] = outcomes("All events are stored, now or before.");
    responses["207"] = outcomes("Some events are stored; the outcomes say which.");
    json!({
        "summary": "Store one event or many",
        "description": "One JSON object, an array of them, or NDJSON. Each event gets its own outcome.",
        "operationId": "post_events",
        "requestBody": {"required": true, "content": {
            "application/json": {"schema": body, "examples": sent}, "application/x-ndjson": ndjson,
        }},
        "responses": responses,
    })
}

pub(super) fn warnings() -> Value {
    json!({
        "type": "array", "items": {"type": "string"},
        "description": "What is odd about a stored event: an occurred_at out of bounds, so that the event is filed by its \
            time of arrival. Missing where there is nothing to say.",
    })
}

/// Describes `POST` on a type's own route.
pub(crate) fn post_typed(definition: &Definition) -> Value {
    let name = definition.event_type().as_str();
    let mut responses = errors(Of::OneEvent, &[400, 401, 403, 408, 413, 415, 422, 429, 503]);
    responses["200"] = json!({
        "description": "The event is stored, now or before.",
        "content": {"application/json": {"examples": {
            "stored": {"value": {"message": "Received"}},
            "duplicate": {"value": {"message": "Received", "status": "duplicate", "event_id": "order-7"}},
        }, "schema": {
            "type": "object", "required": ["message"], "properties": {
                "message": {"const": "Received"},
                "status": {"const": "duplicate", "description": "The event was stored earlier, with the same \
                    event_id, and not again. A stored event's answer has the message alone."},
                "event_id": {"type": "string", "description": "The id that both have."},
                "warnings": warnings(),
            },
        }}},
    });
    let schema = definition.schema();
    let mut content = json!({"schema": reference(name)});
    if let Some(example) = schema.get("examples").and_then(|examples| examples.get(0)) {
        content["example"] = example.clone();
    }
    json!({
        "summary": format!("Store one {name}"),
        "description": schema.get("description"),
        "operationId": format!("post_{name}"),
        "requestBody": {"required": true, "content": {"application/json": content}},
        "responses": responses,
    })
}
