//! `POST`: events in, outcomes out.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::{Map, json};
use weir_core::EventType;

use crate::{
    Collector,
    adapters::{
        cloudevents::{self, CloudEvents},
        key, take,
    },
    api::{caller::Writer, outcomes, problem::Problem},
    intake::{
        body::Sent,
        framing::{self, Framed},
        held::{self, Held},
        limits::MAX_EVENTS,
        outcome::Outcome,
        store::Prepared,
    },
};

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
    let (username, sender) = (writer.username, collector.sender(&parts).into());
    let (prepared, _held) =
        decoded(&collector, body, held, move |collector, body| match framing::split(body, ndjson) {
            Framed::Events(events) if events.len() > MAX_EVENTS => {
                Err(Problem::TooManyEvents { limit: MAX_EVENTS })
            }
            Framed::Events(events) => Ok(collector.prepare(&username, &sender, &events, None)),
            Framed::Malformed(error) => Ok(collector.prepare_malformed(&username, body, &error)),
        })
        .await?;
    outcomes::answer(&collector.store(prepared).await)
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
    let (username, sender) = (writer.username, collector.sender(&parts).into());
    let prepare = move |collector: &Collector, body: &[u8]| {
        let event = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
        Ok(collector.prepare(&username, &sender, &[event], Some(&event_type)))
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
    let (sent, held) = held::receive(collector, &collector.limits, parts, sent).await?;
    writer.still(parts, collector).await?;
    Ok((sent, held))
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
    held::aside(collector, is_large, held, move |collector| work(collector, &body.decode()?)).await
}
