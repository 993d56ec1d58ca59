//! `POST`: events in, outcomes out.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use weir_core::EventType;

use crate::{
    Collector,
    adapters::{
        cloudevents::{self, CloudEvents},
        key, take,
    },
    api::{caller::Writer, problem::Problem, reason::Reason},
    intake::{
        body::{self, Sent},
        framing::{self, Framed},
        limits::{Limits, Place, Room},
        outcome::{ByFate, Outcome},
        store::Prepared,
    },
};

/// The most events of one request.
pub(crate) const MAX_EVENTS: usize = 10_000;

/// The permits of a request until its events are stored: its body's share of memory and, for a large body, its place.
pub(crate) struct Held {
    _room: Room,
    _place: Option<Place>,
}

/// `POST /events`: one event or many, of any types.
///
/// A beacon has no `Authorization`, as a browser would have to ask the server before it sends one. Its key is in the URL.
pub(crate) async fn events(
    State(collector): State<Arc<Collector>>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let writer = if key::is_in_url(&parts.uri) {
        let presented = key::of_head(&mut parts)?;
        take::writer(&mut parts, &collector, presented).await?
    } else {
        Writer::from_request_parts(&mut parts, &collector).await?
    };
    if cloudevents::form(&parts.headers).is_some() {
        return take::take_from(collector, &CloudEvents, writer, parts, body).await;
    }
    let ndjson = is_ndjson(&parts.headers);
    let (body, held) = whole(&collector, &writer, &parts, body).await?;
    let username = writer.username;
    let (prepared, _held) =
        decoded(&collector, body, held, move |collector, body| match framing::split(body, ndjson) {
            Framed::Events(events) if events.len() > MAX_EVENTS => {
                Err(Problem::TooManyEvents { limit: MAX_EVENTS })
            }
            Framed::Events(events) => Ok(collector.prepare(&username, &events, None)),
            Framed::Malformed(error) => Ok(collector.prepare_malformed(&username, body, &error)),
        })
        .await?;
    answer(&collector.store(prepared).await)
}

/// `POST` on a type's own route: one event of that type.
pub(crate) async fn typed(
    collector: Arc<Collector>,
    writer: Writer,
    event_type: Arc<EventType>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (body, held) = whole(&collector, &writer, &parts, body).await?;
    let username = writer.username;
    let prepare = move |collector: &Collector, body: &[u8]| {
        let event = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
        Ok(collector.prepare(&username, &[event], Some(&event_type)))
    };
    let (prepared, _held) = decoded(&collector, body, held, prepare).await?;
    match collector.store(prepared).await.pop() {
        Some(Outcome::Stored { warnings, .. }) if warnings.is_empty() => {
            Ok(Json(json!({"message": "Received"})).into_response())
        }
        Some(Outcome::Stored { warnings, .. }) => {
            Ok(Json(json!({"message": "Received", "warnings": warnings})).into_response())
        }
        // A client that sends an event again because it got no answer gets the message that it missed.
        Some(Outcome::Duplicate { event_id }) => {
            let answer = json!({"message": "Received", "status": "duplicate", "event_id": event_id});
            Ok(Json(answer).into_response())
        }
        Some(Outcome::Rejected { errors }) => Err(Problem::InvalidEvent { errors }),
        Some(Outcome::NotStored { reason, .. }) => Err(Problem::NotStored { answer: Map::new(), reason }),
        None => Err(Problem::Internal),
    }
}

/// Returns the complete body, once it has its place and if the caller may still write.
async fn whole(
    collector: &Collector,
    writer: &Writer,
    parts: &Parts,
    sent: Body,
) -> Result<(Sent, Held), Problem> {
    let (sent, held) = body(collector, &collector.limits, parts, sent).await?;
    writer.still(parts, collector).await?;
    Ok((sent, held))
}

/// Returns the complete body, once it has its place.
pub(crate) async fn body(
    collector: &Collector,
    limits: &Limits,
    parts: &Parts,
    body: Body,
) -> Result<(Sent, Held), Problem> {
    let (body, room) = body::read(limits, &parts.headers, body).await?;
    collector.host.observe.body(body.length());
    let is_large = body.is_large(collector.catalog.bytes_checked_at_once());
    let place = if is_large { Some(limits.place().await?) } else { None };
    Ok((body, Held { _room: room, _place: place }))
}

/// Returns whether the content type announces one event a line. No content type is required, and no other one matters.
fn is_ndjson(headers: &HeaderMap) -> bool {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"]
        .contains(&essence.as_str())
}

/// Decompresses a body and runs the work on it; a large one on a thread for blocking work.
async fn decoded(
    collector: &Arc<Collector>,
    body: Sent,
    held: Held,
    work: impl FnOnce(&Collector, &[u8]) -> Result<Prepared, Problem> + Send + 'static,
) -> Result<(Prepared, Held), Problem> {
    let is_large = body.is_large(collector.catalog.bytes_checked_at_once());
    aside(collector, is_large, held, move |collector| work(collector, &body.decode()?)).await
}

/// Runs work on a body; on a large one, on a thread for blocking work. The work goes on when its client disconnects, so the
/// work holds the permits.
pub(crate) async fn aside<T: Send + 'static>(
    collector: &Arc<Collector>,
    is_large: bool,
    held: Held,
    work: impl FnOnce(&Collector) -> Result<T, Problem> + Send + 'static,
) -> Result<(T, Held), Problem> {
    if !is_large {
        return Ok((work(collector)?, held));
    }
    let (collector, span) = (Arc::clone(collector), tracing::Span::current());
    let work = move || span.in_scope(|| Ok((work(&collector)?, held)));
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            tracing::error!(%error, "preparing events failed");
            Err(Problem::Internal)
        }
    }
}

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
