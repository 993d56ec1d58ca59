//! The `weir` command: all of Weir in one process, and what its operator needs beside it.
//!
//! - `cli`: what can be typed;
//! - `serve`: the server: the authorizer, the collector and the fan-out over the embedded engine;
//! - `user`: who has an account;
//! - `query`: SQL over the lake;
//! - `catalog`: the event types, compiled in or from a folder;
//! - `table`: rows of text for a terminal;
//! - `logs`: what is said on standard error.

mod catalog;
mod cli;
mod logs;
mod query;
mod serve;
mod table;
mod user;

use std::process::ExitCode;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let Cli { command, data, catalog, serve } = cli::parse();
    logs::start();
    let run = async move {
        match command {
            None => serve::run(&data.data, catalog.catalog.as_deref(), serve).await,
            Some(Command::Serve(serve)) => serve::run(&data.data, catalog.catalog.as_deref(), serve).await,
            Some(Command::User(command)) => user::run(&data.data, command).await,
            Some(Command::Query(query)) => query::run(&data.data, catalog.catalog.as_deref(), &query).await,
        }
    };
    // Only a system that is out of threads or files refuses to start a runtime.
    let runtime = tokio::runtime::Runtime::new();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            // The whole chain in one line: each layer says its own part once.
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}
