//! Counts the keys of a range of hours on the files of the lake, by SQL of Weir's own. Only the hours are a client's, and
//! they were parsed. The names are the catalog's, and the files are the user's.

use collector::{KeysOfRange, NotAnswered, QueryFormat, RangeKeys};
use serde::Deserialize;
use weir_core::{CountedValue, Hour, counts::KeyCount, ports::PortError};

use super::{How, Query, answered, not_answered};
use crate::{
    child::Failure,
    query::tables::{self, literal, quoted},
};

const WHAT: &str = "counting keys";

/// A row of the answer: a key, or null for events without one.
#[derive(Deserialize)]
struct Row {
    key: Option<String>,
    count: u64,
    /// The number of all events.
    events: u64,
}

/// Returns the largest keys.
pub(super) fn keys(query: &Query, request: &KeysOfRange) -> Result<RangeKeys, NotAnswered> {
    let inner = &query.inner;
    let name = request.event_type.as_str();
    let views = tables::views(&inner.catalog, &inner.lake, &query.of, &|of| of == name);
    let views = views.map_err(|error| PortError::unavailable("reading the lake", error))?;
    let view = views.iter().find(|(of, _)| of == name).map(|(_, view)| view.as_str()).unwrap_or_default();
    let script = format!("{}{}{view}{}", Query::limits(), access(query), select(request));
    // DuckDB writes no file.
    let reads = query.rows_in();
    let how = How { arguments: &["-json"], directory: &inner.lake, reads: &reads, file_limit: 0 };
    let answer = query.duckdb(&script, &how).map_err(|failure| match failure {
        Failure::Ended { said, .. } if said.contains("Out of Memory Error") => NotAnswered::TooManyRows,
        failure => not_answered(failure),
    })?;
    let answer = answered::as_sent(QueryFormat::Json, answer);
    let rows: Vec<Row> = serde_json::from_slice(&answer).map_err(|error| PortError::broken(WHAT, error))?;
    let events = rows.first().map_or(0, |row| row.events);
    let with_key = rows
        .into_iter()
        .filter_map(|row| Some(KeyCount { key: CountedValue::of(&row.key?), count: row.count }));
    let mut keys: Vec<KeyCount> = with_key.collect();
    let has_more = keys.len() > request.limit;
    keys.truncate(request.limit);
    Ok(RangeKeys { keys, events, has_more })
}

/// Returns the SQL that limits DuckDB's access to the lake and the sealed days.
fn access(query: &Query) -> String {
    let sealed = &query.of.sealed;
    let is_there = query.inner.lake.join(sealed).is_dir();
    let sealed = if is_there { format!(", {}", literal(sealed)) } else { String::new() };
    format!(
        "SET temp_directory = '';\nSET autoinstall_known_extensions = false;\nSET autoload_known_extensions = false;\n\
         SET allowed_directories = ['.'{sealed}];\nSET enable_external_access = false;\nSET lock_configuration = true;\n"
    )
}

/// Returns the SELECT. A condition on the lake's folders decides which files are read.
fn select(request: &KeysOfRange) -> String {
    let KeysOfRange { event_type, field, from, to, limit } = request;
    let place = |hour: &Hour| {
        let [year, month, day, hour] = hour.parts();
        ((u64::from(year) * 100 + u64::from(month)) * 100 + u64::from(day)) * 100 + u64::from(hour)
    };
    // Reads two rows more than are asked for: one tells whether there are more keys, and one may be that of events without a
    // key.
    format!(
        "WITH counted AS (\n  SELECT CAST({key} AS VARCHAR) AS key, count(*) AS count FROM {table}\n  \
         WHERE ((year * 100 + month) * 100 + day) * 100 + hour BETWEEN {first} AND {last} GROUP BY 1\n)\n\
         SELECT key, count, (SELECT CAST(sum(count) AS BIGINT) FROM counted) AS events FROM counted\n\
         ORDER BY count DESC, key LIMIT {most};\n",
        key = quoted(field),
        table = quoted(event_type.as_str()),
        first = place(from),
        last = place(to),
        most = limit + 2,
    )
}
