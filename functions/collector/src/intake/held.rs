//! A request's body with the permits that it holds, and the work on it.

use std::sync::Arc;

use axum::{body::Body, http::request::Parts};

use super::{
    body::{self, Sent},
    limits::{Admission, Limits, Room},
};
use crate::{Collector, api::problem::Problem};

/// The permits of a request until its events are stored: its body's share of memory and, for a large body, its place.
pub(crate) struct Held {
    _room: Room,
    _place: Option<Admission>,
}

/// Returns the complete body, once it has its place.
pub(crate) async fn receive(
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
