//! The API's description, OpenAPI 3.1, made from the catalog and the operations that the list of routes has. `dashboard`
//! describes the routes for dashboards, `latest` that of latest values, `answers` those of answers, `map` those of runs,
//! `query` that of SQL, `open` those without credentials; `order` puts a type's fields into the order of its file.

pub(crate) mod answers;
pub(crate) mod dashboard;
mod errors;
pub(crate) mod events;
pub(crate) mod latest;
pub(crate) mod map;
pub(crate) mod open;
mod order;
pub(crate) mod post;
pub(crate) mod query;

use serde_json::{Map, Value, json};
use weir_core::{
    Catalog, CountedValue, Timestamp,
    catalog::Definition,
    event::{MAX_EVENT_BYTES, STAMPED},
};

use crate::{
    api::read::{MAX_PAGE, PAGE},
    intake::{
        body::MAX_DECOMPRESSED,
        limits::{MAX_EVENTS, MAX_SENT},
    },
};

use errors::{ANYWHERE, identified, problems, shared_responses};

/// An operation of the API: a method of a path.
pub(crate) struct Operation {
    pub(crate) path: String,
    /// In lower case.
    pub(crate) method: &'static str,
    pub(crate) needs_credentials: bool,
    /// The Operation Object of OpenAPI, without `security`.
    pub(crate) described: Value,
}

/// Returns the document's text.
pub(crate) fn text(catalog: &Catalog, operations: Vec<Operation>) -> String {
    order::text(&document(catalog, operations), catalog)
}

/// Returns the document.
fn document(catalog: &Catalog, operations: Vec<Operation>) -> Value {
    let mut paths = Map::new();
    for Operation { path, method, needs_credentials, mut described } in operations {
        described["tags"] = json!([group(&path, method)]);
        if !needs_credentials {
            described["security"] = json!([]);
        }
        // OpenAPI has no sign for a parameter of several segments.
        paths.entry(path.replace("{*", "{")).or_insert_with(|| json!({}))[method] = described;
    }
    dashboard::describe_etags(&mut paths);
    let operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    for responses in operations.filter_map(|one| one["responses"].as_object_mut()) {
        identified(responses);
        for (status, name) in ANYWHERE {
            let shared = || json!({"$ref": format!("#/components/responses/{name}")});
            responses.entry(status.to_string()).or_insert_with(shared);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Weir",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
            "description": format!(
                "Collects events and counts them. A body has at most {MAX_SENT} bytes ({MAX_DECOMPRESSED} once \
                 decompressed), a request at most {MAX_EVENTS} events, an event at most {MAX_EVENT_BYTES} bytes. \
                 Bodies may be compressed with gzip or zstd. {} are Weir's own, and cannot be sent. \
                 A path that is not described here is answered with 404, and a method that a path does not have with \
                 405: see the responses NotFound and MethodNotAllowed.",
                STAMPED.join(" and ")
            ),
        },
        "security": [{"basic": []}],
        "tags": [
            {"name": "Send", "description": "Events, one or many."},
            {"name": "Read", "description": "Counts, events and answers."},
            {"name": "Page", "description": "What browsers show, and what needs no credentials."},
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
            "headers": {"X-Request-Id": {
                "description": "Which request it was. It stands in the log, too.",
                "required": true, "schema": {"type": "string", "minLength": 1, "maxLength": 128},
            }},
            "responses": shared_responses(),
            "schemas": schemas(catalog),
        },
    })
}

/// Returns the group that an operation is shown in.
fn group(path: &str, method: &str) -> &'static str {
    match (method, path) {
        (_, "/" | "/docs" | "/health" | "/openapi.json" | "/weir.js") => "Page",
        ("post", path) if path != "/query" && !path.starts_with("/map/") => "Send",
        _ => "Read",
    }
}

