//! The `weir` command: all of Weir in one process, and what its operator needs beside it.
//!
//! - `cli`: what can be typed;
//! - `serve`: the server: the authorizer, the collector and the fan-out over the embedded engine;
//! - `user`: who has an account;
//! - `query`: SQL over the lake;
//! - `replay`: filing batches again;
//! - `audit`: recounting the lake, and comparing it with the counts;
//! - `backup`: a data folder as it was at one moment, and the way back;
//! - `send`: importing files over HTTP;
//! - `tail`: following events as they come;
//! - `counts`: live and settled counts;
//! - `completions`: what a shell completes;
//! - `aws`: the engine on AWS, as the environment names it (with the feature `aws`);
//! - `health`: asking a server whether it is well;
//! - `signals`: Ctrl-C, SIGTERM and SIGHUP;
//! - `catalog`: the event types, compiled in or from a folder;
//! - `table`: rows of text for a terminal;
//! - `terminal`: what may reach one of texts that anybody may have sent;
//! - `color`: when there are colours;
//! - `logs`: what is said on standard error, and traces.

mod audit;
#[cfg(feature = "aws")]
mod aws;
mod backup;
mod catalog;
mod cli;
mod color;
mod completions;
mod counts;
mod health;
mod logs;
mod query;
mod replay;
mod send;
mod serve;
mod signals;
mod table;
mod tail;
mod terminal;
mod user;

use std::process::ExitCode;

use cli::{Cli, Command};
use mimalloc::MiMalloc;

/// The system's allocator makes threads wait for each other where one frees what another took, which is what the
/// server's threads do all the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let Cli { command, data, catalog, engine, color, serve } = cli::parse();
    keep_private();
    let traces = logs::start(color, matches!(command, None | Some(Command::Serve(_))));
    let run = async move {
        let (data, catalog, engine) = (data.data.as_path(), catalog.catalog.as_deref(), engine.engine);
        match command {
            None => serve::run(engine, data, catalog, serve, traces).await,
            Some(Command::Serve(serve)) => serve::run(engine, data, catalog, serve, traces).await,
            Some(Command::User(command)) => user::run(engine, data, command).await,
            Some(Command::Query(query)) => query::run(engine, data, catalog, &query).await,
            Some(Command::Replay(replay)) => replay::run(engine, data, &replay).await,
            Some(Command::Health(health)) => health::run(&health).await,
            Some(Command::Audit(audit)) => audit::run(engine, data, catalog, &audit).await,
            Some(Command::Backup(backup)) => backup::back_up(engine, data, &backup).await,
            Some(Command::Restore(restore)) => backup::restore(engine, data, &restore).await,
            Some(Command::Send(send)) => send::run(catalog, send).await,
            Some(Command::Tail(tail)) => tail::run(engine, data, color, &tail).await,
            Some(Command::Counts(counts)) => counts::run(engine, data, &counts).await,
            Some(Command::Completions { shell }) => completions::print(shell),
        }
    };
    // Only a system that is out of threads or files refuses to start a runtime.
    let runtime = tokio::runtime::Runtime::new();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weir: {}", terminal::in_lines(&told(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Lets no other user of the machine read what any command writes, whatever the umask that it was started with.
fn keep_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
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
