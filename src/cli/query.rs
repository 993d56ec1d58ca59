//! What can be typed after `weir query`.

use std::time::Duration;

use clap::Args;

use super::{
    options::{CatalogArgs, Format, Place},
    values::duration,
};

#[derive(Debug, Args)]
#[command(
    after_help = "Tables: one for each event type, with the fields of its schema and event_id, time, received_at and \
    occurred_at (ms), timestamp and date (the event time in UTC), username, year, month, day, hour; `rejected`, what failed validation; `events`, everything, \
    with the whole event as JSON (event->>'field').\n\nWith --engine aws, Athena answers, from the tables of the stack: \
    the same ones but `events`. It wants username = '...' in WHERE, and year, month and day, or it looks into every \
    hour there is. What it scanned, which is what it costs, is printed to standard error; Ctrl-C stops it.\n\n\
    Examples:\n  weir query \"SELECT username, button_id, count(*) FROM button_click GROUP BY 1, 2\"\n  weir query < report.sql\n  \
    weir query\n  weir query --engine aws \
    \"SELECT * FROM rejected WHERE username='ann' AND year=2026 AND month=11\""
)]
pub(crate) struct QueryArgs {
    /// One SELECT, in DuckDB's SQL (or EXPLAIN and one), or Athena's (Trino) on AWS; - reads it from standard input, as does a pipe without it. On
    /// a terminal, DuckDB's shell opens without it.
    // It may begin with a comment: see `order::sql_is_no_option`.
    pub(crate) sql: Option<String>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    /// On one machine: how long to wait until the server has filed what it acknowledged before [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}
