//! Queries of clients in Athena: each is started, and looked at again and again by its id, until it has an answer.
//!
//! They run in a workgroup of their own, and without a database of their own, so that Athena would find no table by its name alone.
//! The calls are made without Athena's SDK (`signed_calls`).

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_runtime::auth::SigningOptions;
use aws_smithy_runtime_api::client::{
    orchestrator::{HttpResponse, OrchestratorError},
    result::SdkError,
};
use aws_smithy_types::error::ErrorMetadata;
use bytes::Bytes;
use serde_json::{Value, json};
use weir_core::{
    Random, Timestamp,
    ports::PortError,
    sql::{Column, Kind, Row},
};

use crate::{
    errors::{malformed, port_error},
    signed_calls::{Calls, Request, Service, domain},
};

/// The most rows on a page of an answer.
const PAGE: u64 = 1000;

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

/// A page of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The columns.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Row>,
    /// What the next page is asked for by, if there is one.
    pub next: Option<String>,
}

/// A workgroup for queries of clients.
#[derive(Clone)]
pub struct ClientQueries {
    calls: Calls,
    workgroup: String,
    random: Arc<dyn Random>,
}

type Failed = SdkError<ErrorMetadata, HttpResponse>;

impl ClientQueries {
    pub(crate) fn new(config: &SdkConfig, workgroup: &str, random: Arc<dyn Random>) -> Self {
        let region = config.region().map_or("", |region| region.as_ref());
        let own = format!("https://athena.{region}.{}", domain(region));
        let service = Service {
            name: "Athena",
            signed_as: "athena",
            endpoint: config.endpoint_url().unwrap_or(&own),
            options: SigningOptions::default(),
        };
        Self { calls: service.calls(config, content), workgroup: workgroup.to_owned(), random }
    }

    /// Starts a query; returns its id. A retry of the call has the same token, so that the query runs once (idempotent).
    pub async fn start(&self, sql: &str) -> Result<String, NotStarted> {
        let token = self.random.token();
        let request = json!({"QueryString": sql, "WorkGroup": self.workgroup, "ClientRequestToken": token});
        let started = match self.call("StartQueryExecution", request).await {
            Ok(started) => started,
            Err(error) => return Err(not_started(&error)),
        };
        let id = started["QueryExecutionId"].as_str().map(str::to_owned);
        Ok(id.ok_or_else(|| malformed("starting a query", "Athena gives no id"))?)
    }

    /// Returns a query; `None` if the workgroup has none with this id.
    pub async fn find(&self, id: &str) -> Result<Option<Execution>, PortError> {
        const WHAT: &str = "looking at a query";
        let found = match self.call("GetQueryExecution", json!({"QueryExecutionId": id})).await {
            Ok(found) => found,
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
        Ok(Some(Execution { sql, state, started_at }))
    }

    /// Returns a page of the answer of a query: the first, or the one that the page before names.
    pub async fn page(&self, id: &str, next: Option<&str>) -> Result<Page, PortError> {
        let mut request = json!({"QueryExecutionId": id, "MaxResults": PAGE});
        if let Some(next) = next {
            request["NextToken"] = next.into();
        }
        let answer = self.call("GetQueryResults", request).await;
        let answer = answer.map_err(|error| port_error("reading an answer", &error))?;
        let set = &answer["ResultSet"];
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let column = |info: &Value| {
            let text = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
            Column { name: text("Name"), kind: kind(&text("Type")) }
        };
        let columns: Vec<Column> = list(&set["ResultSetMetadata"]["ColumnInfo"]).iter().map(column).collect();
        let cell = |cell: &Value| cell["VarCharValue"].as_str().map(str::to_owned);
        let row = |row: &Value| -> Row { list(&row["Data"]).iter().map(cell).collect() };
        let mut rows: Vec<Row> = list(&set["Rows"]).iter().map(row).collect();
        // The first row of the first page has the names of the columns.
        let is_header = |row: &Row| {
            let names = columns.iter().map(|column| Some(column.name.as_str()));
            row.iter().map(Option::as_deref).eq(names)
        };
        if next.is_none() && rows.first().is_some_and(is_header) {
            rows.remove(0);
        }
        Ok(Page { columns, rows, next: answer["NextToken"].as_str().map(str::to_owned) })
    }

    /// Stops a query, if it has not ended.
    pub async fn stop(&self, id: &str) -> Result<(), PortError> {
        let stopped = self.call("StopQueryExecution", json!({"QueryExecutionId": id})).await;
        stopped.map(drop).map_err(|error| port_error("stopping a query", &error))
    }

    async fn call(&self, operation: &'static str, request: Value) -> Result<Value, Failed> {
        let request = request.to_string();
        let headers = vec![
            ("content-length", request.len().to_string()),
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("AmazonAthena.{operation}")),
        ];
        let request = Request { method: "POST", target: "/".to_owned(), headers, content: request.into() };
        let content = self.calls.invoke(request).await?;
        Ok(serde_json::from_slice(&content).unwrap_or_default())
    }
}

/// Returns the type of a column's texts by the name of its type in Athena.
pub(crate) fn kind(name: &str) -> Kind {
    match name {
        "tinyint" | "smallint" | "integer" | "int" | "bigint" | "float" | "real" | "double" | "boolean" => {
            Kind::Number
        }
        "json" => Kind::Json,
        _ => Kind::Text,
    }
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
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut error = ErrorMetadata::builder();
    if let Some(code) = said["__type"].as_str() {
        error = error.code(code.rsplit('#').next().unwrap_or(code));
    }
    if let Some(message) = said["message"].as_str().or(said["Message"].as_str()) {
        error = error.message(message);
    }
    Err(OrchestratorError::operation(error.build()))
}
