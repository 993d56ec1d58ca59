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
//! - `counted`: numbers with their nouns;
//! - `completions`: what a shell completes;
//! - `aws`: the engine on AWS, as the environment names it (with the feature `aws`);
//! - `health`: asking a server whether it is well;
//! - `data`: refusing a folder in which no server has ever run;
//! - `address`: where a server is, as it is typed; `trust`: whose certificates are believed there;
//! - `signals`: Ctrl-C, SIGTERM and SIGHUP;
//! - `catalog`: the event types, compiled in or from a folder;
//! - `names`: whether there are the users and types that a command was asked for;
//! - `table`: rows of text for a terminal;
//! - `terminal`: what may reach one of texts that anybody may have sent;
//! - `color`: when there are colours;
//! - `logs`: what is said on standard error, and traces.

mod address;
mod audit;
#[cfg(feature = "aws")]
mod aws;
mod backup;
mod catalog;
mod cli;
mod color;
mod completions;
mod counted;
mod counts;
mod data;
mod health;
mod logs;
mod names;
mod query;
mod replay;
mod send;
mod serve;
mod signals;
mod table;
mod tail;
mod terminal;
mod trust;
mod user;

use std::process::ExitCode;

use anyhow::Context;
use cli::Command;
use mimalloc::MiMalloc;
use weir_core::SystemClock;

/// The system's allocator makes threads wait for each other where one frees what another took, which is what the
/// server's threads do all the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let command = cli::parse();
    keep_private();
    let serving = if let Command::Serve(args) = &command { Some(args) } else { None };
    let traces = logs::start(command.color(), serving.is_some());
    // Before the runtime, which needs files itself.
    let prepared = serving.map_or(Ok(()), |args| serve::prepare(args, &SystemClock));
    let run = async move {
        match command {
            Command::Serve(serve) => serve::run(serve, traces).await,
            Command::User(command) => user::run(command).await,
            Command::Query(query) => query::run(&query).await,
            Command::Replay(replay) => replay::run(&replay).await,
            Command::Health(health) => health::run(&health).await,
            Command::Audit(audit) => audit::run(&audit).await,
            Command::Backup(backup) => backup::back_up(&backup).await,
            Command::Restore(restore) => backup::restore(&restore).await,
            Command::Send(send) => send::run(send).await,
            Command::Tail(tail) => tail::run(&tail).await,
            Command::Counts(counts) => counts::run(&counts).await,
            Command::Completions { shell } => completions::print(shell),
        }
    };
    // Only a system that is out of threads or files refuses to start a runtime.
    let outcome = prepared
        .and_then(|()| tokio::runtime::Runtime::new().context("the system refuses threads or files"))
        .and_then(|runtime| runtime.block_on(run));
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
