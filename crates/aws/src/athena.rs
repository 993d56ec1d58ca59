//! Athena: queries in a workgroup, over the tables of a database. A query runs on by itself, so a caller that no longer waits
//! for the answer stops it.

use std::{error::Error, time::Duration};

use aws_config::{SdkConfig, timeout::TimeoutConfig};
use aws_sdk_athena::{
    Client,
    config::Builder,
    operation::get_query_results::{GetQueryResultsError, GetQueryResultsOutput},
    types::{
        ColumnInfo, QueryExecutionContext, QueryExecutionState, QueryExecutionStatistics,
        QueryExecutionStatus, ResultSetMetadata,
    },
};
use aws_smithy_async::future::pagination_stream::PaginationStream;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::Instant;
use weir_core::sql::{Column, Row};

use crate::{
    errors::explained,
    queries::{SCAN_LIMIT, kind},
};

/// The first and the longest polling interval.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a page of the answer may take: a thousand rows, of any width.
const PAGE: Duration = Duration::from_mins(2);

/// Why Athena gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AthenaError {
    /// A call failed. What became of the query is unknown.
    #[error("{what}: {why}")]
    Call {
        /// What was to be done.
        what: &'static str,
        /// The service's message, or what went wrong on the way.
        why: String,
    },
    /// An answer of the service lacks what it always has.
    #[error("{0}")]
    Malformed(&'static str),
    /// The workgroup's limit is lower than what the query would scan.
    #[error(
        "the query would scan more than the workgroup {0} lets one query scan: name the user, year, month and day in WHERE, or \
         raise the stack's ScanLimitMB"
    )]
    TooMuch(String),
    /// The caller has no time left to wait. The query was stopped, unless that failed.
    #[error("Athena takes longer than the function may run; the query was stopped")]
    TooSlow,
    /// The query was cancelled, for this reason.
    #[error("the query was cancelled{}", after_colon(.0))]
    Cancelled(String),
    /// The query failed, for this reason.
    #[error("the query failed{}", if .0.is_empty() { ", and Athena does not say why".to_owned() } else { after_colon(.0) })]
    Failed(String),
}

impl AthenaError {
    /// Whether the query may go on running.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        matches!(self, Self::Call { .. } | Self::Malformed(_))
    }
}

fn after_colon(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// How a query that has not ended is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryState {
    /// It has not begun, or nothing is known of it.
    Waiting,
    /// It waits for others of the account.
    Queued,
    /// It runs.
    Running,
}

/// A workgroup, and the database that queries see.
#[derive(Debug, Clone)]
pub struct Athena {
    client: Client,
    /// A client for answers, which may be large.
    reading: Client,
    workgroup: String,
    database: String,
}

impl Athena {
    pub(crate) fn new(config: &SdkConfig, workgroup: &str, database: &str) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(PAGE).build();
        let reading = Builder::from(config).timeout_config(timeouts).build();
        Self {
            client: Client::new(config),
            reading: Client::from_conf(reading),
            workgroup: workgroup.to_owned(),
            database: database.to_owned(),
        }
    }

    /// Starts a query; returns its id. The SDK retries with the same token, so the query runs once (idempotent).
    pub async fn start(&self, sql: &str) -> Result<String, AthenaError> {
        let context = QueryExecutionContext::builder().database(&self.database).build();
        let start = self.client.start_query_execution().query_string(sql).work_group(&self.workgroup);
        let started = start.query_execution_context(context).send().await;
        let started = started.map_err(|error| failed("Athena does not take the query", &error))?;
        started
            .query_execution_id
            .ok_or(AthenaError::Malformed("Athena took the query and did not say how it is called"))
    }

    /// Waits until a query is answered. `doing` gets its state and the bytes that it has scanned, again and again.
    pub async fn wait(&self, query: &str, mut doing: impl FnMut(QueryState, u64)) -> Result<(), AthenaError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let asked = self.client.get_query_execution().query_execution_id(query).send().await;
            let asked =
                asked.map_err(|error| failed("Athena does not say how the query is doing", &error))?;
            let execution =
                asked.query_execution.ok_or(AthenaError::Malformed("Athena says nothing of the query"))?;
            let scanned =
                execution.statistics().and_then(QueryExecutionStatistics::data_scanned_in_bytes).unwrap_or(0);
            let scanned = u64::try_from(scanned).unwrap_or(0);
            let reason = execution.status().and_then(QueryExecutionStatus::state_change_reason);
            let reason = reason.unwrap_or_default();
            let (state, ended) = match execution.status().and_then(QueryExecutionStatus::state) {
                Some(QueryExecutionState::Succeeded) => (QueryState::Running, Some(Ok(()))),
                Some(QueryExecutionState::Failed | QueryExecutionState::Cancelled)
                    if reason.contains(SCAN_LIMIT) =>
                {
                    (QueryState::Running, Some(Err(AthenaError::TooMuch(self.workgroup.clone()))))
                }
                Some(QueryExecutionState::Failed) => {
                    (QueryState::Running, Some(Err(AthenaError::Failed(reason.to_owned()))))
                }
                Some(QueryExecutionState::Cancelled) => {
                    (QueryState::Running, Some(Err(AthenaError::Cancelled(reason.to_owned()))))
                }
                Some(QueryExecutionState::Queued) => (QueryState::Queued, None),
                Some(_) => (QueryState::Running, None),
                None => (QueryState::Waiting, None),
            };
            doing(state, scanned);
            if let Some(ended) = ended {
                return ended;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// Starts a query and waits for its end. At `ends`, a query that still runs is stopped. Returns its id, and the bytes
    /// that it scanned.
    pub async fn ask_until(&self, sql: &str, ends: Instant) -> Result<(String, u64), AthenaError> {
        let query = self.start(sql).await?;
        let mut scanned = 0;
        let waiting = self.wait(&query, |_, bytes| scanned = bytes);
        let error = match tokio::time::timeout_at(ends, waiting).await {
            Ok(Ok(())) => return Ok((query, scanned)),
            Ok(Err(error)) => error,
            Err(_) => AthenaError::TooSlow,
        };
        let may_go_on = error.may_go_on() || error == AthenaError::TooSlow;
        if may_go_on && let Err(error) = self.stop(&query).await {
            tracing::warn!(query, %error, "a query may go on in Athena");
        }
        Err(error)
    }

    /// Runs a query, and returns all rows of its answer.
    pub async fn rows_until(&self, sql: &str, ends: Instant) -> Result<Vec<Row>, AthenaError> {
        let (query, _) = self.ask_until(sql, ends).await?;
        let (mut pages, mut rows) = (self.rows(&query), Vec::new());
        while let Some(page) = pages.next().await? {
            rows.extend(page);
        }
        Ok(rows)
    }

    /// Stops a query.
    pub async fn stop(&self, query: &str) -> Result<(), AthenaError> {
        let stopped = self.client.stop_query_execution().query_execution_id(query).send().await;
        stopped.map(drop).map_err(|error| failed("it cannot be stopped", &error))
    }

    /// Returns the rows of a query that was answered.
    #[must_use]
    pub fn rows(&self, query: &str) -> Rows {
        let pages = self.reading.get_query_results().query_execution_id(query).into_paginator().send();
        Rows { pages, columns: None }
    }
}