fn schemas(catalog: &Catalog) -> Value {
    let mut schemas = json!({
        "Problem": {
            "description": "Problem details (RFC 9457).",
            "type": "object",
            "required": ["type", "title", "status", "detail", "instance"],
            "properties": {
                "type": {"type": "string", "description": "Stable: programs may rely on it.",
                    "examples": ["urn:weir:problem:invalid-event"]},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "instance": {"type": "string", "description": "Which request it was: urn:weir:request: and its id, \
                    which stands in the log too.", "pattern": "^urn:weir:request:"},
                "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Violation"}},
                "limit": {"type": "integer"},
                "stored": {"type": "integer"},
                "duplicates": {"type": "integer"},
                "rejected": {"type": "integer"},
                "not_stored": {"type": "integer"},
                "outcomes": {"type": "array", "items": {"$ref": "#/components/schemas/Outcome"}},
            },
        },
        "Violation": {
            "description": "One reason why an event is refused.",
            "type": "object",
            "required": ["path", "message"],
            "properties": {
                "path": {"type": "string", "description": "A JSON pointer into the event; empty for the whole."},
                "message": {"type": "string"},
            },
        },
        "Outcome": {
            "description": "What became of one event.",
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {
                    "enum": ["stored", "duplicate", "rejected", "not_stored"],
                    "description": "A duplicate was stored earlier, with the same event_id: it is not stored again.",
                },
                "event_id": {"type": "string"},
                "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Violation"}},
                "warnings": post::warnings(),
            },
        },
        "Outcomes": {
            "type": "object",
            "required": ["stored", "duplicates", "rejected", "not_stored", "outcomes"],
            "properties": {
                "stored": {"type": "integer"},
                "duplicates": {"type": "integer"},
                "rejected": {"type": "integer"},
                "not_stored": {"type": "integer"},
                "outcomes": {
                    "description": "One for each event, in the order of the request.",
                    "type": "array", "items": {"$ref": "#/components/schemas/Outcome"},
                },
            },
        },
        "TypeCount": {
            "type": "object",
            "required": ["event_type", "total", "settled"],
            "properties": {
                "event_type": {"type": "string"},
                "total": {"type": "integer", "description": "The live count: all events acknowledged so far."},
                "settled": {"type": "integer", "description": "How many of them are filed in the lake."},
                "bots": {"type": "integer", "description": "How many of the total are bots' events, by their user agents. \
                    Missing if there are no such events."},
            },
        },
    });
    if catalog.iter().any(|definition| definition.latest_by().is_some()) {
        schemas["StoredEvent"] = latest::stored_event();
    }
    for definition in catalog.iter() {
        schemas[definition.event_type().as_str()] = event_schema(definition);
    }
    schemas
}

/// Returns a type's schema from the catalog, with the members that a client may send beside its fields. A client need not
/// send a field that the collector fills.
fn event_schema(definition: &Definition) -> Value {
    let mut schema = definition.schema().clone();
    if let Some(object) = schema.as_object_mut() {
        object.remove("x-weir");
        object.remove("$schema");
        object.remove("$id");
        if let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|name| name.as_str().is_none_or(|name| !definition.is_filled(name)));
        }
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        properties["event_id"] = json!({
            "type": ["string", "null"], "pattern": "^[A-Za-z0-9._:-]{1,64}$",
            "description": "The client's own identity for the event; one is made if it is missing. For at least 24 \
                hours from when it was stored, an event of the same user with the same one is the same event, \
                whatever it holds: it is acknowledged, and not stored again.",
        });
        properties["occurred_at"] = json!({
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": Timestamp::MAX_MILLIS},
                {"type": "string", "format": "date-time", "pattern": "^(19[7-9][0-9]|[2-9][0-9]{3})-"},
                {"type": "null"},
            ],
            "description": "When it happened: milliseconds since 1970, or RFC 3339. Milliseconds in UTC are kept. It is \
                the event's time if it is at most 400 days before and 10 minutes after its arrival; otherwise the time of \
                arrival is, and the answer has a warning.",
        });
        properties["event_type"] =
            json!({"type": ["string", "null"], "enum": [definition.event_type(), null]});
    }
    schema
}

/// Describes `GET` of a type's count.
pub(crate) fn get_typed_count(definition: &Definition) -> Value {
    let name = definition.event_type().as_str();
    let mut responses = problems(&[401, 403, 422, 429, 503]);
    responses["200"] = json!({
        "description": "The live count; 0 if there was none.",
        "content": {"application/json": {"schema": {
            "type": "object", "required": ["count"], "properties": {"count": {"type": "integer", "minimum": 0}},
        }}},
    });
    let parameters: Vec<Value> = definition
        .count_by()
        .map(|field| {
            let description = format!(
                "Count events with this value only. A value longer than {} bytes is listed in /counts/{name} by a shortened \
                 form, which is taken here as well.",
                CountedValue::MAX_BYTES
            );
            json!({"name": field, "in": "query", "description": description, "schema": {"type": "string"}})
        })
        .into_iter()
        .collect();
    json!({
        "summary": format!("Count events of {name}"),
        "operationId": format!("count_{name}"),
        "parameters": parameters,
        "responses": responses,
    })
}

