//! `weir query`: SQL over the lake.
//!
//! - `duckdb`: on one machine, the DuckDB command line over the lake's files; `tables` defines its views; `waiting` shows
//!   progress;
//! - `athena`: on AWS, the stack's workgroup and tables; `rows` prints the answer as DuckDB would.

#[cfg(feature = "aws")]
pub(crate) mod athena;
mod duckdb;
pub(crate) mod rows;
pub(crate) mod tables;
mod waiting;

use std::{io::Read, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};

pub(crate) use duckdb::DuckDb;

use crate::cli::{EngineName, QueryArgs};
use waiting::Waiting;

/// Runs the query.
pub(crate) async fn run(args: &QueryArgs) -> Result<ExitCode> {
    let sql = sql(&args.sql)?;
    match args.place.engine {
        EngineName::Embedded => duckdb::answer(&sql, args).await,
        #[cfg(feature = "aws")]
        EngineName::Aws => {
            if args.wait.is_some() {
                bail!("--wait means nothing on AWS: events are filed after the stack's BufferSeconds");
            }
            athena::answer(&sql, args.format).await
        }
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => Err(crate::cli::without_aws()),
    }
}

/// Waits until the events that a data folder's server has acknowledged are filed, and reports those that are not.
pub(crate) async fn wait_for_filing(data: &Path, at_most: Duration) -> Result<()> {
    let waiting = Waiting::start();
    let waited = duckdb::wait_for_filing(data, at_most, &waiting).await;
    waiting.clear();
    waited
}

fn sql(argument: &str) -> Result<String> {
    let mut sql = argument.to_owned();
    if argument == "-" {
        sql.clear();
        std::io::stdin().read_to_string(&mut sql).context("cannot read the query")?;
    }
    if sql.trim().is_empty() {
        bail!("the query is empty");
    }
    Ok(sql)
}
