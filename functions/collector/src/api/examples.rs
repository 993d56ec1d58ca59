//! An example of every error, for the API's description. The code of the errors themselves makes them, so the two cannot
//! differ.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Map, Value, json};
use weir_core::{Violation, users::Scope};

use crate::{
    RunState,
    api::{
        authentication::NotAuthenticated,
        latest,
        problem::{LiveProblem, Problem, QueryProblem},
        read::{MAX_PAGE, not_in_range},
        reason::Reason,
    },
    intake::limits::{MAX_EVENTS, MAX_SENT},
};

/// A kind of route, by its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Any route, and any path that is no route.
    Any,
    /// A route that reads.
    Reading,
    /// A route that reads an answer.
    Answers,
    /// The route that reads the receipt of an event.
    Receipt,
    /// The route that reads the keys of a range.
    Keys,
    /// The route that reads counts by minute.
    Minutes,
    /// The route that streams events.
    Stream,
    /// A route that reads latest values.
    Latest,
    /// The route that starts a run of a function.
    Starting,
    /// A route that reads a run.
    Runs,
    /// The route that takes SQL.
    Sql,
    /// A route of a query that is answered later.
    Query,
    /// A route that takes an event of one type.
    OneEvent,
    /// The route that takes many events.
    ManyEvents,
}

impl Of {
    /// Returns whether its routes need the right to read.
    fn reads(self) -> bool {
        matches!(
            self,
            Self::Reading
                | Self::Receipt
                | Self::Keys
                | Self::Minutes
                | Self::Stream
                | Self::Answers
                | Self::Latest
                | Self::Starting
                | Self::Runs
                | Self::Sql
                | Self::Query
        )
    }
}

/// Returns the examples of a status, by name; none if the route has no such error.
pub(crate) fn examples(of: Of, status: u16) -> Map<String, Value> {
    let mut all = with_credentials(if of.reads() { Scope::Read } else { Scope::Write });
    match of {
        Of::Any => all = anywhere(),
        Of::Reading => all.extend([unknown_type(), not_in_range(MAX_PAGE)]),
        Of::Answers => all.extend([
            Problem::NoSuchAnswer,
            Problem::InvalidQuery {
                detail: "One row is named by day and button_id: day is missing.".to_owned(),
            },
        ]),
        Of::Receipt => all.push(Problem::NoSuchEvent),
        Of::Keys => all.extend([
            Problem::Query(QueryProblem::NotHere),
            unknown_type(),
            not_in_range(MAX_PAGE),
            Problem::Query(QueryProblem::TooMany),
            Problem::Query(QueryProblem::TooSlow { limit: Duration::from_secs(30) }),
            Problem::Query(QueryProblem::TooManyRows),
        ]),
        Of::Minutes => all.extend([Problem::Live(LiveProblem::NoMinutes), unknown_type()]),
        Of::Stream => all.extend([
            Problem::Live(LiveProblem::NoStream),
            unknown_type(),
            Problem::InvalidQuery {
                detail: "Last-Event-ID is the id of an event that came on a stream.".to_owned(),
            },
            Problem::Live(LiveProblem::TooManyStreams),
        ]),
        Of::Latest => all.extend([
            Problem::NoLatestValue { field: "sensor_id".to_owned() },
            not_in_range(latest::MAX_PAGE),
        ]),
        Of::Starting => all.extend([
            Problem::OriginNotAllowed,
            Problem::NoSuchFunction { name: "buton".to_owned() },
            unknown_type(),
            Problem::InvalidQuery { detail: "type is missing: the type of events.".to_owned() },
            Problem::TooManyRuns,
        ]),
        Of::Runs => all.extend([Problem::NoSuchRun, Problem::NoResult { state: RunState::Running }]),
        Of::Sql => {
            all.extend(bodies());
            all.extend(
                [
                    QueryProblem::NotHere,
                    QueryProblem::TooMany,
                    QueryProblem::TooManyOfUser { limit: 5 },
                    QueryProblem::Sql {
                        message: "Catalog Error: Table with name clicks does not exist!".to_owned(),
                    },
                    QueryProblem::TooSlow { limit: Duration::from_secs(30) },
                    QueryProblem::TooLarge { limit: 16 << 20 },
                    QueryProblem::TooManyRows,
                    QueryProblem::NotAcceptable,
                ]
                .map(Problem::Query),
            );
            all.push(Problem::InvalidQuery {
                detail: "from (2026-11-21T13) is later than to (2026-11-20T13).".to_owned(),
            });
        }
        Of::Query => all.extend(
            [
                QueryProblem::NoSuchQuery,
                QueryProblem::NotHere,
                QueryProblem::Sql {
                    message: "COLUMN_NOT_FOUND: Column 'buton_id' cannot be resolved".to_owned(),
                },
                QueryProblem::Stopped,
                QueryProblem::TooLarge { limit: 4 << 20 },
                QueryProblem::TooManyRows,
                QueryProblem::NotAcceptable,
            ]
            .map(Problem::Query),
        ),
        Of::OneEvent => {
            all.extend(bodies());
            all.extend([
                Problem::InvalidEvent { errors: vec![violation()] },
                Problem::NotStored { answer: Map::new(), reason: Reason::NoSpace },
            ]);
        }
        Of::ManyEvents => {
            all.extend(bodies());
            all.extend([
                Problem::TooManyEvents { limit: MAX_EVENTS },
                Problem::NoValidEvent {
                    answer: outcomes(0, 1, 0, &json!({"status": "rejected", "errors": [violation()]})),
                },
                Problem::NotStored {
                    answer: outcomes(0, 0, 1, &json!({"status": "not_stored"})),
                    reason: Reason::NoSpace,
                },
            ]);
        }
    }
    let of_status = all.into_iter().map(Problem::example).filter(|(has, ..)| *has == status);
    of_status.map(|(_, name, value)| (name.to_owned(), json!({"value": value}))).collect()
}

