//! Describes the route for SQL.

use serde_json::{Value, json};
use weir_core::Catalog;

use super::errors::errors;
use crate::api::{examples::Of, query::MAX_SQL};

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
