//! The `weir` command: all of Weir in one process, plus the tools its operator needs.
//!
//! - `cli`: the command line;
//! - `serve`: the server: the authorizer, the collector and the fan-out over the embedded engine;
//! - `user`: user accounts;
//! - `query`: SQL over the lake; `queries`: the same over HTTP, over a user's own rows; `answers`: answers to queries, computed beforehand and published;
//! - `replay`: files batches again;
//! - `audit`: recounts the lake and compares it with the counts;
//! - `forget`: takes events out of a data folder or out of AWS, without a trace;
//! - `seal`: makes Parquet of days that are over;
//! - `backup`: snapshots a data folder, and restores it;
//! - `send`: imports files over HTTP;
//! - `tail`: follows events as they arrive;
//! - `counts`: live and settled counts; `latest`: the newest event of each resource;
//!   `receipt`: what became of one event;
//! - `map`: runs named commands over the lake's objects; `child`: a child process with limits; `environment`: its variables;
//! - `counted`: formats numbers with their nouns;
//! - `completions`: shell completions;
//! - `aws`: the engine on AWS, as the environment names it (with the feature `aws`);
//! - `health`: checks a server's health;
//! - `data`: refuses a folder in which no server has ever run;
//! - `address`: parses server addresses; `trust`: the certificates trusted there;
//! - `signals`: Ctrl-C, SIGTERM and SIGHUP;
//! - `stderr`: what a child process says on standard error;
//! - `catalog`: the event types, compiled in or from a folder, and the command that checks and lists them;
//! - `names`: checks that the users and types a command names exist;
//! - `table`: lays out rows of text for a terminal;
//! - `printed`: prints on standard output; `terminal`: escapes untrusted text for a terminal;
//! - `color`: decides when output is coloured;
//! - `logs`: the log on standard error; `traces`: spans for OpenTelemetry.

#![warn(clippy::print_stdout)]

mod address;
mod answers;
mod audit;
#[cfg(feature = "aws")]
mod aws;
mod backup;
mod catalog;
#[cfg(unix)]
mod child;
mod cli;
mod color;
mod completions;
mod counted;
mod counts;
mod data;
mod environment;
mod forget;
mod health;
mod latest;
mod logs;
#[cfg(unix)]
mod map;
mod names;
mod printed;
#[cfg(unix)]
mod queries;
mod query;
mod receipt;
mod replay;
mod seal;
mod send;
mod serve;
mod signals;
mod stderr;
mod table;
mod tail;
mod terminal;
mod traces;
mod trust;
mod user;

use std::process::ExitCode;

use anyhow::Context;
use cli::Command;
use mimalloc::MiMalloc;
use weir_core::SystemClock;

/// The system's allocator makes threads contend where one frees memory that another allocated, which the server's threads
/// do all the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let command = cli::parse();
    keep_private();
    let serving = if let Command::Serve(args) = &command { Some(args) } else { None };
    let traces = logs::start(command.color(), serving.is_some());
    // Comes before the runtime, which needs open files itself.
    let prepared = serving.map_or(Ok(()), |args| serve::prepare(args, &SystemClock));
    let run = async move {
        match command {
            Command::Serve(serve) => serve::run(serve, traces).await,
            Command::User(command) => user::run(command).await,
            Command::Catalog(command) => catalog::run(&command),
            Command::Query(query) => query::run(&query).await,
            Command::Publish(publish) => answers::publish::run(&publish).await,
            Command::Replay(replay) => replay::run(&replay).await,
            Command::Health(health) => health::run(&health).await,
            Command::Audit(audit) => audit::run(&audit).await,
            Command::Forget(args) => forget::run(&args).await,
            Command::Seal(seal) => seal::run(&seal).await,
            Command::Backup(backup) => backup::back_up(&backup).await,
            Command::Restore(restore) => backup::restore(&restore).await,
            Command::Send(send) => send::run(send).await,
            Command::Tail(tail) => tail::run(&tail).await,
            Command::Counts(counts) => counts::run(&counts).await,
            Command::Latest(latest) => latest::run(&latest).await,
            Command::Receipt(args) => receipt::run(args).await,
            #[cfg(unix)]
            Command::Function(command) => map::function(command).await,
            #[cfg(unix)]
            Command::Map(args) => map::run(args).await,
            Command::Completions { shell } => completions::print(shell),
        }
    };
    // Starting a runtime fails only if the system is out of threads or files.
    let outcome = prepared
        .and_then(|()| tokio::runtime::Runtime::new().context("the system refuses threads or files"))
        .and_then(|runtime| runtime.block_on(run));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weir: {}", told_in_lines(&error));
            ExitCode::FAILURE
        }
    }
}

/// Keeps files that any command writes private from the machine's other users, whatever umask it was started with.
fn keep_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Formats an error for a terminal.
fn told_in_lines(error: &anyhow::Error) -> String {
    terminal::in_lines(&told(error))
}

/// Formats an error and its causes on one line, without repeating text that an outer layer already includes.
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
    fn a_cause_is_printed_once() {
        let inner = anyhow::anyhow!("no space").context("writing x: no space").context("filing");
        assert_eq!(told(&inner), "filing: writing x: no space");
    }
}
