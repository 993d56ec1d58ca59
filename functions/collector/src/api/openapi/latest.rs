//! Describes the route of latest values.

use serde_json::{Value, json};
use weir_core::{CountedValue, catalog::Definition};

use super::{errors::errors, reference};
use crate::api::{
    examples::Of,
    latest::{MAX_BYTES, MAX_PAGE, PAGE},
};

/// Describes `GET` of a type's latest values.
pub(crate) fn get_latest(definition: &Definition) -> Value {
    let name = definition.event_type().as_str();
    let field = definition.latest_by().unwrap_or_default();
    let mut responses = errors(Of::Latest, &[401, 403, 404, 422, 429, 503]);
    responses["200"] = json!({
        "description": format!(
            "The newest event of one {field}, as it is stored; or of several, or a page of all, in latest."
        ),
        "content": {"application/json": {"schema": {"anyOf": [
            reference("StoredEvent"),
            {
                "type": "object", "required": ["latest"],
                "properties": {
                    "latest": {"type": "array", "maxItems": MAX_PAGE, "items": reference("StoredEvent")},
                    "next": {"type": ["string", "null"], "description": "The value of after for the next page. \
                        Missing where the query names keys."},
                },
            },
        ]}}},
    });
    let key = format!(
        "The {field} whose newest event is wanted. Given several times, at most {MAX_PAGE}, the answer has those that there are, \
         in latest, in this order. Without it, all are listed. A value longer than {} bytes is kept under a shortened form, \
         which is taken here as well.",
        CountedValue::MAX_BYTES
    );
    json!({
        "summary": format!("Read the latest {name} of each {field}"),
        "description": format!(
            "The newest by event time, and of equal times by event_id: not by the order of arrival. An answer has at most \
             {MAX_BYTES} bytes of events; a page ends earlier then."
        ),
        "operationId": format!("latest_{name}"),
        "parameters": [
            {"name": field, "in": "query", "description": key, "explode": true,
             "schema": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_PAGE}},
            {"name": "limit", "in": "query", "description": format!("Values on a page, where there is no {field}."),
             "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE}},
            {"name": "after", "in": "query", "description": "What next said on the page before.",
             "schema": {"type": "string"}},
        ],
        "responses": responses,
    })
}

/// Describes an event as it is stored.
pub(super) fn stored_event() -> Value {
    json!({
        "description": "An event as it is stored: what Weir stamps onto it, and the fields as they were sent.",
        "type": "object",
        "required": ["time", "event_id", "username", "event_type", "received_at"],
        "properties": {
            "time": {"type": "integer", "description": "The event time: occurred_at within bounds, or else the time of arrival. \
                Milliseconds since 1970."},
            "bot": {"description": "True if its user agent says that it is a bot's event. Where the client sent a field of \
                this name, it is that."},
            "event_id": {"type": "string"},
            "username": {"type": "string"},
            "event_type": {"type": "string"},
            "received_at": {"type": "integer", "description": "The time of arrival: milliseconds since 1970."},
            "occurred_at": {"type": "integer", "description": "Milliseconds since 1970, if the client gave it."},
        },
    })
}
