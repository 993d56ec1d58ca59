//! `GET`: settled counts of a type by UTC hour and day, and live ones by minute.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use weir_core::{
    Day, EventType, Hour, Username,
    minutes::{KEPT, Minute},
};

use crate::{
    Collector,
    api::{
        caller::Reader,
        ends::{asked, check},
        problem::{LiveProblem, Problem},
        read::{Pairs, known, pairs},
    },
};

/// The number of hours and days in an answer: the default if the query has no start, and the most.
pub(crate) const HOURS: u64 = 48;
pub(crate) const MAX_HOURS: u64 = 744;
pub(crate) const DAYS: u64 = 90;
/// As long ago as an event may have happened when it arrives, 400 days, and a month.
pub(crate) const MAX_DAYS: u64 = 431;

/// The number of minutes in an answer, at the most.
pub(crate) const MINUTES: u64 = KEPT - 1;

/// `GET /counts/{event_type}/minutes`: live counts.
pub(crate) async fn minutes(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(event_type): Path<String>,
    query: Pairs,
) -> Result<Response, Problem> {
    let event_type = known(&collector, event_type)?;
    let (from, to) = asked::<Minute>(pairs(query)?)?;
    let to = to.unwrap_or_else(|| Minute::of(collector.host.clock.now()));
    let from = from.unwrap_or_else(|| to.minus(MINUTES - 1));
    check([from, to], [from, to].map(Minute::since_epoch), MINUTES, "minutes")?;
    let found = collector.ports.minutes.minutes(&username, &event_type);
    let found = found.ok_or(Problem::Live(LiveProblem::NoMinutes))?;
    let minutes: Vec<Value> = found
        .counts
        .range(from..=to)
        .map(|(minute, count)| json!({"minute": minute.to_string(), "count": count}))
        .collect();
    let answer = json!({
        "event_type": event_type, "from": from.to_string(), "to": to.to_string(), "since": found.since, "minutes": minutes,
    });
    Ok(Json(answer).into_response())
}

/// `GET /counts/{event_type}/hours`.
pub(crate) async fn hours(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(event_type): Path<String>,
    query: Pairs,
) -> Result<Response, Problem> {
    let event_type = known(&collector, event_type)?;
    let (from, to) = asked::<Hour>(pairs(query)?)?;
    let to = to.unwrap_or_else(|| collector.host.clock.now().hour());
    let from = from.unwrap_or_else(|| to.minus(HOURS - 1));
    check([from, to], [from, to].map(Hour::since_epoch), MAX_HOURS, "hours")?;
    let counts = settled(&collector, &username, &event_type, from, to).await?;
    let hours: Vec<Value> =
        counts.into_iter().map(|(hour, count)| json!({"hour": hour.to_string(), "count": count})).collect();
    let answer = json!({
        "event_type": event_type, "from": from.to_string(), "to": to.to_string(), "hours": hours,
    });
    Ok(Json(answer).into_response())
}

/// `GET /counts/{event_type}/days`: sums of hours.
pub(crate) async fn days(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(event_type): Path<String>,
    query: Pairs,
) -> Result<Response, Problem> {
    let event_type = known(&collector, event_type)?;
    let (from, to) = asked::<Day>(pairs(query)?)?;
    let to = to.unwrap_or_else(|| Day::of(collector.host.clock.now().hour()));
    let from = from.unwrap_or_else(|| to.minus(DAYS - 1));
    check([from, to], [from, to].map(Day::since_epoch), MAX_DAYS, "days")?;
    let mut sums: BTreeMap<Day, u64> = BTreeMap::new();
    for (hour, count) in
        settled(&collector, &username, &event_type, from.first_hour(), to.last_hour()).await?
    {
        *sums.entry(Day::of(hour)).or_default() += count;
    }
    let days: Vec<Value> =
        sums.into_iter().map(|(day, count)| json!({"day": day.to_string(), "count": count})).collect();
    let answer = json!({
        "event_type": event_type, "from": from.to_string(), "to": to.to_string(), "days": days,
    });
    Ok(Json(answer).into_response())
}

async fn settled(
    collector: &Collector,
    username: &Username,
    event_type: &EventType,
    first: Hour,
    last: Hour,
) -> Result<BTreeMap<Hour, u64>, Problem> {
    let counts = collector.ports.settled.hours(username, event_type, first, last).await;
    counts.map_err(|error| Problem::of_engine(&error))
}
