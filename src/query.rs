//! `weir query`: SQL over the lake.
//!
//! - `duckdb`: on one machine, the DuckDB command line over the lake's files; `tables` defines its views, `named` says which
//!   of them a query may read; `statement` tells rows from plans, and `one_select` refuses what is no SELECT; `waiting` shows progress;
//! - `athena`: on AWS, the stack's workgroup and tables; `rows` prints the answer as DuckDB would.

#[cfg(feature = "aws")]
pub(crate) mod athena;
mod duckdb;
mod named;
mod one_select;
pub(crate) mod rows;
mod statement;
pub(crate) mod tables;
mod waiting;

use std::{
    io::{IsTerminal, Read},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};

pub(crate) use duckdb::DuckDb;

use crate::cli::{EngineName, QueryArgs};
use waiting::Waiting;

/// Runs the query.
pub(crate) async fn run(args: &QueryArgs) -> Result<ExitCode> {
    let Some(sql) = sql(args.sql.as_deref())? else {
        return match args.place.engine {
            EngineName::Embedded => duckdb::shell(args).await,
            EngineName::Aws => bail!("Athena has no shell: give a SELECT"),
        };
    };
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

/// Returns the query; `None` for DuckDB's shell, where there is a person to type.
fn sql(argument: Option<&str>) -> Result<Option<String>> {
    if argument.is_none() && std::io::stdin().is_terminal() {
        if std::io::stdout().is_terminal() {
            return Ok(None);
        }
        bail!("there is no query: give a SELECT, or pipe one to standard input");
    }
    let mut sql = String::new();
    match argument {
        None | Some("-") => {
            std::io::stdin().read_to_string(&mut sql).context("cannot read the query")?;
        }
        Some(argument) => argument.clone_into(&mut sql),
    }
    if sql.trim().is_empty() {
        bail!("the query is empty");
    }
    Ok(Some(sql))
}
