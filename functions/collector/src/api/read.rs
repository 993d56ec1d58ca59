//! `GET`: counts and health. Counts by time are in `history`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use weir_core::{
    CountedValue, Counter, EventType, Timestamp, Username,
    catalog::Definition,
    counts::{KeyCount, KeysRequest},
    nearest,
};

use crate::{
    Collector, Drift,
    api::{
        caller::Reader,
        parameters::{self, invalid},
        problem::Problem,
    },
};

/// A query as sent: names and values, in their order.
pub(crate) type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The number of keys in a page: the default, and the most.
pub(crate) const PAGE: usize = 100;
pub(crate) const MAX_PAGE: usize = 1000;

/// `GET /health`.
pub(crate) async fn health(State(collector): State<Arc<Collector>>) -> Result<Response, Problem> {
    match collector.ports.health.check().await {
        Ok(()) => Ok(Json(json!({"status": "ok"})).into_response()),
        Err(error) => Err(Problem::of_engine(&error)),
    }
}

/// `GET` on a type's own route and `/count`: `{"count": n}`, of one key if the query names one.
pub(crate) async fn typed_count(
    collector: Arc<Collector>,
    username: Username,
    event_type: Arc<EventType>,
    query: Pairs,
) -> Result<Response, Problem> {
    let definition = collector.catalog.get(&event_type);
    let count_by = definition.and_then(Definition::count_by);
    let key = asked_for(pairs(query)?, count_by, definition)?.map(|value| CountedValue::of(&value));
    let counter = Counter { username, event_type: (*event_type).clone(), key };
    let counts = collector.ports.live.read(&[counter]).await.map_err(|error| Problem::of_engine(&error))?;
    Ok(Json(json!({"count": counts.first().copied().unwrap_or_default()})).into_response())
}

/// Returns the key whose count the query asks for, if it has one. Other parameters change nothing beside it. Without a key,
/// a parameter that probably means one is refused, as the total would be the wrong answer.
fn asked_for(
    pairs: Vec<(String, String)>,
    count_by: Option<&str>,
    definition: Option<&Definition>,
) -> Result<Option<String>, Problem> {
    let (mut asked, others): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|(name, _)| Some(name.as_str()) == count_by);
    match (asked.pop(), count_by) {
        (Some(_), Some(count_by)) if !asked.is_empty() => {
            return Err(invalid(format!("This takes {count_by} once.")));
        }
        (Some((_, value)), _) => return Ok(Some(value)),
        (None, _) => {}
    }
    let fields = definition.and_then(|definition| definition.schema()["properties"].as_object());
    let is_field =
        |name: &str| fields.is_some_and(|fields| fields.contains_key(name)) || OF_EVERY_EVENT.contains(&name);
    for (name, _) in others {
        parameters::refuse_near_miss(&name, count_by.as_slice())?;
        if is_field(&name) {
            return Err(invalid(match count_by {
                Some(count_by) => {
                    format!("Events of this type are counted by {count_by}, and not by {name}.")
                }
                None => "The counts of this type are not broken down: it takes no query.".to_owned(),
            }));
        }
        if let (Some(count_by), "key") = (count_by, name.as_str()) {
            return Err(invalid(format!("There is no parameter \"key\" here: is {count_by} meant?")));
        }
    }
    Ok(None)
}

/// Fields that every event has: a query that names one is no accident either.
pub(crate) const OF_EVERY_EVENT: [&str; 6] =
    ["username", "event_type", "event_id", "occurred_at", "received_at", "time"];