type Results = PaginationStream<Result<GetQueryResultsOutput, SdkError<GetQueryResultsError, HttpResponse>>>;

/// The rows of an answer, page by page.
pub struct Rows {
    pages: Results,
    columns: Option<Vec<Column>>,
}

impl Rows {
    /// Returns the next rows; `None` after the last ones. The columns are known then.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, AthenaError> {
        let Some(page) = self.pages.next().await else {
            let any = self.columns.is_some();
            return if any { Ok(None) } else { Err(AthenaError::Malformed("Athena gives no answer")) };
        };
        let page = page.map_err(|error| failed("Athena does not give the answer", &error))?;
        let set = page.result_set.ok_or(AthenaError::Malformed("Athena gives an answer without rows"))?;
        let mut rows: Vec<Row> = set
            .rows()
            .iter()
            .map(|row| row.data().iter().map(|datum| datum.var_char_value().map(str::to_owned)).collect())
            .collect();
        if self.columns.is_none() {
            let info = set.result_set_metadata().map(ResultSetMetadata::column_info).unwrap_or_default();
            // The first row of the first page has the column names.
            if rows.first().is_some_and(|row| is_header(row, info)) {
                rows.remove(0);
            }
            self.columns = Some(info.iter().map(column).collect());
        }
        Ok(Some(rows))
    }

    /// Returns the columns, once there was a page.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        self.columns.as_deref().unwrap_or_default()
    }
}

/// Whether a statement only reads. The first word decides: no writing statement begins with one of these
/// (<https://trino.io/docs/current/sql.html>).
#[must_use]
pub fn is_select(sql: &str) -> bool {
    let word: String = beginning(sql).chars().take_while(char::is_ascii_alphabetic).collect();
    ["SELECT", "WITH", "VALUES", "TABLE"].contains(&word.to_ascii_uppercase().as_str())
}

/// Returns the text from its first word on: without leading spaces, comments and parentheses.
fn beginning(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        let (text, end) = match (sql.strip_prefix("--"), sql.strip_prefix("/*")) {
            (Some(text), _) => (text, "\n"),
            (_, Some(text)) => (text, "*/"),
            (None, None) => return sql,
        };
        sql = text.split_once(end).map_or("", |(_, rest)| rest);
    }
}

fn is_header(row: &Row, columns: &[ColumnInfo]) -> bool {
    row.iter().map(Option::as_deref).eq(columns.iter().map(|column| Some(column.name())))
}

fn column(info: &ColumnInfo) -> Column {
    Column { name: info.name().to_owned(), kind: kind(info.r#type()) }
}

fn failed<E>(what: &'static str, error: &SdkError<E, HttpResponse>) -> AthenaError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    AthenaError::Call { what, why: explained(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_is_let_through() {
        for sql in [
            "SELECT 1",
            "  select 1",
            "-- of today\n/* and\nmore */ (WITH a AS (SELECT 1) SELECT * FROM a)",
            "VALUES 1",
            "((select 1))",
        ] {
            assert!(is_select(sql), "{sql}");
        }
        for sql in [
            "DROP TABLE button_click",
            "INSERT INTO a SELECT 1",
            "CREATE TABLE a AS SELECT 1",
            "UNLOAD (SELECT 1) TO 's3://a/'",
            "-- SELECT\nDELETE FROM a",
            "/* SELECT */ MERGE INTO a",
            "EXPLAIN ANALYZE INSERT INTO a SELECT 1",
            "selection",
            "-- SELECT 1",
            "/* SELECT 1",
            "/*/ SELECT */ DROP TABLE a",
            "",
        ] {
            assert!(!is_select(sql), "{sql}");
        }
    }
}
