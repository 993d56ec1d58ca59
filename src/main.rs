//! The `weir` command: all of Weir in one process, and what its operator needs beside it.
//!
//! - `cli`: what can be typed;
//! - `serve`: the server: the authorizer, the collector and the fan-out over the embedded engine;
//! - `user`: who has an account;
//! - `query`: SQL over the lake;
//! - `replay`: filing batches again;
//! - `aws`: the engine on AWS, as the environment names it (with the feature `aws`);
//! - `catalog`: the event types, compiled in or from a folder;
//! - `table`: rows of text for a terminal;
//! - `logs`: what is said on standard error.

#[cfg(feature = "aws")]
mod aws;
mod catalog;
mod cli;
mod logs;
mod query;
mod replay;
mod serve;
mod table;
mod user;

use std::process::ExitCode;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let Cli { command, data, catalog, engine, serve } = cli::parse();
    logs::start();
    let run = async move {
        let (data, catalog, engine) = (data.data.as_path(), catalog.catalog.as_deref(), engine.engine);
        match command {
            None => serve::run(engine, data, catalog, serve).await,
            Some(Command::Serve(serve)) => serve::run(engine, data, catalog, serve).await,
            Some(Command::User(command)) => user::run(engine, data, command).await,
            Some(Command::Query(query)) => query::run(engine, data, catalog, &query).await,
            Some(Command::Replay(replay)) => replay::run(engine, data, &replay).await,
        }
    };
    // Only a system that is out of threads or files refuses to start a runtime.
    let runtime = tokio::runtime::Runtime::new();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weir: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes in one line; what a layer has said already is not said again.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let inner = anyhow::anyhow!("no space").context("writing x: no space").context("filing");
        assert_eq!(told(&inner), "filing: writing x: no space");
    }
}
