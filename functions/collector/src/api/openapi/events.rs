//! Describes what shows a user's own events.

use serde_json::{Value, json};
use weir_core::{Catalog, newest::MAX_EVENTS, rejected::MAX_TEXT};

use super::{errors::errors, problems};
use crate::api::{events::LISTED, examples::Of};

/// Describes `GET /events/{event_id}`.
pub(crate) fn get_receipt(_: &Catalog) -> Value {
    let mut responses = errors(Of::Receipt, &[401, 403, 404, 429, 503]);
    responses["200"] = json!({
        "description": "The receipt.",
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["event_id", "status", "event_type", "received_at", "object"],
            "properties": {
                "event_id": {"type": "string"},
                "status": {"type": "string", "enum": ["stored", "filed", "rejected", "quarantined", "forgotten"]},
                "event_type": {"type": ["string", "null"]},
                "received_at": {"type": ["integer", "null"], "description": "When it was stored, in milliseconds since 1970."},
                "object": {"type": ["string", "null"], "description": "The object in the lake that has it."},
                "reason": {"type": "string", "description": "Why it was rejected or quarantined."},
            },
        }}},
    });
    json!({
        "summary": "Read what became of an event",
        "description": "By the id that its client gave it, for a day, or by the one that Weir made, for as long as raw is kept. A \
            repeat has the id of the event that it repeats, whose receipt this is. On AWS an event whose id Weir made is found \
            once its batch is delivered.",
        "operationId": "receipt",
        "parameters": [
            {"name": "event_id", "in": "path", "required": true,
             "schema": {"type": "string", "examples": ["order-4711"]}},
        ],
        "responses": responses,
    })
}

/// Describes `GET /events/stream`.
pub(crate) fn get_stream(catalog: &Catalog) -> Value {
    let names: Vec<&str> = catalog.iter().map(|d| d.event_type().as_str()).chain(["rejected"]).collect();
    let mut responses = errors(Of::Stream, &[401, 403, 404, 422, 429, 503]);
    responses["200"] = json!({
        "description": "The events as they are stored.",
        "content": {"text/event-stream": {
            "schema": {"type": "string"},
            "example": "event: accepted\nid: 4711\ndata: {\"event_id\":\"order-4711\",\"event_type\":\"button_click\", …}\n\n",
        }},
    });
    json!({
        "summary": "Follow events as they are stored",
        "description": "Server-sent events on one machine: `accepted` and `rejected`, each with an event as `GET /events` lists it \
            and its id; `gap` where stored events cannot be read any more; and `end` with the reason why the stream ends. \
            A client that reconnects with the last id in `Last-Event-ID` misses no event. On AWS there is no stream: poll \
            `GET /events`.",
        "operationId": "followEvents",
        "parameters": [
            {"name": "event_type", "in": "query", "description": "Only events of this type; `rejected` for all rejected ones.",
             "schema": {"type": "string", "examples": names}},
            {"name": "Last-Event-ID", "in": "header", "description": "The id of the last event that came: the stream continues after it.",
             "schema": {"type": "string", "pattern": POSITION, "examples": ["4711"]}},
        ],
        "responses": responses,
    })
}

/// The pattern of a position in the list of events.
const POSITION: &str = "^[0-9]{1,18}(\\.[A-Za-z0-9._:-]{1,64})?$";

/// Describes `GET /events`.
pub(crate) fn get_events(catalog: &Catalog) -> Value {
    let names: Vec<&str> = catalog.iter().map(|d| d.event_type().as_str()).chain(["rejected"]).collect();
    let mut responses = problems(&[401, 403, 404, 422, 429, 503]);
    let event = json!({
        "type": "object",
        "required": ["event_id", "event_type", "received_at", "status", "event"],
        "properties": {
            "event_id": {"type": "string"},
            "event_type": {"type": ["string", "null"], "description": "Of a rejected event, what it was sent as, if there is such a type."},
            "received_at": {"type": "integer", "description": "Milliseconds since 1970."},
            "status": {"type": "string", "enum": ["accepted", "rejected"]},
            "reason": {"type": "string", "description": "Why it was rejected."},
            "event": {"type": ["object", "string"], "description": format!(
                "An accepted event as it is stored; of a rejected one the text that was sent, {MAX_TEXT} bytes of it at the most.")},
            "truncated": {"type": "boolean", "description": "Whether a rejected event's text is only the beginning."},
        },
    });
    responses["200"] = json!({
        "description": "The newest events.",
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["events", "next", "live"],
            "properties": {
                "events": {"type": "array", "maxItems": MAX_EVENTS, "items": event},
                "next": {"type": ["string", "null"],
                    "description": "Sent back as `after`, it continues the list; null if there is no more."},
                "live": {"type": "boolean",
                    "description": "Whether accepted events are listed at once, and not only once they are filed."},
            },
        }}},
    });
    json!({
        "summary": "Read the newest events",
        "description": "Newest first, accepted and rejected. An answer may have fewer events than the limit, even none, and still \
            a `next`: the work for one answer is bounded. On AWS accepted events are listed once they are filed, minutes after \
            they were sent, and those of this hour and the previous one.",
        "operationId": "newestEvents",
        "parameters": [
            {"name": "limit", "in": "query", "description": "How many.",
             "schema": {"type": "integer", "minimum": 1, "maximum": MAX_EVENTS, "default": LISTED}},
            {"name": "event_type", "in": "query", "description": "Only events of this type; `rejected` for all rejected ones.",
             "schema": {"type": "string", "examples": names}},
            {"name": "after", "in": "query", "description": "The `next` of the answer before.",
             "schema": {"type": "string", "pattern": POSITION, "examples": ["1795179605007"]}},
        ],
        "responses": responses,
    })
}
