//! `POST`: events in, outcomes out.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use weir_core::{EventType, Username};

use crate::{
    Collector,
    body::{self, Sent},
    caller::Writer,
    framing::{self, Framed},
    intake::{Outcome, Prepared},
    problem::Problem,
};

/// The most events of one request.
pub(crate) const MAX_EVENTS: usize = 10_000;

/// How many large bodies are worked on at once in the process, from decompression until their events are stored. Each
/// may take several times its decompressed size; the others wait as they were sent.
static LARGE_AT_ONCE: Semaphore = Semaphore::const_new(4);

/// A place among the large bodies, for one that is; a semaphore that is never closed always gives one.
async fn place(body: &Sent) -> Option<SemaphorePermit<'static>> {
    if body.is_large() { LARGE_AT_ONCE.acquire().await.ok() } else { None }
}

/// `POST /events`: one event or many, of any types.
pub(crate) async fn events(
    State(collector): State<Collector>,
    Writer(username): Writer,
    request: Request,
) -> Result<Response, Problem> {
    let (headers, body) = take_apart(request);
    let ndjson = is_ndjson(&headers);
    let body = body::read(&headers, body).await?;
    let _place = place(&body).await;
    let prepared = aside(&collector, body, move |collector, body| match framing::split(body, ndjson) {
        Framed::Events(events) if events.len() > MAX_EVENTS => {
            Err(Problem::TooManyEvents { limit: MAX_EVENTS })
        }
        Framed::Events(events) => Ok(collector.prepare(&username, &events, None)),
        Framed::Malformed(error) => Ok(collector.prepare_malformed(&username, body, error)),
    })
    .await?;
    answer(&collector.store(prepared).await)
}

/// `POST` on a type's own route: one event of that type.
pub(crate) async fn typed(
    collector: Collector,
    username: Username,
    event_type: Arc<EventType>,
    request: Request,
) -> Result<Response, Problem> {
    let (headers, body) = take_apart(request);
    let body = body::read(&headers, body).await?;
    let _place = place(&body).await;
    let prepare = move |collector: &Collector, body: &[u8]| {
        let event = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
        Ok(collector.prepare(&username, &[event], Some(&event_type)))
    };
    let prepared = aside(&collector, body, prepare).await?;
    match collector.store(prepared).await.pop() {
        Some(Outcome::Stored { .. }) => Ok(Json(json!({"message": "Received"})).into_response()),
        Some(Outcome::Rejected { errors }) => Err(Problem::InvalidEvent { errors }),
        Some(Outcome::NotStored { .. }) | None => Err(Problem::NotStored { answer: Map::new() }),
    }
}

fn take_apart(request: Request) -> (HeaderMap, Body) {
    let (parts, body) = request.into_parts();
    (parts.headers, body)
}

/// Whether the content type announces one event a line. No content type is required, and no other one matters.
fn is_ndjson(headers: &HeaderMap) -> bool {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"]
        .contains(&essence.as_str())
}

/// Decompresses a body and runs the work on it; a large one where it disturbs nobody.
async fn aside(
    collector: &Collector,
    body: Sent,
    work: impl FnOnce(&Collector, &[u8]) -> Result<Prepared, Problem> + Send + 'static,
) -> Result<Prepared, Problem> {
    if !body.is_large() {
        return work(collector, &body.decode()?);
    }
    let collector = collector.clone();
    match tokio::task::spawn_blocking(move || work(&collector, &body.decode()?)).await {
        Ok(prepared) => prepared,
        Err(error) => {
            tracing::error!(%error, "preparing events failed");
            Err(Problem::Internal)
        }
    }
}

/// The answer of `POST /events`: 200 all stored, 207 some, 422 none valid, 503 none stored that should have been.
fn answer(outcomes: &[Outcome]) -> Result<Response, Problem> {
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
    let stored = count(|outcome| matches!(outcome, Outcome::Stored { .. }));
    let rejected = count(|outcome| matches!(outcome, Outcome::Rejected { .. }));
    let not_stored = outcomes.len() - stored - rejected;
    let all = outcomes.len();
    let answer: Map<String, Value> = [
        ("stored".to_owned(), json!(stored)),
        ("rejected".to_owned(), json!(rejected)),
        ("not_stored".to_owned(), json!(not_stored)),
        ("outcomes".to_owned(), json!(outcomes)),
    ]
    .into_iter()
    .collect();
    if stored == all {
        Ok((StatusCode::OK, Json(answer)).into_response())
    } else if stored > 0 {
        Ok((StatusCode::MULTI_STATUS, Json(answer)).into_response())
    } else if not_stored > 0 {
        Err(Problem::NotStored { answer })
    } else {
        Err(Problem::NoValidEvent { answer })
    }
}