/// `GET /counts`: all of the user's counts.
pub(crate) async fn all(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
) -> Result<Response, Problem> {
    let totals = Totals::read(&collector, &username).await?;
    collector.host.observe.drift(&totals.drift());
    let is_used = |one: &EventType| totals.live.contains_key(one) || totals.settled.contains_key(one);
    let shown = collector.catalog.iter().filter(|one| !one.is_general() || is_used(one.event_type()));
    let types: Vec<Value> = shown.map(|definition| totals.of(definition.event_type())).collect();
    // Types of an earlier catalog.
    let others = totals
        .live
        .keys()
        .chain(totals.settled.keys())
        .filter(|event_type| collector.catalog.get(event_type).is_none() && !event_type.is_rejected());
    let others: std::collections::BTreeSet<&EventType> = others.collect();
    let counts: Vec<Value> =
        types.into_iter().chain(others.into_iter().map(|other| totals.of(other))).collect();
    let rejected = totals.of(&EventType::rejected());
    let mut answer = json!({
        "username": username, "counts": counts, "rejected": rejected, "settled_at": totals.settled_at,
    });
    answer["offers"] = json!(offers(&collector, &username));
    if let Some((total, settled)) = totals.of_bots {
        answer["bots"] = json!({"total": total, "settled": settled});
    }
    Ok(Json(answer).into_response())
}

/// Returns the names of the routes for dashboards that this host has and that not every host has.
fn offers(collector: &Collector, username: &Username) -> Vec<&'static str> {
    let has_minutes = collector.ports.minutes.minutes(username, &EventType::rejected()).is_some();
    let offers = [
        ("stream", collector.ports.follow.last().is_some()),
        ("minutes", has_minutes),
        ("keys", collector.host.queries.count_keys()),
    ];
    offers.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
}

/// `GET /counts/{event_type}`: one type's counts and its keys, the largest first, in pages.
pub(crate) async fn one(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(event_type): Path<String>,
    query: Pairs,
) -> Result<Response, Problem> {
    let event_type = known(&collector, event_type)?;
    let request = keys_request(pairs(query)?)?;
    let totals = Totals::read(&collector, &username).await?;
    let mut keys = collector
        .ports
        .live
        .keys(&username, &event_type, &KeysRequest { limit: request.limit + 1, ..request.clone() })
        .await
        .map_err(|error| Problem::of_engine(&error))?;
    let more = keys.len() > request.limit;
    keys.truncate(request.limit);
    let next = keys.last().filter(|_| more).map(cursor);
    let mut answer = totals.of(&event_type);
    let count_by = collector.catalog.get(&event_type).and_then(Definition::count_by);
    answer["count_by"] = json!(count_by);
    answer["keys"] = json!(keys);
    answer["next"] = json!(next);
    Ok(Json(answer).into_response())
}

/// Returns the type in a path: one of the catalog, or that of rejected events.
pub(crate) fn known(collector: &Collector, event_type: String) -> Result<EventType, Problem> {
    let known = event_type
        .parse::<EventType>()
        .ok()
        .filter(|known| collector.catalog.get(known).is_some() || known.is_rejected());
    known.ok_or_else(|| {
        let types = collector.catalog.iter().map(|definition| definition.event_type().as_str());
        let meant = nearest(&event_type, types).map(ToOwned::to_owned);
        Problem::UnknownEventType { event_type, meant }
    })
}

/// A user's live and settled totals.
struct Totals {
    live: BTreeMap<EventType, u64>,
    settled: BTreeMap<EventType, u64>,
    settled_at: Option<Timestamp>,
    /// The live counts of bots' events.
    bots: BTreeMap<EventType, u64>,
    /// The live and the settled count of all of them; `None` if there was none.
    of_bots: Option<(u64, u64)>,
}

