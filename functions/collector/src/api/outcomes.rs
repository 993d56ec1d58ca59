//! The answer to a request with many events: the outcome of each.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::{
    api::{problem::Problem, reason::Reason},
    intake::outcome::{ByFate, Outcome},
};

/// The answer of `POST /events`: 200 all stored, now or before, 207 some, 422 none valid, 503 none stored that should have
/// been.
pub(crate) fn answer(outcomes: &[Outcome]) -> Result<Response, Problem> {
    let events: ByFate<usize> = outcomes.iter().map(Outcome::fate).collect();
    let durable = events.stored + events.duplicates;
    let answer: Map<String, Value> = [
        ("stored".to_owned(), json!(events.stored)),
        ("duplicates".to_owned(), json!(events.duplicates)),
        ("rejected".to_owned(), json!(events.rejected)),
        ("not_stored".to_owned(), json!(events.not_stored)),
        ("outcomes".to_owned(), json!(outcomes)),
    ]
    .into_iter()
    .collect();
    if durable == outcomes.len() {
        Ok((StatusCode::OK, Json(answer)).into_response())
    } else if durable > 0 {
        Ok((StatusCode::MULTI_STATUS, Json(answer)).into_response())
    } else if events.not_stored > 0 {
        let reason = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::NotStored { reason, .. } => Some(*reason),
            _ => None,
        });
        Err(Problem::NotStored { answer, reason: reason.unwrap_or(Reason::Unavailable) })
    } else {
        Err(Problem::NoValidEvent { answer })
    }
}
