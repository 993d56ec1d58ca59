//! `GET` on a type's own route and `/latest`: the newest event of each resource.

use std::sync::Arc;

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use weir_core::{EventType, LatestKey, Username, catalog::Definition, latest::LatestValue};

use crate::{
    Collector,
    api::{
        parameters::{self, invalid},
        problem::Problem,
        read::{self, OF_EVERY_EVENT, Pairs, pairs},
    },
};

/// The number of values in a list: the default, and the most; also the most keys of one request.
pub(crate) const PAGE: usize = 20;
pub(crate) const MAX_PAGE: usize = 100;

/// The most bytes of events in an answer. A function on Lambda answers at most 6 MB
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
pub(crate) const MAX_BYTES: usize = 4 << 20;

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// The values of these keys, at least one.
    Keys(Vec<LatestKey>),
    /// A page of all values.
    Page { after: Option<LatestKey>, limit: usize },
}

pub(crate) async fn latest(
    collector: Arc<Collector>,
    username: Username,
    event_type: Arc<EventType>,
    query: Pairs,
) -> Result<Response, Problem> {
    let definition = collector.catalog.get(&event_type).ok_or(Problem::NotFound)?;
    let field = definition.latest_by().ok_or(Problem::NotFound)?;
    let failed = |error| Problem::of_engine(&error);
    match asked(pairs(query)?, field, definition)? {
        Asked::Keys(keys) => {
            let found = collector.ports.latest.read(&username, &event_type, &keys).await.map_err(failed)?;
            let found: Vec<LatestValue> = found.into_iter().flatten().collect();
            match &found[..] {
                [] => Err(Problem::NoLatestValue { field: field.to_owned() }),
                [one] if keys.len() == 1 => Ok(json(one.event().clone())),
                _ if bytes(&found) > MAX_BYTES => Err(invalid(format!(
                    "These events have more than {MAX_BYTES} bytes together: ask for fewer at once."
                ))),
                _ => Ok(json(format!("{{\"latest\":{}}}", array(&found)?))),
            }
        }
        Asked::Page { after, limit } => {
            let port = &collector.ports.latest;
            let mut found =
                port.list(&username, &event_type, after.as_ref(), limit + 1).await.map_err(failed)?;
            let fitting = fitting(&found).min(limit);
            let more = found.len() > fitting;
            found.truncate(fitting);
            let next = found.last().filter(|_| more).map(|last| last.resource.key.as_str());
            let next = serde_json::Value::from(next);
            Ok(json(format!("{{\"latest\":{},\"next\":{next}}}", array(&found)?)))
        }
    }
}

/// Returns what a query asks for. A parameter that probably means another one is refused.
fn asked(pairs: Vec<(String, String)>, field: &str, definition: &Definition) -> Result<Asked, Problem> {
    let (mut keys, mut after, mut limit) = (Vec::new(), None, None);
    for (name, value) in pairs {
        match name.as_str() {
            name if name == field => {
                let key = LatestKey::of(&value);
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            "limit" => limit = Some(read::limit(&value, MAX_PAGE)?),
            "after" => after = Some(LatestKey::of(&value)),
            other => {
                parameters::refuse_near_miss(other, &[field, "limit", "after"])?;
                if OF_EVERY_EVENT.contains(&other) || definition.fields().any(|(name, _)| name == other) {
                    return Err(invalid(format!(
                        "Latest values of this type are kept by {field}, and not by {other}."
                    )));
                }
            }
        }
    }
    if keys.is_empty() {
        return Ok(Asked::Page { after, limit: limit.unwrap_or(PAGE) });
    }
    if after.is_some() || limit.is_some() {
        return Err(invalid(format!("limit and after are for the list, which takes no {field}.")));
    }
    if keys.len() > MAX_PAGE {
        return Err(invalid(format!("This takes {field} at most {MAX_PAGE} times.")));
    }
    Ok(Asked::Keys(keys))
}

fn bytes(values: &[LatestValue]) -> usize {
    values.iter().map(|value| value.event().len()).sum()
}

/// Returns how many of these values fit into an answer: at least one.
fn fitting(values: &[LatestValue]) -> usize {
    let mut left = MAX_BYTES;
    let fits = values.iter().take_while(|value| {
        let length = value.event().len();
        let fits = length <= left;
        left = left.saturating_sub(length);
        fits
    });
    fits.count().max(1)
}

/// Returns events as a JSON array, each as it is stored.
fn array(values: &[LatestValue]) -> Result<String, Problem> {
    let mut text = String::with_capacity(bytes(values) + values.len() + 2);
    text.push('[');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        // Stored lines are UTF-8.
        text.push_str(std::str::from_utf8(value.event()).map_err(|_| Problem::Internal)?);
    }
    text.push(']');
    Ok(text)
}

fn json(body: impl Into<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

#[cfg(test)]
mod tests {
    use weir_core::Catalog;

    use super::*;

    fn ask(query: &[(&str, &str)]) -> Result<Asked, String> {
        let file = r#"{"type": "object", "x-weir": {"route": "/r", "latest_by": "sensor_id"},
            "properties": {"sensor_id": {"type": "string"}, "room": {}}}"#;
        let catalog = Catalog::read([("reading.json", file)]).unwrap();
        let definition = catalog.iter().next().unwrap();
        let pairs = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        asked(pairs, "sensor_id", definition).map_err(|problem| match problem {
            Problem::InvalidQuery { detail } => detail,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn a_query_asks_for_keys_or_for_a_page() {
        let keys = |keys: &[&str]| Ok(Asked::Keys(keys.iter().map(|key| LatestKey::of(key)).collect()));
        let page = |after: Option<&str>, limit| Ok(Asked::Page { after: after.map(LatestKey::of), limit });
        assert_eq!(ask(&[("sensor_id", "a")]), keys(&["a"]));
        assert_eq!(
            ask(&[("sensor_id", "b"), ("_", "1"), ("sensor_id", "a"), ("sensor_id", "b")]),
            keys(&["b", "a"])
        );
        assert_eq!(ask(&[("sensor_id", "")]), keys(&[""]));
        assert_eq!(ask(&[]), page(None, PAGE));
        assert_eq!(ask(&[("after", "a"), ("limit", "3"), ("utm_source", "x")]), page(Some("a"), 3));
    }

    #[test]
    fn a_query_that_means_something_else_is_refused() {
        for (query, reason) in [
            (&[("sensorId", "a")][..], "is sensor_id meant?"),
            (&[("room", "a")], "kept by sensor_id, and not by room"),
            (&[("event_id", "a")], "kept by sensor_id, and not by event_id"),
            (&[("sensor_id", "a"), ("limit", "1")], "limit and after are for the list"),
            (&[("limit", "0")], "limit is a number from 1 to 100"),
            (&[("limit", "101")], "limit is a number from 1 to 100"),
        ] {
            let said = ask(query).unwrap_err();
            assert!(said.contains(reason), "{query:?}: {said}");
        }
        let many: Vec<String> = (0..=MAX_PAGE).map(|n| n.to_string()).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|key| ("sensor_id", key.as_str())).collect();
        assert!(ask(&many).unwrap_err().contains("at most 100 times"));
        assert!(ask(&many[1..]).is_ok());
    }
}