impl Totals {
    async fn read(collector: &Collector, username: &Username) -> Result<Self, Problem> {
        let (live, settled) =
            tokio::join!(collector.ports.live.totals(username), collector.ports.settled.totals(username));
        let failed = |error| Problem::of_engine(&error);
        let (mut live, mut settled) = (live.map_err(failed)?, settled.map_err(failed)?);
        let of_bots = EventType::bots();
        // They are in the other totals, too.
        let totals = (live.remove(&of_bots), settled.by_type.remove(&of_bots));
        let mut bots = BTreeMap::new();
        if totals.0.is_some() {
            let request = KeysRequest { after: None, limit: MAX_PAGE };
            let keys = collector.ports.live.keys(username, &of_bots, &request).await.map_err(failed)?;
            bots.extend(
                keys.into_iter().filter_map(|one| Some((one.key.to_string().parse().ok()?, one.count))),
            );
        }
        let of_bots = match totals {
            (None, None) => None,
            (live, settled) => Some((live.unwrap_or_default(), settled.unwrap_or_default())),
        };
        Ok(Self { live, settled: settled.by_type, settled_at: settled.settled_at, bots, of_bots })
    }

    fn drift(&self) -> Drift {
        let above = |one: &BTreeMap<EventType, u64>, other: &BTreeMap<EventType, u64>| {
            let above = |(of, count): (&EventType, &u64)| {
                count.saturating_sub(other.get(of).copied().unwrap_or_default())
            };
            one.iter().map(above).sum()
        };
        Drift { under_way: above(&self.live, &self.settled), missing: above(&self.settled, &self.live) }
    }

    fn of(&self, event_type: &EventType) -> Value {
        let count = |totals: &BTreeMap<EventType, u64>| totals.get(event_type).copied().unwrap_or_default();
        let mut of =
            json!({"event_type": event_type, "total": count(&self.live), "settled": count(&self.settled)});
        if let Some(bots) = self.bots.get(event_type) {
            of["bots"] = json!(bots);
        }
        of
    }
}

fn keys_request(pairs: Vec<(String, String)>) -> Result<KeysRequest, Problem> {
    let mut request = KeysRequest { after: None, limit: PAGE };
    for (name, value) in pairs {
        match name.as_str() {
            "limit" => {
                request.limit = limit(&value, MAX_PAGE)?;
            }
            "after" => {
                let after =
                    read_cursor(&value).ok_or_else(|| invalid("after is what next said.".to_owned()))?;
                request.after = Some(after);
            }
            other => parameters::refuse_near_miss(other, &["limit", "after"])?,
        }
    }
    Ok(request)
}

/// Returns the cursor at the end of a page. Clients return it unchanged.
fn cursor(last: &KeyCount) -> String {
    format!("{}:{}", last.count, last.key)
}

fn read_cursor(text: &str) -> Option<KeyCount> {
    let (count, key) = text.split_once(':')?;
    Some(KeyCount { count: count.parse().ok()?, key: key.parse().ok()? })
}

pub(crate) fn pairs(query: Pairs) -> Result<Vec<(String, String)>, Problem> {
    query.map(|Query(pairs)| pairs).map_err(|error| invalid(error.body_text()))
}

/// Reads the `limit` of a query.
pub(crate) fn limit(value: &str, most: usize) -> Result<usize, Problem> {
    let limit = value.parse().ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| not_in_range(most))
}

/// Returns the error of a `limit` that is no number up to `most`.
pub(crate) fn not_in_range(most: usize) -> Problem {
    invalid(format!("limit is a number from 1 to {most}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_summed_by_type_so_that_what_is_missing_hides_nothing() {
        let totals = |totals: &[(&str, u64)]| -> BTreeMap<EventType, u64> {
            totals.iter().map(|(of, count)| (of.parse().unwrap(), *count)).collect()
        };
        let read = Totals {
            live: totals(&[("a", 5), ("b", 1), ("c", 2)]),
            settled: totals(&[("a", 3), ("b", 4), ("d", 1)]),
            settled_at: None,
            bots: BTreeMap::new(),
            of_bots: None,
        };
        assert_eq!(read.drift(), Drift { under_way: 4, missing: 4 });
        let none = Totals { live: totals(&[]), settled: totals(&[]), ..read };
        assert_eq!(none.drift(), Drift::default());
    }
}
