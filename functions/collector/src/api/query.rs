//! `/query`: SQL over the caller's own rows, where the host answers it, at once or later.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use weir_core::Hour;

use crate::{
    Collector, NotAnswered, QueryAnswer, QueryAsked, QueryFormat, QueryProgress,
    api::{
        caller::Reader,
        ends::{asked, check},
        parameters::invalid,
        problem::{Problem, QueryProblem},
        read::{Pairs, pairs},
    },
    intake::body,
};

/// The longest SQL, in bytes.
pub(crate) const MAX_SQL: usize = 64 << 10;

/// The number of hours in the range of a query: the default, if the query does not read too many tables for it, and the most. 31
/// days, and a year.
pub(crate) const HOURS: u64 = 744;
pub(crate) const MAX_HOURS: u64 = 8784;

/// The number of seconds after which a client should ask again for an answer.
const ASK_AGAIN_AFTER: HeaderValue = HeaderValue::from_static("1");

/// `POST /query`.
pub(crate) async fn query(
    State(collector): State<Arc<Collector>>,
    reader: Reader,
    parameters: Pairs,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let format = format(&head.headers)?;
    let parameters = pairs(parameters)?;
    refuse_another_format(&parameters, format)?;
    let Range { from, to, may_begin_later } = range(&collector, parameters)?;
    let (sent, room) = body::read(&collector.limits, &head.headers, body).await?;
    let sql = sent.decode()?;
    if sql.len() > MAX_SQL {
        return Err(Problem::BodyTooLarge { limit: MAX_SQL, decompressed: false });
    }
    let wrong = |message: &str| Problem::Query(QueryProblem::Sql { message: message.to_owned() });
    let sql = String::from_utf8(sql.into()).map_err(|_| wrong("The SQL is not UTF-8."))?;
    if sql.trim().is_empty() {
        return Err(wrong("The body is empty: it should be a SELECT."));
    }
    if serde_json::from_str::<serde::de::IgnoredAny>(&sql).is_ok() && sql.trim().starts_with(['{', '[', '"'])
    {
        return Err(wrong("The body is JSON: it should be the SQL itself, as text."));
    }
    reader.still(&head, &collector).await?;
    drop(room);
    let queries = &collector.host.queries;
    if queries.are_answered_later() {
        let asked = QueryAsked { sql, from, to, may_begin_later };
        let started = queries.start(&reader.0, asked).await.map_err(not_answered)?;
        let mut members = json!({"from": started.from.to_string(), "to": to.to_string()});
        if started.from != from {
            let hours = to.since_epoch() + 1 - started.from.since_epoch();
            let warning = format!(
                "The range has the last {hours} hours, instead of {HOURS}: the query reads too many tables for more. Name fewer tables \
                 for a longer range."
            );
            members["warnings"] = json!([warning]);
        }
        return running(&started.id, members);
    }
    let answer = queries.answer(&reader.0, sql, format).await.map_err(not_answered)?;
    Ok(answered(answer, format))
}

/// `GET /query/{query}`: the answer of a query, or that it has none yet.
pub(crate) async fn read(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(id): Path<String>,
    parameters: Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = format(&headers)?;
    refuse_another_format(&pairs(parameters)?, format)?;
    match collector.host.queries.find(&username, &id, format).await.map_err(not_answered)? {
        QueryProgress::Running => running(&id, json!({})),
        QueryProgress::Answered(answer) => Ok(answered(answer, format)),
    }
}

/// `DELETE /query/{query}`: stops a query.
pub(crate) async fn stop(
    State(collector): State<Arc<Collector>>,
    Reader(username): Reader,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    collector.host.queries.stop(&username, &id).await.map_err(not_answered)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The hours that a query may read.
struct Range {
    from: Hour,
    to: Hour,
    may_begin_later: bool,
}

/// Returns the range of hours that a query names. Only where queries are answered later it can name one.
fn range(collector: &Collector, pairs: Vec<(String, String)>) -> Result<Range, Problem> {
    let (from, to) = asked::<Hour>(pairs)?;
    if (from.is_some() || to.is_some()) && !collector.host.queries.are_answered_later() {
        return Err(invalid("There is no range here: put a condition on date into WHERE.".to_owned()));
    }
    let to = to.unwrap_or_else(|| collector.host.clock.now().hour());
    let may_begin_later = from.is_none();
    let from = from.unwrap_or_else(|| to.minus(HOURS - 1));
    check([from, to], [from, to].map(Hour::since_epoch), MAX_HOURS, "hours")?;
    Ok(Range { from, to, may_begin_later })
}

/// Refuses a parameter that names another format than the one that `Accept` asks for.
fn refuse_another_format(pairs: &[(String, String)], format: QueryFormat) -> Result<(), Problem> {
    let own = match format {
        QueryFormat::Json => "json",
        QueryFormat::Csv => "csv",
    };
    if pairs.iter().any(|(name, value)| name == "format" && !value.eq_ignore_ascii_case(own)) {
        return Err(invalid(
            "There is no parameter \"format\" here: Accept: text/csv asks for CSV.".to_owned(),
        ));
    }
    Ok(())
}

/// Returns the answer about a query that goes on, with where to ask and these members.
fn running(id: &str, members: Value) -> Result<Response, Problem> {
    let path = format!("/query/{id}");
    let location = HeaderValue::try_from(&path).map_err(|_| Problem::Internal)?;
    let mut body = json!({"query": id, "state": "running", "answer": path});
    if let (Some(body), Value::Object(members)) = (body.as_object_mut(), members) {
        body.extend(members);
    }
    let headers = [
        (header::LOCATION, location),
        (header::RETRY_AFTER, ASK_AGAIN_AFTER),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::ACCEPTED, headers, Json(body)).into_response())
}

