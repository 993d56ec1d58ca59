//! Describes the routes of answers that were computed beforehand.

use serde_json::{Value, json};
use weir_core::Catalog;

use super::errors::errors;
use crate::api::examples::Of;

/// Describes `GET /answers`.
pub(crate) fn get_answers(_: &Catalog) -> Value {
    let names = json!({"type": "array", "items": {"type": "string"}});
    let mut responses = errors(Of::Answers, &[401, 403, 429, 503]);
    responses["200"] = json!({
        "description": "The answers that are published, by name.",
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["answers"],
            "properties": {"answers": {"type": "array", "items": {
                "type": "object",
                "required": ["name", "title", "path", "slot", "public", "chart", "every", "published_at"],
                "properties": {
                    "name": {"type": "string"},
                    "title": {"type": "string"},
                    "path": names.clone(),
                    "slot": names,
                    "public": {"type": "boolean", "description": "Whether it is read without credentials."},
                    "chart": {"enum": ["line", "bar", "table"]},
                    "every": {"type": ["integer", "null"], "description": "How often it is computed, in seconds."},
                    "published_at": {"type": "integer", "description": "Milliseconds since 1970."},
                },
            }}},
        }}},
    });
    json!({
        "summary": "List the answers that were computed beforehand",
        "operationId": "answers",
        "responses": responses,
    })
}

/// Describes `GET /answers/{answer}`.
pub(crate) fn get_answer(_: &Catalog) -> Value {
    of_users(operation("answer", "Read an answer that has no path", &[]))
}

/// Describes `GET /answers/{answer}/{path}`.
pub(crate) fn get_answer_below(_: &Catalog) -> Value {
    of_users(operation("answer_below", "Read an answer below a path", &[path()]))
}

/// Describes `GET /answers/public/{answer}`.
pub(crate) fn get_public_answer(_: &Catalog) -> Value {
    public(operation("public_answer", "Read a public answer that has no path", &[]))
}

/// Describes `GET /answers/public/{answer}/{path}`.
pub(crate) fn get_public_answer_below(_: &Catalog) -> Value {
    public(operation("public_answer_below", "Read a public answer below a path", &[path()]))
}

fn path() -> Value {
    json!({
        "name": "path", "in": "path", "required": true,
        "description": "A value for each column of the answer's path, with a slash between them; %2F is a slash in a value.",
        "schema": {"type": "string", "minLength": 1, "examples": ["2026-11"]},
    })
}

const ROWS: &str = "The columns of the answer's slot, as parameters of the query, name one row; without them it is all rows.";

fn of_users(mut operation: Value) -> Value {
    operation["description"] = json!(format!(
        "{ROWS} Public answers need no credentials. In others users find the rows of their own."
    ));
    operation["security"] = json!([{}, {"basic": []}]);
    operation
}

fn public(mut operation: Value) -> Value {
    operation["description"] = json!(format!("{ROWS} Only public answers are here."));
    if let Some(responses) = operation["responses"].as_object_mut() {
        responses.retain(|status, _| status != "401" && status != "403");
    }
    operation
}

fn operation(id: &str, summary: &str, parameters: &[Value]) -> Value {
    let mut responses = errors(Of::Answers, &[401, 403, 404, 422, 429, 503]);
    responses["200"] = json!({
        "description": "All rows, or the row that the query names.",
        "content": {"application/json": {"schema": {"oneOf": [
            {"type": "array", "items": {"type": "object"}},
            {"type": "object"},
        ]}}},
    });
    let name = json!({
        "name": "answer", "in": "path", "required": true, "description": "The answer's name.",
        "schema": {"type": "string", "minLength": 1, "examples": ["daily_counts"]},
    });
    let parameters: Vec<&Value> = [&name].into_iter().chain(parameters).collect();
    json!({
        "summary": summary,
        "operationId": id,
        "parameters": parameters,
        "responses": responses,
    })
}
