//! Queries of clients in Athena: each is started, and looked at again and again by its id, until it has an answer.
//!
//! They run in a workgroup of their own, and without a database of their own, so that Athena would find no table by its name alone. A
//! user has a few at once (`places`). The calls are made without Athena's SDK (`signed_calls`).

mod pages;
mod places;

use std::{sync::Arc, time::Duration};

use aws_config::SdkConfig;
use aws_runtime::auth::SigningOptions;
use aws_smithy_runtime_api::client::{
    orchestrator::{HttpResponse, OrchestratorError},
    result::SdkError,
};
use aws_smithy_types::error::ErrorMetadata;
use bytes::Bytes;
use serde_json::{Value, json};
use weir_core::{Clock, Random, Timestamp, Username, ports::PortError};

use crate::{
    errors::{malformed, port_error},
    s3_calls::{Call, S3Calls},
    signed_calls::{Calls, Request, Service, domain},
};

pub use pages::Page;
#[cfg(feature = "athena")]
pub(crate) use pages::kind;
pub use places::MOST_OF_USER;
use places::{Place, Places, Use};

/// The most rows on a page of an answer.
pub const PAGE: usize = 1000;

/// The time limit of a query. Athena has a longer one: a query is stopped when it is seen to have run for longer.
pub const LONGEST: Duration = Duration::from_mins(5);

/// Athena's message for a query that would scan more than the workgroup allows.
pub(crate) const SCAN_LIMIT: &str = "Bytes scanned limit was exceeded";

/// Why a query was not started.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// Athena does not take it, for this reason.
    #[error("{0}")]
    Refused(String),
    /// As many queries as the account may have are under way.
    #[error("Athena has too many queries")]
    TooMany,
    /// As many queries as a user may have are under way.
    #[error("the user has {MOST_OF_USER} queries under way")]
    TooManyOfUser,
    /// The call failed.
    #[error(transparent)]
    Failed(#[from] PortError),
}

/// A query that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Its text.
    pub sql: String,
    /// How far it has come.
    pub state: State,
    /// When it was started.
    pub started_at: Timestamp,
    /// The place of the answer's file: a URL of S3.
    pub rows_at: String,
}

impl Execution {
    /// Returns whether it still runs though it has had its time.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        let runs = now.millis().saturating_sub(self.started_at.millis());
        self.state == State::Running && u128::from(runs) > LONGEST.as_millis()
    }
}

/// How far a query has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has not ended.
    Running,
    /// It has an answer.
    Answered,
    /// It was stopped.
    Stopped,
    /// The workgroup's limit is lower than what it would scan.
    TooMuch,
    /// It failed, for this reason.
    Failed(String),
}

/// A workgroup for queries of clients.
#[derive(Clone)]
pub struct ClientQueries {
    calls: Calls,
    workgroup: String,
    places: Places,
    /// The bucket of the answers' files, and calls for the sizes of its objects.
    answers: (String, S3Calls),
    random: Arc<dyn Random>,
    clock: Arc<dyn Clock>,
}

type Failed = SdkError<ErrorMetadata, HttpResponse>;

impl ClientQueries {
    /// Makes the calls of a workgroup whose answers are in a bucket. A table has the places of each user's queries.
    pub(crate) fn new(
        config: &SdkConfig,
        [workgroup, table, bucket]: [&str; 3],
        random: Arc<dyn Random>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let region = config.region().map_or("", |region| region.as_ref());
        let own = format!("https://athena.{region}.{}", domain(region));
        let service = Service {
            name: "Athena",
            signed_as: "athena",
            endpoint: config.endpoint_url().unwrap_or(&own),
            options: SigningOptions::default(),
        };
        Self {
            calls: service.calls(config, content),
            workgroup: workgroup.to_owned(),
            places: Places::new(aws_sdk_dynamodb::Client::new(config), table, clock.clone()),
            answers: (format!("s3://{bucket}/"), S3Calls::of_sizes(config, bucket)),
            random,
            clock,
        }
    }

