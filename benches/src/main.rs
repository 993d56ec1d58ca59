//! `weir-bench`: what Weir costs and how fast it is. Each command prints what it measured as a table or, with `--json`,
//! as JSON; with `--check` it fails where a target is missed, and names it.

mod bootstraps;
mod coalesce;
mod lambda;
mod process;
mod report;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Report;

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
    /// Asks for the same many times at once, through the ports and over HTTP: calls of AWS, and how long each waits.
    Coalesce(coalesce::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let report: Report = match &cli.command {
        Command::Lambda(options) => lambda::run(options)?,
        Command::Coalesce(options) => coalesce::run(options)?,
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