/// Returns the errors of every request.
fn anywhere() -> Vec<Problem> {
    vec![
        Problem::MalformedRequest,
        Problem::NotFound,
        Problem::MethodNotAllowed { method: Method::PUT, takes: vec!["GET", "POST"] },
        Problem::HeadTooLarge,
        Problem::Internal,
        Problem::Busy,
    ]
}

/// Returns the errors of every request that needs credentials.
fn with_credentials(needed: Scope) -> Vec<Problem> {
    let retry_after = Duration::from_secs(30);
    vec![
        Problem::Unauthorized(NotAuthenticated::NoCredentials),
        Problem::OutOfScope { needed },
        Problem::Unauthorized(NotAuthenticated::TooManyFailures { retry_after }),
        Problem::Unauthorized(NotAuthenticated::TooManyRequests { retry_after }),
        Problem::Unavailable { reason: Reason::Unavailable },
        Problem::Busy,
    ]
}

/// Returns the errors of every request with a body.
fn bodies() -> Vec<Problem> {
    vec![
        Problem::OriginNotAllowed,
        Problem::MalformedRequest,
        Problem::BodyIncomplete,
        Problem::BodyTooSlow,
        Problem::BodyTooLarge { limit: MAX_SENT, decompressed: false },
        Problem::UnsupportedEncoding,
        Problem::CompressedAsText,
        Problem::UndecodableBody { encoding: "gzip" },
    ]
}

fn unknown_type() -> Problem {
    Problem::UnknownEventType { event_type: "buton_click".to_owned(), meant: Some("button_click".to_owned()) }
}

fn violation() -> Violation {
    Violation::new("/session_id", "is required")
}

/// Returns the answer of `POST /events` about one event.
fn outcomes(stored: u64, rejected: u64, not_stored: u64, outcome: &Value) -> Map<String, Value> {
    [
        ("stored", json!(stored)),
        ("duplicates", json!(0)),
        ("rejected", json!(rejected)),
        ("not_stored", json!(not_stored)),
        ("outcomes", json!([outcome])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}
