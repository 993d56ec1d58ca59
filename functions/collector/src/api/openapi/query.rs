//! Describes the route for SQL.

use serde_json::{Value, json};
use weir_core::Catalog;

use super::dashboard::HOUR;
use super::errors::errors;
use crate::api::{
    examples::Of,
    history::HOURS,
    query::MAX_SQL,
    read::{MAX_PAGE, PAGE},
};

/// Describes `POST /query`.
pub(crate) fn post_query(_: &Catalog) -> Value {
    let mut responses = errors(Of::Sql, &[400, 401, 403, 404, 406, 408, 413, 415, 422, 429, 503, 504]);
    responses["200"] = json!({
        "description": "The rows, in the format that Accept asks for.",
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            "text/csv": {"schema": {"type": "string"}},
        },
    });
    json!({
        "summary": "Query your events in SQL",
        "description": "One SELECT in DuckDB's SQL, over the tables of the event types, `rejected` and `events`, with the \
            caller's own rows only. It sees events once they are filed. The operator of one machine decides whether queries \
            are answered; on AWS they are not.",
        "operationId": "query",
        "requestBody": {
            "required": true,
            "content": {"text/plain": {
                "schema": {"type": "string", "minLength": 1, "maxLength": MAX_SQL},
                "example": "SELECT date, count(*) AS events FROM events GROUP BY date ORDER BY date",
            }},
        },
        "responses": responses,
    })
}

/// Describes `GET /counts/{event_type}/keys`.
pub(crate) fn get_keys(catalog: &Catalog) -> Value {
    let counted = catalog.iter().filter(|definition| definition.count_by().is_some());
    let names: Vec<&str> = counted.map(|definition| definition.event_type().as_str()).collect();
    let mut responses = errors(Of::Keys, &[401, 403, 404, 413, 422, 429, 503, 504]);
    responses["200"] = json!({
        "description": "The largest keys, and how many events of the type there are in the range.",
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["event_type", "count_by", "from", "to", "events", "keys", "more"],
            "properties": {
                "event_type": {"type": "string"},
                "count_by": {"type": "string"},
                "from": {"type": "string", "pattern": HOUR},
                "to": {"type": "string", "pattern": HOUR},
                "events": {"type": "integer"},
                "keys": {"type": "array", "maxItems": MAX_PAGE, "items": {
                    "type": "object", "required": ["key", "count"],
                    "properties": {"key": {"type": "string"}, "count": {"type": "integer"}},
                }},
                "more": {"type": "boolean", "description": "Whether there are more keys."},
            },
        }}},
    });
    let bound = |name: &str, description: String| {
        json!({"name": name, "in": "query", "description": description,
               "schema": {"type": "string", "pattern": HOUR, "examples": ["2026-11-20T13"]}})
    };
    json!({
        "summary": "Read the largest keys of a range",
        "description": "The keys of filed events, by their event time, in UTC hours, both ends included. This is a query over the \
            lake: on one machine the operator turns queries on, and on AWS there are none.",
        "operationId": "keysOfRange",
        "parameters": [
            {"name": "event_type", "in": "path", "required": true, "schema": {"type": "string", "examples": names}},
            bound("from", format!("The first hour; {} before the last if it is missing.", HOURS - 1)),
            bound("to", "The last hour; the current one if it is missing.".to_owned()),
            {"name": "limit", "in": "query", "description": "How many.",
             "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE}},
        ],
        "responses": responses,
    })
}