    /// Starts a query of a user; returns its id.
    pub async fn start(&self, username: &Username, sql: &str) -> Result<String, NotStarted> {
        let place = self.place(username).await?;
        let id = match self.start_in_athena(sql).await {
            Ok(id) => id,
            Err(why) => {
                // After another failure it may run all the same.
                if matches!(why, NotStarted::Refused(_) | NotStarted::TooMany) {
                    self.places.leave(username, &place).await;
                }
                return Err(why);
            }
        };
        match self.places.fill(username, &place, &id).await {
            Ok(Some(_)) => Ok(id),
            // It would run beside those that a user may have.
            not_noted => {
                self.stop(&id).await?;
                not_noted?;
                Err(PortError::unavailable("starting a query", "it took too long").into())
            }
        }
    }

    /// Takes a place for a query of a user.
    async fn place(&self, username: &Username) -> Result<Place, NotStarted> {
        let token = self.random.token();
        // Where another request is faster, one place fewer is left.
        for _ in 0..=MOST_OF_USER {
            let places = self.places.of(username).await?;
            let now = self.clock.now();
            let mut free = places.iter().find(|place| place.used(now) == Use::Free);
            for place in &places {
                if free.is_none()
                    && let Use::Query(id) = place.used(now)
                    && self.has_ended(id).await?
                {
                    free = Some(place);
                }
            }
            let Some(place) = free else { break };
            if let Some(taken) = self.places.take(username, place, &token).await? {
                return Ok(taken);
            }
        }
        Err(NotStarted::TooManyOfUser)
    }

    /// Returns whether a query has ended. One that has had its time is stopped.
    async fn has_ended(&self, id: &str) -> Result<bool, PortError> {
        let Some(execution) = self.find(id).await? else { return Ok(true) };
        if execution.is_overdue(self.clock.now()) {
            self.stop(id).await?;
            return Ok(true);
        }
        Ok(execution.state != State::Running)
    }

    /// Starts a query. A retry of the call has the same token, so that the query runs once (idempotent).
    async fn start_in_athena(&self, sql: &str) -> Result<String, NotStarted> {
        let token = self.random.token();
        let request = json!({"QueryString": sql, "WorkGroup": self.workgroup, "ClientRequestToken": token});
        let started = match self.call("StartQueryExecution", request).await {
            Ok(started) => tree(&started),
            Err(error) => return Err(not_started(&error)),
        };
        let id = started["QueryExecutionId"].as_str().map(str::to_owned);
        Ok(id.ok_or_else(|| malformed("starting a query", "Athena gives no id"))?)
    }

