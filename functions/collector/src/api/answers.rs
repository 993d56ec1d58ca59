//! `GET /answers…`: answers that were computed beforehand.
//!
//! The path and the query together are a key; what has it is a range of bytes of the current generation, and these bytes are
//! the answer. A request reads one generation from its beginning to its end.

use std::{ops::Range, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{FromRequestParts, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use weir_core::{
    Timestamp, Username,
    answers::{ColumnName, Definition, Published, USERNAME, layout::Key},
    ports::{Generation, PortError},
};

use crate::{
    Collector,
    api::{
        caller::Reader,
        etag,
        parameters::{self, invalid},
        problem::Problem,
        read::{Pairs, pairs},
    },
};

/// The parts of the path before an answer's name.
pub(crate) const BELOW: &str = "/answers/";

/// The parts of the path before the name of one that is read without credentials. No answer has this name.
pub(crate) const PUBLIC_BELOW: &str = "/answers/public/";

/// Answers of more bytes than this are read and sent piece by piece.
const PIECE: u64 = 128 << 10;

/// `GET /answers`: the published answers.
pub(crate) async fn list(
    State(collector): State<Arc<Collector>>,
    Reader(_): Reader,
) -> Result<Response, Problem> {
    let published = collector.ports.answers.list().await.map_err(|error| Problem::of_engine(&error))?;
    let answers: Vec<Value> = published.iter().filter_map(listed).collect();
    Ok(Json(json!({"answers": answers})).into_response())
}

/// Describes an answer; `None` if a later version of Weir published it, with a head that this one cannot read.
fn listed(published: &Published) -> Option<Value> {
    let definition = published.definition().ok()?;
    let names = |columns: &[ColumnName]| -> Vec<String> {
        columns.iter().map(|column| column.as_str().to_owned()).collect()
    };
    Some(json!({
        "name": published.name,
        "title": definition.title,
        "path": names(&definition.path),
        "slot": names(&definition.slot),
        "public": definition.public,
        "chart": definition.chart.as_str(),
        "every": definition.every.map(|every| every.as_secs()),
        "published_at": published.published_at,
    }))
}

/// `GET /answers/{answer}` and `GET /answers/{answer}/{path}`: all rows below a path, or one of them.
pub(crate) async fn read(
    State(collector): State<Arc<Collector>>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let (name, values) = address(parts.uri.path(), BELOW).ok_or(Problem::NotFound)?;
    // Without credentials, an answer of users and one that does not exist look the same.
    let Some(generation) = current(&collector, &name).await? else {
        caller(&mut parts, &collector).await?;
        return Err(Problem::NoSuchAnswer);
    };
    let is_public = generation.definition().public;
    let caller = if is_public { None } else { Some(caller(&mut parts, &collector).await?) };
    respond(&collector, &parts, generation, caller.as_ref(), &values).await
}

/// `GET /answers/public/{answer}` and `GET /answers/public/{answer}/{path}`: the same of a public answer. It never looks at
/// credentials, so that it can be open where others check them before a request comes here.
pub(crate) async fn read_public(
    State(collector): State<Arc<Collector>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let (name, values) = address(parts.uri.path(), PUBLIC_BELOW).ok_or(Problem::NotFound)?;
    let found = current(&collector, &name).await?.filter(|generation| generation.definition().public);
    respond(&collector, &parts, found.ok_or(Problem::NoSuchAnswer)?, None, &values).await
}

async fn current(collector: &Collector, name: &str) -> Result<Option<Arc<dyn Generation>>, Problem> {
    let Ok(name) = name.parse() else { return Ok(None) };
    collector.ports.answers.current(&name).await.map_err(|error| Problem::of_engine(&error))
}

/// Responds with what a generation has of a request.
async fn respond(
    collector: &Collector,
    parts: &Parts,
    generation: Arc<dyn Generation>,
    caller: Option<&Username>,
    values: &[String],
) -> Result<Response, Problem> {
    let definition = generation.definition();
    let key = key(definition, caller, values, Query::try_from_uri(&parts.uri))?;
    let failed = |error: PortError| Problem::of_engine(&error);
    let range = match generation.find(key.of).await.map_err(failed)? {
        Some(range) => range,
        // An answer that has no path is there, with or without rows.
        None if !key.is_slot && values.is_empty() => 0..0,
        None => return Err(Problem::NoSuchAnswer),
    };
    let public = definition.public.then(|| {
        let left = definition
            .every
            .map(|every| until(generation.published().published_at, every, collector.host.clock.now()));
        left.unwrap_or_default()
    });
    let mut answer = if range.is_empty() {
        "[]".into_response()
    } else if range.end - range.start <= PIECE {
        let mut bytes = generation.read(range).await.map_err(failed)?;
        if key.is_slot {
            bytes.truncate(bytes.trim_ascii_end().len());
        }
        bytes.into_response()
    } else {
        in_pieces(generation, range, &parts.headers)
    };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(fresh) = public {
        let cached = format!("public, max-age={}", fresh.as_secs());
        headers.insert(header::CACHE_CONTROL, HeaderValue::try_from(cached).map_err(|_| Problem::Internal)?);
        // It is for pages of any origin, whichever may call the rest of the API.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    Ok(answer)
}

async fn caller(parts: &mut Parts, collector: &Arc<Collector>) -> Result<Username, Problem> {
    let Reader(username) = Reader::from_request_parts(parts, collector).await?;
    Ok(username)
}

/// Returns the name in a path below this one, and the values behind it, decoded: `%2F` is a character of a value. `None` if
/// one of them is not UTF-8.
fn address(path: &str, below: &str) -> Option<(String, Vec<String>)> {
    let (_, below) = path.split_once(below)?;
    let decoded = |text: &str| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    let mut names = below.split('/').map(decoded);
    Some((names.next()??, names.collect::<Option<_>>()?))
}

/// What is asked for.
struct Asked {
    of: Key,
    is_slot: bool,
}

/// Returns the key of a request. Another user's path is no path.
fn key(
    definition: &Definition,
    caller: Option<&Username>,
    values: &[String],
    query: Pairs,
) -> Result<Asked, Problem> {
    if values.len() != definition.path.len() {
        return Err(Problem::NoSuchAnswer);
    }
    let named = definition.path.iter().zip(values).find(|(column, _)| column.as_str() == USERNAME);
    if let (Some(caller), Some((_, value))) = (caller, named)
        && value != caller.as_str()
    {
        return Err(Problem::NoSuchAnswer);
    }
    let implied = caller.filter(|_| definition.is_per_user()).map(Username::as_str);
    let path = implied.into_iter().chain(values.iter().map(String::as_str));
    let slot = slot(definition, pairs(query)?)?;
    Ok(match slot {
        Some(slot) => Asked { of: Key::of_slot(path, slot), is_slot: true },
        None => Asked { of: Key::of_path(path), is_slot: false },
    })
}

/// Returns the slot that a query names, in the order of the definition; `None` if it names no column of it.
fn slot(definition: &Definition, pairs: Vec<(String, String)>) -> Result<Option<Vec<String>>, Problem> {
    let names: Vec<&str> = definition.slot.iter().map(ColumnName::as_str).collect();
    let mut values: Vec<Option<String>> = vec![None; names.len()];
    for (name, value) in pairs {
        match names.iter().position(|known| *known == name) {
            Some(at) if values[at].is_none() => values[at] = Some(value),
            Some(_) => return Err(invalid(format!("This takes {name} once."))),
            None => parameters::refuse_near_miss(&name, &names)?,
        }
    }
    if values.iter().all(Option::is_none) {
        return Ok(None);
    }
    let missing = names.iter().zip(&values).find(|(_, value)| value.is_none());
    match missing {
        Some((missing, _)) => {
            Err(invalid(format!("One row is named by {}: {missing} is missing.", names.join(" and "))))
        }
        None => Ok(values.into_iter().collect()),
    }
}

/// Returns how long it is until the next publication.
fn until(published_at: Timestamp, every: Duration, now: Timestamp) -> Duration {
    let next = published_at.plus_millis(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
    Duration::from_millis(next.millis().saturating_sub(now.millis())).min(every)
}

/// Answers with many bytes: they are never in memory together. A generation never changes, so the tag is its name and the
/// place in it: one URL has other rows for each caller.
fn in_pieces(generation: Arc<dyn Generation>, range: Range<u64>, asked: &HeaderMap) -> Response {
    let length = range.end - range.start;
    let tag = format!("\"{}-{}\"", generation.published().generation, range.start);
    let Ok(tag) = HeaderValue::try_from(tag) else {
        return Problem::Internal.into_response();
    };
    if asked.get_all(header::IF_NONE_MATCH).iter().any(|had| etag::names(had, &tag)) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let pieces = stream::try_unfold(range.start, move |at| {
        let (generation, end) = (Arc::clone(&generation), range.end);
        async move {
            if at >= end {
                return Ok::<_, PortError>(None);
            }
            let next = end.min(at + PIECE);
            let piece: Bytes = generation.read(at..next).await.inspect_err(|error| {
                // Logs it. The status is sent already, so the answer breaks off.
                Problem::of_engine(error);
            })?;
            Ok(Some((piece, next)))
        }
    });
    let headers = [(header::ETAG, tag), (header::CONTENT_LENGTH, HeaderValue::from(length))];
    (headers, Body::from_stream(pieces)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_the_path_is_decoded_once_and_no_sign_leads_out_of_its_place() {
        let read = |path: &str| address(path, BELOW).map(|(name, values)| (name, values.join("|")));
        let expected = |name: &str, values: &str| Some((name.to_owned(), values.to_owned()));
        for (path, found) in [
            ("/answers/visits", expected("visits", "")),
            ("/answers/visits/ann/2026-11", expected("visits", "ann|2026-11")),
            ("/answers/visits/a%2Fb/%C3%BC", expected("visits", "a/b|ü")),
            ("/answers/visits/%252F", expected("visits", "%2F")),
            ("/answers/visits/../x", expected("visits", "..|x")),
            ("/answers/%2e%2e/x", expected("..", "x")),
            ("/answers/a%00", expected("a\0", "")),
            ("/answers/visits/%FF", None),
            ("/other", None),
        ] {
            assert_eq!(read(path), found, "{path}");
        }
    }

    #[test]
    fn the_next_publication_is_never_in_the_past_and_never_later_than_a_whole_period() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let hour = Duration::from_hours(1);
        for (now, left) in [(5_000, 3595), (0, 3600), (3_600_000, 0), (9_000_000, 0)] {
            assert_eq!(until(at(0), hour, at(now)).as_secs(), left, "{now}");
        }
        assert_eq!(until(at(10_000_000), hour, at(0)), hour, "a clock that was set back");
    }
}
