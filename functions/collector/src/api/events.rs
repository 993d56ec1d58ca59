//! `GET /events`: the newest events of the caller, accepted and rejected; `GET /events/{event_id}`: the receipt of one.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use weir_core::{
    EventId, EventType,
    newest::{MAX_EVENTS, NewestEvent, NewestPage, NewestRequest, Position},
    receipt::ReceiptStatus,
};

use crate::{
    Collector,
    api::{
        caller::Reader,
        parameters::{self, invalid},
        problem::Problem,
        read::{Pairs, known, limit, pairs},
    },
};

/// The default number of listed events.
pub(crate) const LISTED: usize = 20;

#[derive(Serialize)]
struct Answer {
    events: Vec<NewestEvent>,
    next: Option<String>,
    live: bool,
}

/// `GET /events`.
pub(crate) async fn newest(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    query: Pairs,
) -> Result<Response, Problem> {
    let request = asked(&collector, pairs(query)?)?;
    let page = collector.ports.newest.newest(&username, &request).await;
    let NewestPage { events, next, live } = page.map_err(|error| Problem::of_engine(&error))?;
    let events = events.into_iter().map(|event| shown(&collector, event)).collect();
    let answer = Answer { events, next: next.map(|next| next.to_string()), live };
    let body = serde_json::to_string(&answer).map_err(|_| Problem::Internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// `GET /events/{event_id}`.
pub(crate) async fn receipt(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(event_id): Path<String>,
) -> Result<Response, Problem> {
    // A text that can be no id is that of no event.
    let event_id: EventId = event_id.parse().map_err(|_| Problem::NoSuchEvent)?;
    let types: Vec<EventType> =
        collector.catalog.iter().map(|definition| definition.event_type().clone()).collect();
    let receipt = collector.ports.receipts.receipt(&username, &event_id, &types).await;
    let receipt = receipt.map_err(|error| Problem::of_engine(&error))?;
    let mut receipt = receipt.ok_or(Problem::NoSuchEvent)?;
    if receipt.status == ReceiptStatus::Rejected {
        receipt.event_type = receipt.event_type.filter(|named| collector.catalog.get(named).is_some());
    }
    Ok(Json(receipt).into_response())
}

/// Returns an event as the API shows it.
pub(crate) fn shown(collector: &Collector, mut event: NewestEvent) -> NewestEvent {
    if event.is_rejected() {
        // Omits a client's name for a type that is not in the catalog.
        event.event_type = event.event_type.filter(|named| collector.catalog.get(named).is_some());
    }
    event
}

/// Returns the page that a query asks for.
fn asked(collector: &Collector, pairs: Vec<(String, String)>) -> Result<NewestRequest, Problem> {
    let mut request = NewestRequest { event_type: None, after: None, limit: LISTED };
    for (name, value) in pairs {
        match name.as_str() {
            "limit" => request.limit = limit(&value, MAX_EVENTS)?,
            "event_type" => request.event_type = Some(known(collector, value)?),
            "after" => {
                let position = value.parse::<Position>();
                request.after = Some(position.map_err(|error| invalid(format!("after: {error}.")))?);
            }
            other => parameters::refuse_near_miss(other, &["limit", "event_type", "after"])?,
        }
    }
    Ok(request)
}
