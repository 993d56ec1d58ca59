//! `weir query` on AWS: Athena answers, in the stack's workgroup and from its tables.
//!
//! Athena charges by bytes scanned, so that is printed at the end. A query runs on by itself, so it is stopped once the
//! caller no longer waits for the answer.

use std::{cell::Cell, error::Error, io, process::ExitCode, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_athena::{
    Client,
    config::{Builder, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::{
        ColumnInfo, QueryExecutionContext, QueryExecutionState, QueryExecutionStatistics,
        QueryExecutionStatus, ResultSetMetadata,
    },
};
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

use super::rows::{Column, Kind, Printer, Row};
use crate::{
    aws::{self, Queries},
    cli::Format,
    counted::counted,
    signals::Signals,
    table,
};

/// The first and the longest polling interval.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long stopping a query may take: the user is waiting for the shell.
const STOPPING: Duration = Duration::from_secs(10);

/// How long a page of the answer may take: a thousand rows, of any width.
const PAGE: Duration = Duration::from_mins(2);

/// Athena's message for a query that would scan more than the workgroup allows.
const LIMIT: &str = "Bytes scanned limit was exceeded";

/// A workgroup, and the database that queries see.
struct Athena {
    client: Client,
    /// A client for answers, which may be large.
    reading: Client,
    workgroup: String,
    database: String,
}

/// How a query ended.
enum Ended {
    Answered,
    /// It failed or was cancelled, for this reason.
    Not(anyhow::Error),
}

/// Takes an answer, row by row. Each step returns whether more is wanted.
pub(crate) trait Sink {
    /// Whether the rows are shown as they come, so that the progress must go before.
    fn shows_rows(&self) -> bool;

    /// Takes the columns, before all rows.
    fn begin(&mut self, columns: Vec<Column>) -> Result<bool>;

    fn row(&mut self, row: Row) -> Result<bool>;

    /// Called when a page has been given.
    fn pause(&mut self) -> Result<bool>;

    /// Called when all rows have been given.
    fn end(&mut self) -> Result<()>;
}

/// Prints Athena's answer.
pub(super) async fn answer(sql: &str, format: Format) -> Result<ExitCode> {
    refuse_unless_select(sql)?;
    let ended = ask(sql, &mut Printing { format, printer: None }).await?;
    Ok(ended.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// Asks Athena, and gives the answer to a sink. Returns the exit code if a signal came meanwhile: the query is stopped then.
pub(crate) async fn ask(sql: &str, sink: &mut impl Sink) -> Result<Option<u8>> {
    let athena = Athena::new(aws::queries().await?);
    // From here on a signal does not end the process by itself: no abandoned query may keep running.
    let mut signals = Signals::listen(None)?;
    let progress = Progress::new();
    let query = athena.start(sql).await?;
    let ended = tokio::select! {
        ended = athena.wait(&query, &progress) => ended,
        code = signals.next() => {
            progress.clear();
            tokio::select! {
                () = athena.stop(&query) => {}
                _ = signals.next() => {}
            }
            eprintln!("weir: Athena had scanned {}", in_words(progress.scanned.get()));
            return Ok(Some(code));
        }
    };
    // Only the answer is left to read, and there is nothing to stop any more.
    let at_once = tokio::spawn(async move { std::process::exit(signals.next().await.into()) });
    let answered = match ended {
        Ok(Ended::Answered) => athena.read(&query, sink, &progress).await,
        Ok(Ended::Not(why)) => Err(why),
        Err(error) => {
            progress.clear();
            athena.stop(&query).await;
            Err(error)
        }
    };
    progress.clear();
    let scanned = progress.scanned.get();
    if answered.is_ok() || scanned > 0 {
        eprintln!("weir: Athena scanned {}", in_words(scanned));
    }
    at_once.abort();
    answered.map(|()| None)
}

/// Refuses statements that write. The first word decides: no writing statement begins with one of these
/// (<https://trino.io/docs/current/sql.html>).
pub(crate) fn refuse_unless_select(sql: &str) -> Result<()> {
    let word: String = beginning(sql).chars().take_while(char::is_ascii_alphabetic).collect();
    if !["SELECT", "WITH", "VALUES", "TABLE"].contains(&word.to_ascii_uppercase().as_str()) {
        bail!("the lake is read-only: a query is a SELECT");
    }
    Ok(())
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

impl Athena {
    fn new(Queries { aws, workgroup, database }: Queries) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(PAGE).build();
        let reading = Builder::from(aws.config()).timeout_config(timeouts).build();
        Self { client: Client::new(aws.config()), reading: Client::from_conf(reading), workgroup, database }
    }

    /// Starts a query; returns its id. The SDK retries with the same token, so the query runs once (idempotent).
    async fn start(&self, sql: &str) -> Result<String> {
        let context = QueryExecutionContext::builder().database(&self.database).build();
        let start = self.client.start_query_execution().query_string(sql).work_group(&self.workgroup);
        let started = start.query_execution_context(context).send().await;
        let started = started.map_err(|error| told("Athena does not take the query", &error))?;
        started.query_execution_id.context("Athena took the query and did not say how it is called")
    }

    /// Waits for the end. An error means that the outcome is unknown.
    async fn wait(&self, query: &str, progress: &Progress) -> Result<Ended> {
        let mut pause = FIRST_PAUSE;
        loop {
            let asked = self.client.get_query_execution().query_execution_id(query).send().await;
            let asked = asked.map_err(|error| told("Athena does not say how the query is doing", &error))?;
            let execution = asked.query_execution.context("Athena says nothing of the query")?;
            let scanned =
                execution.statistics().and_then(QueryExecutionStatistics::data_scanned_in_bytes).unwrap_or(0);
            progress.scanned.set(u64::try_from(scanned).unwrap_or(0));
            match execution.status().and_then(QueryExecutionStatus::state) {
                Some(QueryExecutionState::Succeeded) => return Ok(Ended::Answered),
                Some(state @ (QueryExecutionState::Failed | QueryExecutionState::Cancelled)) => {
                    let reason = execution.status().and_then(QueryExecutionStatus::state_change_reason);
                    return Ok(Ended::Not(self.why(state, reason.unwrap_or_default())));
                }
                state => progress.say(state.map_or("waiting", |state| match state {
                    QueryExecutionState::Queued => "waiting for its turn",
                    _ => "running",
                })),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    fn why(&self, state: &QueryExecutionState, reason: &str) -> anyhow::Error {
        if reason.contains(LIMIT) {
            return anyhow!(
                "the query would scan more than the workgroup {} lets one query scan: name the user, year, month and \
                 day in WHERE, or raise the stack's ScanLimitMB",
                self.workgroup
            );
        }
        match (state, reason) {
            (QueryExecutionState::Cancelled, "") => anyhow!("the query was cancelled"),
            (QueryExecutionState::Cancelled, reason) => anyhow!("the query was cancelled: {reason}"),
            (_, "") => anyhow!("the query failed, and Athena does not say why"),
            (_, reason) => anyhow!("the query failed: {reason}"),
        }
    }

    /// Stops a query, and reports the outcome.
    async fn stop(&self, query: &str) {
        let stopping = self.client.stop_query_execution().query_execution_id(query).send();
        let failure = match tokio::time::timeout(STOPPING, stopping).await {
            Ok(Ok(_)) => return eprintln!("weir: the query was stopped"),
            Ok(Err(error)) => weir_aws::explained(&error),
            Err(_) => "stopping it takes too long".to_owned(),
        };
        eprintln!("weir: the query {query} may go on in Athena: {failure}");
    }

    /// Gives the rows to the sink, page by page.
    async fn read(&self, query: &str, sink: &mut impl Sink, progress: &Progress) -> Result<()> {
        let mut pages = self.reading.get_query_results().query_execution_id(query).into_paginator().send();
        let mut count: Option<usize> = None;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| told("Athena does not give the answer", &error))?;
            let set = page.result_set.context("Athena gives an answer without rows")?;
            let mut rows: Vec<Row> = set
                .rows()
                .iter()
                .map(|row| row.data().iter().map(|datum| datum.var_char_value().map(str::to_owned)).collect())
                .collect();
            if count.is_none() {
                let info = set.result_set_metadata().map(ResultSetMetadata::column_info).unwrap_or_default();
                // The first row of the first page has the column names.
                if rows.first().is_some_and(|row| is_header(row, info)) {
                    rows.remove(0);
                }
                if sink.shows_rows() {
                    progress.clear();
                }
                if !sink.begin(info.iter().map(column).collect())? {
                    return Ok(());
                }
            }
            let so_far = count.unwrap_or_default() + rows.len();
            count = Some(so_far);
            progress.say(&format!("reading the answer, {} so far", counted(so_far as u64, "row", "rows")));
            for row in rows {
                if !sink.row(row)? {
                    return Ok(());
                }
            }
            if !sink.pause()? {
                return Ok(());
            }
        }
        progress.clear();
        count.context("Athena gives no answer")?;
        sink.end()
    }
}

/// Prints an answer. It has enough once the reader has closed the pipe.
struct Printing {
    format: Format,
    printer: Option<Printer<io::Stdout>>,
}

impl Printing {
    fn with(&mut self, print: impl FnOnce(&mut Printer<io::Stdout>) -> io::Result<()>) -> Result<bool> {
        let printer = self.printer.as_mut().context("Athena gives rows without columns")?;
        Ok(enough(print(printer))?.is_some())
    }
}

impl Sink for Printing {
    fn shows_rows(&self) -> bool {
        self.format != Format::Table
    }

    fn begin(&mut self, columns: Vec<Column>) -> Result<bool> {
        let made = enough(Printer::new(io::stdout(), self.format, columns))?;
        self.printer = made.map(|printer| printer.fitted(table::terminal_width()));
        Ok(self.printer.is_some())
    }

    fn row(&mut self, row: Row) -> Result<bool> {
        self.with(|printer| printer.row(row))
    }

    fn pause(&mut self) -> Result<bool> {
        self.with(Printer::flush)
    }

    fn end(&mut self) -> Result<()> {
        enough(self.printer.take().map_or(Ok(()), Printer::finish)).map(|_| ())
    }
}

/// Returns `None` if the reader closed the pipe early (`| head`), which is not a failure.
fn enough<T>(printed: io::Result<T>) -> Result<Option<T>> {
    match printed {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(error).context("the answer cannot be printed"),
    }
}

fn is_header(row: &Row, columns: &[ColumnInfo]) -> bool {
    row.iter().map(Option::as_deref).eq(columns.iter().map(|column| Some(column.name())))
}

fn column(info: &ColumnInfo) -> Column {
    let kind = match info.r#type() {
        "tinyint" | "smallint" | "integer" | "int" | "bigint" | "float" | "real" | "double" | "boolean" => {
            Kind::Number
        }
        "json" => Kind::Json,
        _ => Kind::Text,
    };
    Column { name: info.name().to_owned(), kind }
}

fn told<E>(what: &str, error: &SdkError<E>) -> anyhow::Error
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    anyhow!("{what}: {}", weir_aws::explained(error))
}

/// Formats bytes and their cost: Athena charges 5 dollars for a TB (docs/DEPLOY.md), so 2 GB are a cent.
fn in_words(bytes: u64) -> String {
    let cost = match (bytes + 1_000_000_000) / 2_000_000_000 {
        0 => "less than a cent".to_owned(),
        1 => "about a cent".to_owned(),
        cents @ 2..100 => format!("about {cents} cents"),
        cents => format!("about ${}.{:02}", cents / 100, cents % 100),
    };
    format!("{}: {cost}, at $5 a TB", ByteSize::b(bytes).display().si())
}

/// The progress display; absent if standard error is not a terminal.
struct Progress {
    bar: ProgressBar,
    scanned: Cell<u64>,
}

impl Progress {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        // The template is a constant.
        let style = ProgressStyle::with_template("{spinner} Athena, {elapsed}: {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message("asking");
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, scanned: Cell::new(0) }
    }

    fn say(&self, what: &str) {
        let scanned = ByteSize::b(self.scanned.get()).display().si();
        self.bar.set_message(format!("{what}, {scanned} scanned"));
    }

    /// Shows nothing from now on.
    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
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
            assert!(refuse_unless_select(sql).is_ok(), "{sql}");
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
            assert!(refuse_unless_select(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn what_was_scanned_is_said_with_what_it_costs() {
        assert_eq!(in_words(0), "0 B: less than a cent, at $5 a TB");
        assert_eq!(in_words(12_300_000), "12.3 MB: less than a cent, at $5 a TB");
        assert_eq!(in_words(999_999_999), "1000.0 MB: less than a cent, at $5 a TB");
        assert_eq!(in_words(1_000_000_000), "1.0 GB: about a cent, at $5 a TB");
        assert_eq!(in_words(2_100_000_000), "2.1 GB: about a cent, at $5 a TB");
        assert_eq!(in_words(10_000_000_000), "10.0 GB: about 5 cents, at $5 a TB");
        assert_eq!(in_words(1_000_000_000_000), "1.0 TB: about $5.00, at $5 a TB");
    }
}
