//! `GET /counts/{event_type}/keys`: the largest keys of a range of hours, where the host answers queries.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::json;
use weir_core::{Hour, catalog::Definition};

use crate::{
    Collector, KeysOfRange,
    api::{
        caller::Reader,
        ends::{Ends, check},
        history::{HOURS, MAX_DAYS},
        parameters::{self, invalid},
        problem::Problem,
        query::not_answered,
        read::{self, MAX_PAGE, PAGE, Pairs, known, pairs},
    },
};

/// The most hours of a range: those of as many days as have counts in one answer.
const MAX_HOURS: u64 = 24 * MAX_DAYS;

/// `GET /counts/{event_type}/keys`.
pub(crate) async fn keys(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(event_type): Path<String>,
    query: Pairs,
) -> Result<Response, Problem> {
    let event_type = known(&collector, event_type)?;
    let (mut ends, mut limit) = (Ends::<Hour>::new(), PAGE);
    for (name, value) in pairs(query)? {
        if name == "limit" {
            limit = read::limit(&value, MAX_PAGE)?;
        } else if !ends.take(&name, &value)? {
            parameters::refuse_near_miss(&name, &["from", "to", "limit"])?;
        }
    }
    let (from, to) = ends.named();
    let to = to.unwrap_or_else(|| collector.host.clock.now().hour());
    let from = from.unwrap_or_else(|| to.minus(HOURS - 1));
    check([from, to], [from, to].map(Hour::since_epoch), MAX_HOURS, "hours")?;
    let count_by = collector.catalog.get(&event_type).and_then(Definition::count_by);
    let Some(field) = count_by.map(str::to_owned) else {
        return Err(invalid("Events of this type are not counted by key.".to_owned()));
    };
    let request = KeysOfRange { event_type: event_type.clone(), field: field.clone(), from, to, limit };
    let found = collector.host.queries.keys(&username, request).await.map_err(not_answered)?;
    let answer = json!({
        "event_type": event_type, "count_by": field, "from": from.to_string(), "to": to.to_string(),
        "events": found.events, "keys": found.keys, "more": found.has_more,
    });
    Ok(Json(answer).into_response())
}