fn answered(answer: QueryAnswer, format: QueryFormat) -> Response {
    let content_type = match format {
        QueryFormat::Json => "application/json",
        QueryFormat::Csv => "text/csv; charset=utf-8",
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_LENGTH, HeaderValue::from(answer.length)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // A value may be what a client sent: no browser takes it for a page.
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, Body::from_stream(answer.content)).into_response()
}

fn format(headers: &HeaderMap) -> Result<QueryFormat, Problem> {
    accepted(headers).ok_or(Problem::Query(QueryProblem::NotAcceptable))
}

/// Returns the problem that tells clients why there is no answer.
pub(crate) fn not_answered(why: NotAnswered) -> Problem {
    match why {
        NotAnswered::NotHere => Problem::Query(QueryProblem::NotHere),
        NotAnswered::TooMany => Problem::Query(QueryProblem::TooMany),
        NotAnswered::TooManyOfUser(limit) => Problem::Query(QueryProblem::TooManyOfUser { limit }),
        NotAnswered::Sql(message) => Problem::Query(QueryProblem::Sql { message }),
        NotAnswered::NoSuchQuery => Problem::Query(QueryProblem::NoSuchQuery),
        NotAnswered::Stopped => Problem::Query(QueryProblem::Stopped),
        NotAnswered::TooSlow(limit) => Problem::Query(QueryProblem::TooSlow { limit }),
        NotAnswered::TooLarge(limit) => Problem::Query(QueryProblem::TooLarge { limit }),
        NotAnswered::TooLong(limit) => Problem::Query(QueryProblem::TooLong { limit }),
        NotAnswered::TooManyRows => Problem::Query(QueryProblem::TooManyRows),
        NotAnswered::Failed(error) => Problem::of_engine(&error),
    }
}

/// Returns the format that the client likes best, JSON where it does not care; `None` if it takes neither.
fn accepted(headers: &HeaderMap) -> Option<QueryFormat> {
    let mut best: Option<(f32, QueryFormat)> = None;
    let mut has_any = false;
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            has_any = true;
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let format = match name.as_str() {
                "application/json" | "application/*" | "*/*" | "" => QueryFormat::Json,
                "text/csv" | "text/*" => QueryFormat::Csv,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
            let weight = weight.unwrap_or(0.0);
            if weight > 0.0 && best.is_none_or(|(other, _)| weight > other) {
                best = Some((weight, format));
            }
        }
    }
    if has_any { best.map(|(_, format)| format) } else { Some(QueryFormat::Json) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_the_client_likes_best() {
        let accepted = |values: &[&'static str]| {
            let values = values.iter().map(|value| (header::ACCEPT, HeaderValue::from_static(value)));
            accepted(&values.collect())
        };
        for values in [
            &[][..],
            &["*/*"],
            &["application/json"],
            &["text/html", "application/*;q=0.1"],
            &["text/csv;q=0.5, APPLICATION/JSON"],
        ] {
            assert_eq!(accepted(values), Some(QueryFormat::Json), "{values:?}");
        }
        for values in
            [&["text/csv"][..], &["text/*"], &["application/json;q=0.2,text/csv"], &["*/*;q=0.1, text/csv"]]
        {
            assert_eq!(accepted(values), Some(QueryFormat::Csv), "{values:?}");
        }
        for values in [&["application/vnd.apache.arrow.stream"][..], &["text/html"], &["*/*;q=0"]] {
            assert_eq!(accepted(values), None, "{values:?}");
        }
    }
}