/// Describes `GET /counts`.
pub(crate) fn get_counts(_: &Catalog) -> Value {
    let mut responses = problems(&[401, 403, 422, 429, 503]);
    responses["200"] = json!({
        "description": "A count for each event type, and one for rejected events.",
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["username", "counts", "rejected", "settled_at", "offers"],
            "properties": {
                "username": {"type": "string"},
                "counts": {"type": "array", "items": reference("TypeCount")},
                "rejected": reference("TypeCount"),
                "bots": {
                    "type": "object", "required": ["total", "settled"],
                    "description": "The events of bots, of all types, which are in the other counts, too. Missing where there \
                        is none.",
                    "properties": {"total": {"type": "integer"}, "settled": {"type": "integer"}},
                },
                "offers": {
                    "type": "array", "items": {"type": "string", "enum": ["stream", "minutes", "keys"]},
                    "description": "Which of `/events/stream`, `/counts/{event_type}/minutes` and `/counts/{event_type}/keys` this Weir has.",
                },
                "settled_at": {
                    "type": ["integer", "null"],
                    "description": "When events were filed in the lake last: milliseconds since 1970.",
                },
            },
        }}},
    });
    json!({"summary": "Read all counts", "operationId": "counts", "responses": responses})
}

/// Describes `GET /counts/{event_type}`.
pub(crate) fn get_count(catalog: &Catalog) -> Value {
    let names: Vec<&str> = catalog.iter().map(|d| d.event_type().as_str()).chain(["rejected"]).collect();
    let mut responses = problems(&[401, 403, 404, 422, 429, 503]);
    responses["200"] = json!({
        "description": "The type's counts, and those of its keys, largest first.",
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["event_type", "total", "settled", "count_by", "keys", "next"],
            "properties": {
                "event_type": {"type": "string"},
                "total": {"type": "integer"},
                "settled": {"type": "integer"},
                "bots": {"type": "integer", "description": "How many of the total are bots'. Missing if there are no such events."},
                "count_by": {"type": ["string", "null"], "description": "The field that keys are values of."},
                "keys": {"type": "array", "items": {
                    "type": "object", "required": ["key", "count"],
                    "properties": {"key": {"type": "string"}, "count": {"type": "integer"}},
                }},
                "next": {"type": ["string", "null"], "description": "The value of after for the next page."},
            },
        }}},
    });
    json!({
        "summary": "Read the counts of one event type",
        "operationId": "count",
        "parameters": [
            {"name": "event_type", "in": "path", "required": true, "schema": {"type": "string", "examples": names}},
            {"name": "limit", "in": "query", "description": "Keys on a page.",
             "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE}},
            {"name": "after", "in": "query", "description": "What next said on the page before.",
             "schema": {"type": "string", "pattern": "^[0-9]{1,19}:"}},
        ],
        "responses": responses,
    })
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::routes::{FIXED, of_a_type, operations};

    #[test]
    fn every_route_is_described_and_served_but_the_files_of_the_page_docs() {
        let sensors = r#"{"type": "object", "x-weir": {"route": "/sensor", "latest_by": "id"},
            "properties": {"id": {"type": "string"}}}"#;
        let click = include_str!("../../../../catalog/button_click.json");
        let catalog = Catalog::read([("reading.json", sensors), ("button_click.json", click)]).unwrap();
        let mut routes: BTreeSet<String> = FIXED
            .iter()
            .map(|route| format!("{} {}", route.method.described(), route.path.replace("{*", "{")))
            .collect();
        for definition in catalog.iter() {
            routes.extend(
                of_a_type(definition).map(|route| {
                    format!("{} {}{}", route.method.described(), definition.route(), route.path)
                }),
            );
        }
        let document = document(&catalog, operations(&catalog));
        let described: BTreeSet<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
            })
            .collect();
        assert!(described.is_subset(&routes), "{described:?}");
        assert!(described.contains("get /sensor/latest") && !described.contains("get /button/click/latest"));
        let others: Vec<&String> = routes.difference(&described).collect();
        assert_eq!(others, ["get /docs/", "get /docs/{file}"]);
        // The router adds the routes of the two lists, in two loops, and no other.
        assert_eq!(include_str!("router.rs").matches("router.route(").count(), 2);
    }
}
