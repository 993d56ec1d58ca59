//! Describes the routes that need no credentials: the pages, the script, this description and the health check.

use serde_json::{Value, json};
use weir_core::Catalog;

use super::problems;

/// Describes `GET /`.
pub(crate) fn get_dashboard(_: &Catalog) -> Value {
    json!({
        "summary": "The dashboard",
        "description": "A page that shows a user's counts as they move, and sends events. It needs no credentials itself: \
            the user signs in there.",
        "operationId": "dashboard",
        "responses": {
            "200": {"description": "HTML.", "content": {"text/html": {"schema": {"type": "string"}}}},
        },
    })
}

/// Describes `GET /health`.
pub(crate) fn get_health(_: &Catalog) -> Value {
    let mut responses = problems(&[503]);
    responses["200"] = json!({
        "description": "The engine answers.",
        "content": {"application/json": {"schema": {
            "type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}},
        }}},
    });
    json!({"summary": "Whether the engine answers", "operationId": "health", "responses": responses})
}

/// Describes `GET /openapi.json`.
pub(crate) fn get_openapi(_: &Catalog) -> Value {
    json!({
        "summary": "This document",
        "operationId": "openapi",
        "responses": {"200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}}},
    })
}

/// Describes `GET /docs`.
pub(crate) fn get_docs(_: &Catalog) -> Value {
    json!({
        "summary": "This document, for people",
        "operationId": "docs",
        "responses": {"200": {"description": "A page on which the API can be tried.",
            "content": {"text/html": {"schema": {"type": "string"}}}}},
    })
}

/// Describes `GET /weir.js`.
pub(crate) fn get_script(_: &Catalog) -> Value {
    json!({
        "summary": "What a web page loads to send events",
        "operationId": "script",
        "responses": {"200": {"description": "weir.track(\"button_click\", {...}) sends an event with the access key of the \
             script's data-key: one that may only write.",
            "content": {"text/javascript": {"schema": {"type": "string"}}}}},
    })
}
