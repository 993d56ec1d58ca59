//! `weir query` on AWS: Athena answers, in the stack's workgroup and from its tables.
//!
//! Athena charges by bytes scanned, so that is printed at the end. A query runs on by itself, so it is stopped once the
//! caller no longer waits for the answer.

use std::{cell::Cell, io, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use weir_aws::athena::{Athena, QueryState, is_select};

use super::rows::{Column, Printer, Row};
use crate::{aws, cli::Format, counted::counted, signals::Signals, table};

/// How long stopping a query may take: the user is waiting for the shell.
const STOPPING: Duration = Duration::from_secs(10);

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
    if !is_select(sql) {
        bail!("the lake is read-only: a query is a SELECT");
    }
    let ended = ask(sql, &mut Printing { format, printer: None }).await?;
    Ok(ended.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// Asks Athena, and gives the answer to a sink. Returns the exit code if a signal came meanwhile: the query is stopped then.
pub(crate) async fn ask(sql: &str, sink: &mut impl Sink) -> Result<Option<u8>> {
    let athena = aws::athena().await?;
    // From here on a signal does not end the process by itself: no abandoned query may keep running.
    let mut signals = Signals::listen(None)?;
    let progress = Progress::new();
    let query = athena.start(sql).await?;
    let ended = tokio::select! {
        ended = athena.wait(&query, |state, scanned| progress.is(state, scanned)) => ended,
        code = signals.next() => {
            progress.clear();
            tokio::select! {
                () = stop(&athena, &query) => {}
                _ = signals.next() => {}
            }
            eprintln!("weir: Athena had scanned {}", in_words(progress.scanned.get()));
            return Ok(Some(code));
        }
    };
    // Only the answer is left to read, and there is nothing to stop any more.
    let at_once = tokio::spawn(async move { std::process::exit(signals.next().await.into()) });
    let answered = match ended {
        Ok(()) => read(&athena, &query, sink, &progress).await,
        Err(error) => {
            if error.may_go_on() {
                progress.clear();
                stop(&athena, &query).await;
            }
            Err(error.into())
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

/// Stops a query, and reports the outcome.
async fn stop(athena: &Athena, query: &str) {
    let failure = match tokio::time::timeout(STOPPING, athena.stop(query)).await {
        Ok(Ok(())) => return eprintln!("weir: the query was stopped"),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "stopping it takes too long".to_owned(),
    };
    eprintln!("weir: the query {query} may go on in Athena: {failure}");
}

/// Gives the rows to the sink, page by page.
async fn read(athena: &Athena, query: &str, sink: &mut impl Sink, progress: &Progress) -> Result<()> {
    let mut rows = athena.rows(query);
    let mut count: Option<usize> = None;
    while let Some(page) = rows.next().await? {
        if count.is_none() {
            if sink.shows_rows() {
                progress.clear();
            }
            if !sink.begin(rows.columns().to_vec())? {
                return Ok(());
            }
        }
        let so_far = count.unwrap_or_default() + page.len();
        count = Some(so_far);
        progress.say(&format!("reading the answer, {} so far", counted(so_far as u64, "row", "rows")));
        for row in page {
            if !sink.row(row)? {
                return Ok(());
            }
        }
        if !sink.pause()? {
            return Ok(());
        }
    }
    progress.clear();
    sink.end()
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

    fn is(&self, state: QueryState, scanned: u64) {
        self.scanned.set(scanned);
        self.say(match state {
            QueryState::Waiting => "waiting",
            QueryState::Queued => "waiting for its turn",
            QueryState::Running => "running",
        });
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
