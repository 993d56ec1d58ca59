//! The problems of `POST /query`.

use std::time::Duration;

use axum::http::StatusCode;

/// Why a query has no answer.
#[derive(Debug)]
pub(crate) enum QueryProblem {
    /// This host answers no queries.
    NotHere,
    /// As many queries as are allowed at once are under way.
    TooMany,
    /// As many queries as the caller may have at once are under way.
    TooManyOfUser { limit: usize },
    /// The SQL is wrong.
    Sql { message: String },
    /// The caller has no such query.
    NoSuchQuery,
    /// The query was stopped.
    Stopped,
    /// It took too long.
    TooSlow { limit: Duration },
    /// The answer is too large.
    TooLarge { limit: u64 },
    /// The answer has too many rows.
    TooLong { limit: usize },
    /// The tables have too many rows.
    TooManyRows,
    /// The client takes none of the formats.
    NotAcceptable,
}

impl QueryProblem {
    /// Returns status, type and title.
    pub(super) fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            // Not 501: on AWS, an alarm watches the API's own errors.
            Self::NotHere => (StatusCode::NOT_FOUND, "no-queries-here", "No queries here"),
            Self::TooMany | Self::TooManyOfUser { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-queries", "Too many queries at once")
            }
            Self::Sql { .. } => (StatusCode::BAD_REQUEST, "sql-error", "The SQL cannot be answered"),
            Self::NoSuchQuery => (StatusCode::NOT_FOUND, "no-such-query", "No such query"),
            Self::Stopped => (StatusCode::CONFLICT, "query-stopped", "The query was stopped"),
            Self::TooSlow { .. } => {
                (StatusCode::GATEWAY_TIMEOUT, "query-too-slow", "The query took too long")
            }
            Self::TooLarge { .. } | Self::TooLong { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "answer-too-large", "The answer is too large")
            }
            Self::TooManyRows => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-many-rows", "The tables have too many rows")
            }
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "not-acceptable", "No such format"),
        }
    }

    pub(super) fn detail(&self) -> String {
        match self {
            Self::NotHere => "The operator allows queries: on one machine with weir serve --queries, on AWS with the stack's \
                              parameter WithQueries, but for the keys of a range."
                .to_owned(),
            Self::TooMany => "As many queries as this user, or as all users may have at once are under way. Retry-After says \
                              when to try again."
                .to_owned(),
            Self::TooManyOfUser { limit } => {
                format!("{limit} queries of yours are under way, and there may be no more. Wait for one, or stop it by DELETE.")
            }
            Self::Sql { message } => message.clone(),
            Self::NoSuchQuery => "No query of yours has this id. POST /query starts one where it does not answer at once.".to_owned(),
            Self::Stopped => "The query was stopped: by its user, or as it took longer than it may. Start another one.".to_owned(),
            Self::TooSlow { limit } => {
                format!("A query may take {} seconds. Ask for less.", limit.as_secs())
            }
            Self::TooLarge { limit } => {
                format!("An answer has at most {limit} bytes. Aggregate, name fewer columns, or end the SELECT with a LIMIT.")
            }
            Self::TooLong { limit } => {
                format!("An answer has at most {limit} rows. Aggregate, or end the SELECT with a LIMIT.")
            }
            Self::TooManyRows => "The tables that the query names have more rows of yours than one query may read.".to_owned(),
            Self::NotAcceptable => "An answer is JSON (application/json) or CSV (text/csv). There is no Arrow.".to_owned(),
        }
    }

    /// Returns the limit that was exceeded, in bytes.
    pub(super) fn limit(&self) -> Option<u64> {
        match self {
            Self::TooLarge { limit } => Some(*limit),
            _ => None,
        }
    }
}
