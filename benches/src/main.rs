//! `weir-bench`: what Weir costs and how fast it is. Each command prints what it measured as a table or, with `--json`,
//! as JSON; with `--check` it fails where a target is missed, and names it. `soak` measures nothing: it looks whether anything
//! gets lost.

mod answers;
mod bare;
mod batch;
mod batching;
mod bill;
mod bootstraps;
mod cost;
#[cfg(test)]
mod cost_tests;
mod fan_out;
mod grow;
mod http;
mod lambda;
mod map;
mod prices;
mod process;
mod query;
mod report;
mod run;
mod soak;
mod usage;
mod workload;
mod year;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Results;

/// What Weir costs and how fast it is.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Exit with 1 when a target is missed, and name it.
    #[arg(long, global = true)]
    check: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the functions as Lambda does: package, start, time, CPU, memory and calls of AWS an invocation.
    Lambda(lambda::Options),
    /// Sends events to `weir serve` on this machine: events a second, how long answers take, and the limits beside it.
    Http(http::Options),
    /// Counts what a million events use of AWS, and prices it.
    Cost(cost::Options),
    /// Files batches of different sizes: events and bytes a second, and memory.
    FanOut(fan_out::Options),
    /// Reads counts of types that have more and more keys, on one machine's store.
    Grow(grow::Options),
    /// Files one batch.
    #[command(hide = true)]
    FileBatch(fan_out::One),
    /// Asks for the same many times at once, through the ports and over HTTP: calls of AWS, and how long each waits.
    Batching(batching::Options),
    /// Publishes an answer of a million slots, and reads them from `weir serve`, beside a bare router.
    Answers(answers::Options),
    /// Runs a program over a million events with `weir map`, beside `xargs -P`.
    Map(map::Options),
    /// Seals a year of events, and asks for them beside DuckDB alone.
    Query(query::Options),
    /// Sends events to `weir serve` while it is killed, its clock jumps, its disk fails and backups are restored, and compares
    /// what it acknowledged with the lake every minute.
    Soak(soak::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let report: Box<dyn Results> = match &cli.command {
        Command::Lambda(options) => Box::new(lambda::run(options)?),
        Command::Http(options) => Box::new(http::run(options)?),
        Command::Cost(options) => Box::new(cost::run(options)?),
        Command::FanOut(options) => Box::new(fan_out::run(options)?),
        Command::Grow(options) => Box::new(grow::run(options)?),
        Command::Batching(options) => Box::new(batching::run(options)?),
        Command::Answers(options) => Box::new(answers::run(options)?),
        Command::Map(options) => Box::new(map::run(options)?),
        Command::Query(options) => Box::new(query::run(options)?),
        Command::FileBatch(one) => {
            fan_out::file_batch(one)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Soak(options) => {
            let built = match &options.built {
                Some(program) => program.clone(),
                None => bootstraps::build_host(&[])?,
            };
            return Ok(soak::exit_code(&soak::run(options, &built)?));
        }
    };
    if cli.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    let missed = report.missed();
    if cli.check {
        for missed in &missed {
            eprintln!("missed: {missed}");
        }
    }
    Ok(if cli.check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
