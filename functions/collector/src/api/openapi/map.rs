//! Describes the routes of runs of functions.

use serde_json::{Value, json};
use weir_core::Catalog;

use super::{dashboard::HOUR_OR_DAY, errors::errors};
use crate::{RunState, api::examples::Of};

/// Describes `POST /map/{function}`.
pub(crate) fn post_map(catalog: &Catalog) -> Value {
    let names: Vec<&str> = catalog.iter().map(|d| d.event_type().as_str()).chain(["rejected"]).collect();
    let mut responses = errors(Of::Starting, &[401, 403, 404, 422, 429, 503]);
    responses["202"] = json!({
        "description": "The run has begun. Location is its path.",
        "content": {"application/json": {"schema": run()}},
    });
    let bound = |name: &str, description: &str| {
        json!({"name": name, "in": "query", "description": description,
               "schema": {"type": "string", "pattern": HOUR_OR_DAY, "examples": ["2026-11-20T13"]}})
    };
    json!({
        "summary": "Run a function over events",
        "description": "Functions are programs that the operator has registered. A run maps one over the caller's own events, \
            object by object, and its result is what the function prints, in the order of the objects. A run and its result \
            are removed an hour after its end. On AWS there are no functions here.",
        "operationId": "map",
        "parameters": [
            {"name": "function", "in": "path", "required": true, "description": "The function's name.",
             "schema": {"type": "string", "minLength": 1, "examples": ["buttons"]}},
            {"name": "type", "in": "query", "required": true, "description": "The type of events.",
             "schema": {"type": "string", "enum": names}},
            bound("from", "The first hour (UTC), or a day for its first hour."),
            bound("to", "The hour before which it ends."),
            {"name": "reduce", "in": "query", "description": "The function that gets all results, as one input, and whose \
                result is the run's.", "schema": {"type": "string", "minLength": 1}},
        ],
        "responses": responses,
    })
}

/// Describes `GET /map/runs/{run}`.
pub(crate) fn get_run(_: &Catalog) -> Value {
    let mut responses = errors(Of::Runs, &[401, 403, 404, 429, 503]);
    responses["200"] = json!({
        "description": "The run, and how far it has come.",
        "content": {"application/json": {"schema": run()}},
    });
    json!({
        "summary": "Read how far a run has come",
        "operationId": "run",
        "parameters": [id()],
        "responses": responses,
    })
}

/// Describes `GET /map/runs/{run}/result`.
pub(crate) fn get_result(_: &Catalog) -> Value {
    let mut responses = errors(Of::Runs, &[401, 403, 404, 409, 429, 503]);
    responses["200"] = json!({
        "description": "What the function printed, in the order of the objects.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    });
    json!({
        "summary": "Read the result of a run",
        "operationId": "run_result",
        "parameters": [id()],
        "responses": responses,
    })
}

fn id() -> Value {
    json!({"name": "run", "in": "path", "required": true, "description": "The run's id.",
           "schema": {"type": "string", "minLength": 1, "examples": ["019ab3de-7c14-7d3e-9c1b-5f0e6a2d4b88"]}})
}

fn run() -> Value {
    let text = |description: &str| json!({"type": ["string", "null"], "description": description});
    let number = |description: &str| json!({"type": ["integer", "null"], "description": description});
    json!({
        "type": "object",
        "required": ["run", "function", "type", "from", "to", "reduce", "state", "objects", "mapped", "bytes", "error",
                     "started_at", "ended_at", "expires_at", "result"],
        "properties": {
            "run": {"type": "string", "description": "Its id."},
            "function": {"type": "string"},
            "type": {"type": "string"},
            "from": text("The first hour, if one was given."),
            "to": text("The hour before which it ends, if one was given."),
            "reduce": text("The function that gets all results."),
            "state": {"enum": RunState::ALL, "description": "A run is lost if the server ended before it."},
            "objects": number("How many objects are chosen, once that is known."),
            "mapped": {"type": "integer", "description": "How many of them are done."},
            "bytes": number("The size of the result."),
            "error": text("Why there is no result."),
            "started_at": {"type": "integer", "description": "Milliseconds since 1970."},
            "ended_at": number("Milliseconds since 1970."),
            "expires_at": number("When it is removed, with its result: milliseconds since 1970."),
            "result": text("The path of the result, once the run is done."),
        },
    })
}
