//! `GET /rejected`: the latest invalid events, and their errors.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::json;
use weir_core::rejected::MAX_SHOWN;

use crate::{
    Collector,
    api::{
        caller::Reader,
        parameters,
        problem::Problem,
        read::{Pairs, limit, pairs},
    },
};

/// The default number of listed events.
pub(crate) const LISTED: usize = 20;

pub(crate) async fn latest(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    query: Pairs,
) -> Result<Response, Problem> {
    let mut most = LISTED;
    for (name, value) in pairs(query)? {
        if name != "limit" {
            parameters::refuse_near_miss(&name, &["limit"])?;
            continue;
        }
        most = limit(&value, MAX_SHOWN)?;
    }
    let latest = collector.ports.rejected.latest(&username, most).await;
    let mut latest = latest.map_err(|error| Problem::of_engine(&error))?;
    for event in &mut latest {
        // A client's name for a type outside the catalog is no type here.
        event.event_type = event.event_type.take().filter(|named| collector.catalog.get(named).is_some());
    }
    Ok(Json(json!({"rejected": latest})).into_response())
}
