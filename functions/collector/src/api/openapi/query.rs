//! Describes the routes for SQL.

use serde_json::{Value, json};
use weir_core::Catalog;

use super::dashboard::{HOUR, HOUR_OR_DAY};
use super::errors::errors;
use crate::api::{
    examples::Of,
    history::HOURS,
    query::{self, MAX_SQL},
    read::{MAX_PAGE, PAGE},
};

/// Describes `POST /query`.
pub(crate) fn post_query(_: &Catalog) -> Value {
    let mut responses = errors(Of::Sql, &[400, 401, 403, 404, 406, 408, 413, 415, 422, 429, 503, 504]);
    responses["200"] = rows();
    responses["202"] = running();
    json!({
        "summary": "Query your events in SQL",
        "description": "One SELECT over the tables of the event types, `rejected` and `events`, with the caller's own rows only. It \
            sees events once they are filed. On one machine it is DuckDB's SQL, and the rows are the answer. On AWS it is \
            Athena's (Trino's), over a range of hours, and the answer says where to ask for the rows. The operator decides \
            whether queries are answered.",
        "operationId": "query",
        "parameters": [
            bound("from", &format!("On AWS: the first hour, or a day for its first hour. If it is missing, {} before the last, or fewer if the query reads too many \
                tables for that.", query::HOURS - 1)),
            bound("to", "On AWS: the last hour, or a day for its last hour; the current one if it is missing."),
        ],
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

/// Describes `GET /query/{query}`.
pub(crate) fn get_query(_: &Catalog) -> Value {
    let mut responses = errors(Of::Query, &[400, 401, 403, 404, 406, 409, 413, 429, 503]);
    responses["200"] = rows();
    responses["202"] = running();
    json!({
        "summary": "Read the answer of a query",
        "description": "On AWS: the rows of a query that the caller started, or that it still runs. On one machine `POST /query` \
            itself has the rows.",
        "operationId": "queryAnswer",
        "parameters": [id()],
        "responses": responses,
    })
}

/// Describes `DELETE /query/{query}`.
pub(crate) fn delete_query(_: &Catalog) -> Value {
    let mut responses = errors(Of::Query, &[401, 403, 404, 429, 503]);
    responses["204"] = json!({"description": "It does not run any more."});
    json!({
        "summary": "Stop a query",
        "description": "On AWS: stops a query that the caller started. One that has ended stays as it is.",
        "operationId": "stopQuery",
        "parameters": [id()],
        "responses": responses,
    })
}

fn id() -> Value {
    json!({"name": "query", "in": "path", "required": true, "description": "The query's id.",
           "schema": {"type": "string", "minLength": 1, "examples": ["2f1c9a52-7f0e-4f0a-9c1b-5f0e6a2d4b88"]}})
}

fn bound(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "query", "description": description,
           "schema": {"type": "string", "pattern": HOUR_OR_DAY, "examples": ["2026-11-20T13"]}})
}

/// Describes the rows of an answer.
fn rows() -> Value {
    json!({
        "description": "The rows, in the format that Accept asks for.",
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            "text/csv": {"schema": {"type": "string"}},
        },
    })
}

/// Describes the answer about a query that goes on.
fn running() -> Value {
    json!({
        "description": "The query runs. Location is where to ask for the rows, and Retry-After when.",
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["query", "state", "answer"],
            "properties": {
                "query": {"type": "string", "description": "Its id."},
                "state": {"enum": ["running"]},
                "answer": {"type": "string", "description": "The path of the answer."},
                "from": {"type": "string", "pattern": HOUR, "description": "The first hour that it sees."},
                "to": {"type": "string", "pattern": HOUR, "description": "The last one."},
                "warnings": {"type": "array", "items": {"type": "string"}, "description": "That the range is shorter than usual."},
            },
        }}},
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
    json!({
        "summary": "Read the largest keys of a range",
        "description": "The keys of filed events, by their event time, in UTC hours, both ends included. This is a query over the \
            lake: on one machine the operator turns queries on; on AWS keys are not counted.",
        "operationId": "keysOfRange",
        "parameters": [
            {"name": "event_type", "in": "path", "required": true, "schema": {"type": "string", "examples": names}},
            bound("from", &format!("The first hour, or a day for its first hour; {} before the last if it is missing.", HOURS - 1)),
            bound("to", "The last hour, or a day for its last hour; the current one if it is missing."),
            {"name": "limit", "in": "query", "description": "How many.",
             "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE}},
        ],
        "responses": responses,
    })
}
