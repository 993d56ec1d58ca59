//! `POST /query`: SQL over the caller's own rows, where the host answers it.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::{
    Collector, NotAnswered, QueryFormat,
    api::{
        caller::Reader,
        problem::{Problem, QueryProblem},
    },
    intake::body,
};

/// The longest SQL, in bytes.
pub(crate) const MAX_SQL: usize = 64 << 10;

/// `POST /query`.
pub(crate) async fn query(
    State(collector): State<Arc<Collector>>,
    reader: Reader,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let format = accepted(&head.headers).ok_or(Problem::Query(QueryProblem::NotAcceptable))?;
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
    reader.still(&head, &collector).await?;
    drop(room);
    let answer = collector.host.queries.answer(&reader.0, sql, format).await;
    let answer = answer.map_err(not_answered)?;
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
    Ok((headers, Body::from_stream(answer.content)).into_response())
}

/// Returns the problem that tells clients why there is no answer.
pub(crate) fn not_answered(why: NotAnswered) -> Problem {
    match why {
        NotAnswered::NotHere => Problem::Query(QueryProblem::NotHere),
        NotAnswered::TooMany => Problem::Query(QueryProblem::TooMany),
        NotAnswered::Sql(message) => Problem::Query(QueryProblem::Sql { message }),
        NotAnswered::TooSlow(limit) => Problem::Query(QueryProblem::TooSlow { limit }),
        NotAnswered::TooLarge(limit) => Problem::Query(QueryProblem::TooLarge { limit }),
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
