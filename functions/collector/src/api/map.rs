//! `/map…`: runs of functions that the operator has registered, over the caller's own events.
//!
//! A client names a function and chooses events. The username comes from the credentials, and no text of a request becomes a
//! part of a command.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use weir_core::{Day, Hour, Username};

use crate::{
    Collector, NotStarted, Run, RunState, Wanted,
    api::{
        caller::Reader,
        etag,
        parameters::{self, invalid},
        problem::Problem,
        read::{Pairs, known, pairs},
    },
};

/// The parameters of a run.
const PARAMETERS: [&str; 4] = ["type", "from", "to", "reduce"];

/// `POST /map/{function}`: starts a run.
pub(crate) async fn start(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(function): Path<String>,
    query: Pairs,
) -> Result<Response, Problem> {
    let asked = Asked::read(pairs(query)?)?;
    let wanted = Wanted {
        function,
        event_type: known(&collector, asked.event_type)?,
        from: asked.from,
        to: asked.to,
        reduce: asked.reduce,
    };
    let run = collector.host.runs.start(&username, wanted).await.map_err(|why| match why {
        NotStarted::NoSuchFunction(name) => Problem::NoSuchFunction { name },
        NotStarted::TooMany => Problem::TooManyRuns,
        NotStarted::Failed(error) => Problem::of_engine(&error),
    })?;
    let location = HeaderValue::try_from(path(&run)).map_err(|_| Problem::Internal)?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], described(&run)).into_response())
}

/// `GET /map/runs/{run}`.
pub(crate) async fn read(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(described(&find(&collector, &username, &id).await?).into_response())
}

/// `GET /map/runs/{run}/result`: the whole result, piece by piece. It never changes, so its tag is the run's id.
pub(crate) async fn result(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run = find(&collector, &username, &id).await?;
    if run.state != RunState::Done {
        return Err(Problem::NoResult { state: run.state });
    }
    let tag = HeaderValue::try_from(format!("\"{}\"", run.id)).map_err(|_| Problem::Internal)?;
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|had| etag::names(had, &tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let result = collector.host.runs.result(&username, &id).await;
    let result = result.map_err(|error| Problem::of_engine(&error))?.ok_or(Problem::NoSuchRun)?;
    let headers = [
        (header::ETAG, tag),
        (header::CONTENT_LENGTH, HeaderValue::from(result.length)),
        // A function may print what a client sent: no browser takes it for a page.
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, Body::from_stream(result.content)).into_response())
}

async fn find(collector: &Collector, username: &Username, id: &str) -> Result<Run, Problem> {
    let found = collector.host.runs.find(username, id).await;
    found.map_err(|error| Problem::of_engine(&error))?.ok_or(Problem::NoSuchRun)
}

fn path(run: &Run) -> String {
    format!("/map/runs/{}", run.id)
}

fn described(run: &Run) -> Json<serde_json::Value> {
    let mut described = json!(run);
    described["result"] = json!((run.state == RunState::Done).then(|| path(run) + "/result"));
    Json(described)
}

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    event_type: String,
    from: Option<Hour>,
    to: Option<Hour>,
    reduce: Option<String>,
}

impl Asked {
    fn read(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut values: [Option<String>; 4] = Default::default();
        for (name, value) in pairs {
            match PARAMETERS.iter().position(|known| *known == name) {
                Some(at) if values[at].is_none() => values[at] = Some(value),
                Some(_) => return Err(invalid(format!("This takes {name} once."))),
                None => parameters::refuse_near_miss(&name, &PARAMETERS)?,
            }
        }
        let [event_type, from, to, reduce] = values;
        let event_type =
            event_type.ok_or_else(|| invalid("type is missing: the type of events.".to_owned()))?;
        let (from, to) = (bound("from", from)?, bound("to", to)?);
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(invalid(format!("to ({to}) must be later than from ({from}): it is not included.")));
        }
        Ok(Self { event_type, from, to, reduce })
    }
}

/// Reads an hour, or a day for its first one.
fn bound(name: &str, value: Option<String>) -> Result<Option<Hour>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let first_of_day = || value.parse().map(Day::first_hour).ok();
    let found = value.parse().ok().or_else(first_of_day);
    let no_hour = || invalid(format!("{name} is an hour like 2026-11-20T13, or a day for its first one."));
    found.map(Some).ok_or_else(no_hour)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = String> {
        let known = prop::sample::select(PARAMETERS.as_slice()).prop_map(str::to_owned);
        prop_oneof![4 => known, 1 => any::<String>()]
    }

    fn value() -> impl Strategy<Value = String> {
        let hour = (1969_u32..2200, 0_u32..14, 0_u32..33, 0_u32..26)
            .prop_map(|(year, month, day, hour)| format!("{year}-{month:02}-{day:02}T{hour:02}"));
        let day = (1969_u32..2200, 0_u32..14, 0_u32..33).prop_map(|(y, m, d)| format!("{y}-{m:02}-{d:02}"));
        prop_oneof![4 => hour, 2 => day, 1 => any::<String>()]
    }

    proptest! {
        /// Whatever a query holds, it is refused, or read as it stands: each parameter once, with an hour at each end.
        #[test]
        fn a_query_is_refused_or_means_what_it_says(pairs in prop::collection::vec((name(), value()), 0..6)) {
            let given = |name: &str| -> Vec<&String> {
                pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect()
            };
            match Asked::read(pairs.clone()) {
                Ok(asked) => {
                    prop_assert_eq!(given("type"), vec![&asked.event_type]);
                    prop_assert_eq!(given("reduce"), asked.reduce.iter().collect::<Vec<_>>());
                    for (name, hour) in [("from", asked.from), ("to", asked.to)] {
                        let meant = given(name);
                        prop_assert_eq!(meant.len(), usize::from(hour.is_some()));
                        let stands = |hour: Hour| hour.to_string() == *meant[0] || hour.to_string() == format!("{}T00", meant[0]);
                        prop_assert!(hour.is_none_or(stands), "{name}: {hour:?} of {meant:?}");
                    }
                    if let (Some(from), Some(to)) = (asked.from, asked.to) {
                        prop_assert!(from < to);
                    }
                }
                Err(problem) => prop_assert!(matches!(problem, Problem::InvalidQuery { .. }), "{problem:?}"),
            }
        }
    }

    #[test]
    fn a_query_needs_a_type_and_takes_each_parameter_once() {
        let read = |pairs: &[(&str, &str)]| {
            Asked::read(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let of_type = ("type", "button_click");
        let asked = read(&[of_type, ("from", "2026-11-20"), ("to", "2026-11-20T13"), ("_", "1")]).unwrap();
        assert_eq!(asked.from.map(|hour| hour.to_string()).as_deref(), Some("2026-11-20T00"));
        for pairs in [
            &[][..],
            &[("from", "2026-11-20")],
            &[of_type, of_type],
            &[of_type, ("from", "2026-11-20"), ("to", "2026-11-20")],
            &[of_type, ("from", "yesterday")],
            &[of_type, ("reducer", "tally")],
        ] {
            assert!(read(pairs).is_err(), "{pairs:?}");
        }
    }
}