    /// Returns a query; `None` if the workgroup has none with this id.
    pub async fn find(&self, id: &str) -> Result<Option<Execution>, PortError> {
        const WHAT: &str = "looking at a query";
        let found = match self.call("GetQueryExecution", json!({"QueryExecutionId": id})).await {
            Ok(found) => tree(&found),
            // Of a query in another workgroup, Athena says that it may not be read.
            Err(error) if ["InvalidRequestException", "AccessDeniedException"].contains(&code(&error)) => {
                return Ok(None);
            }
            Err(error) => return Err(port_error(WHAT, &error)),
        };
        let found = &found["QueryExecution"];
        if found["WorkGroup"] != *self.workgroup {
            return Ok(None);
        }
        let status = &found["Status"];
        let reason = status["StateChangeReason"].as_str().unwrap_or_default();
        let state = match status["State"].as_str() {
            Some("SUCCEEDED") => State::Answered,
            Some("FAILED" | "CANCELLED") if reason.contains(SCAN_LIMIT) => State::TooMuch,
            Some("CANCELLED") => State::Stopped,
            Some("FAILED") => State::Failed(reason.to_owned()),
            _ => State::Running,
        };
        let sql = found["Query"].as_str().ok_or_else(|| malformed(WHAT, "Athena gives no text"))?.to_owned();
        // Seconds, with a fraction.
        let seconds = status["SubmissionDateTime"].as_f64().unwrap_or_default().max(0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is no less than 0")]
        let started_at = Timestamp::saturating((seconds * 1000.0) as u64);
        let rows_at = found["ResultConfiguration"]["OutputLocation"].as_str().unwrap_or_default().to_owned();
        Ok(Some(Execution { sql, state, started_at, rows_at }))
    }

    /// Returns the size in bytes of the file that has the answer of a query; `None` if it is not there. It is CSV with each value
    /// in quotes.
    pub async fn size(&self, execution: &Execution) -> Result<Option<u64>, PortError> {
        const WHAT: &str = "looking at an answer";
        let (bucket, sizes) = &self.answers;
        let key = execution.rows_at.strip_prefix(bucket.as_str());
        let key = key.ok_or_else(|| malformed(WHAT, "its file is not where it should be"))?;
        let Some(size) = sizes.find_named(Call::head(key), WHAT).await? else { return Ok(None) };
        let size = std::str::from_utf8(&size).ok().and_then(|size| size.parse().ok());
        size.ok_or_else(|| malformed(WHAT, "S3 gives no size")).map(Some)
    }

    /// Returns a page of the answer of a query, with so many rows at the most: the first, or the one that the page before names; `None` if
    /// its file is gone.
    pub async fn page(&self, id: &str, next: Option<&str>, rows: usize) -> Result<Option<Page>, PortError> {
        const WHAT: &str = "reading an answer";
        let mut request = json!({"QueryExecutionId": id, "MaxResults": rows});
        if let Some(next) = next {
            request["NextToken"] = next.into();
        }
        let answer = match self.call("GetQueryResults", request).await {
            Ok(answer) => answer,
            Err(error) if code(&error) == "InvalidRequestException" => return Ok(None),
            Err(error) => return Err(port_error(WHAT, &error)),
        };
        pages::page(&answer, next.is_none()).map(Some).map_err(|error| malformed(WHAT, error.to_string()))
    }

    /// Stops a query, if it has not ended.
    pub async fn stop(&self, id: &str) -> Result<(), PortError> {
        let stopped = self.call("StopQueryExecution", json!({"QueryExecutionId": id})).await;
        stopped.map(drop).map_err(|error| port_error("stopping a query", &error))
    }

    async fn call(&self, operation: &'static str, request: Value) -> Result<Bytes, Failed> {
        let request = request.to_string();
        let headers = vec![
            ("content-length", request.len().to_string()),
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("AmazonAthena.{operation}")),
        ];
        let request = Request { method: "POST", target: "/".to_owned(), headers, content: request.into() };
        self.calls.invoke(request).await
    }
}

/// Returns a short answer as a tree.
fn tree(content: &[u8]) -> Value {
    serde_json::from_slice(content).unwrap_or_default()
}

fn not_started(error: &Failed) -> NotStarted {
    match (code(error), error) {
        ("InvalidRequestException", SdkError::ServiceError(answer)) => {
            NotStarted::Refused(answer.err().message().unwrap_or_default().to_owned())
        }
        ("TooManyRequestsException", _) => NotStarted::TooMany,
        _ => NotStarted::Failed(port_error("starting a query", error)),
    }
}

/// Returns the code of the error that Athena answered with; empty if it did not answer.
fn code(error: &Failed) -> &str {
    match error {
        SdkError::ServiceError(answer) => answer.err().code().unwrap_or_default(),
        _ => "",
    }
}

/// Returns the content of an answer, or the code and the message of an error.
fn content(answer: &HttpResponse) -> Result<Bytes, OrchestratorError<ErrorMetadata>> {
    let body = answer.body().bytes().unwrap_or_default();
    if answer.status().is_success() {
        return Ok(Bytes::copy_from_slice(body));
    }
    let said = tree(body);
    let mut error = ErrorMetadata::builder();
    if let Some(code) = said["__type"].as_str() {
        error = error.code(code.rsplit('#').next().unwrap_or(code));
    }
    if let Some(message) = said["message"].as_str().or(said["Message"].as_str()) {
        error = error.message(message);
    }
    Err(OrchestratorError::operation(error.build()))
}
