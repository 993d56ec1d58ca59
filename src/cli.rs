//! What can be typed: the commands, and the options that several of them share. Each command's own are in a file below, the
//! values that options take in `values`, and words that stand before their command are put behind it by `order`.

mod audit;
mod backup;
mod counts;
mod health;
mod order;
mod query;
mod replay;
mod send;
mod serve;
mod tail;
mod user;
mod values;

use std::path::{Path, PathBuf};

use clap::{Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use audit::AuditArgs;
pub(crate) use backup::{BackupArgs, RestoreArgs};
pub(crate) use counts::CountsArgs;
pub(crate) use health::HealthArgs;
pub(crate) use query::QueryArgs;
pub(crate) use replay::ReplayArgs;
pub(crate) use send::{FileFormat, SendArgs};
pub(crate) use serve::ServeArgs;
pub(crate) use tail::{TailArgs, TailFormat};
pub(crate) use user::UserCommand;

/// Groups of help for options that several commands have.
const DATA: &str = "Data";
const TYPES: &str = "Event types";
const OUTPUT: &str = "Output";

/// Collects events over HTTP, counts them live and files them for SQL, in one process.
///
/// Without a command it serves, like `weir serve`. On the first start it makes a user and prints what to try next.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done; 1 failed; 2 not understood; 3 done, and something is not as it should be (audit found \
    differences, send had lines rejected); 130 interrupted by Ctrl-C, 143 by SIGTERM.\n\nTry `weir help user` and `weir help \
    query` next. Everything is in the README."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// Where the events are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The folder that holds everything. The first `weir serve` makes it.
    #[arg(long, help_heading = DATA, env = "WEIR_DATA", value_name = "DIR", default_value = "./data")]
    pub(crate) data: PathBuf,
    /// What keeps the events: this machine's data folder, or AWS (named by the WEIR_* variables that the stack prints).
    #[arg(long, help_heading = DATA, env = "WEIR_ENGINE", value_enum, default_value = "embedded")]
    pub(crate) engine: EngineName,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CatalogArgs {
    /// A folder of event types (one JSON Schema each) in place of the built-in ones. Commands beside a data folder use the
    /// one that it was served with.
    #[arg(long, help_heading = TYPES, env = "WEIR_CATALOG", value_name = "DIR")]
    catalog: Option<PathBuf>,
}

impl CatalogArgs {
    /// The folder, unless it is the built-in catalog.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.catalog.as_deref()
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ColorArgs {
    /// When to colour what is printed. With auto: on terminals, unless NO_COLOR is set.
    #[arg(long, help_heading = OUTPUT, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// SQLite and folders below --data.
    Embedded,
    /// Firehose, DynamoDB, S3 and Athena.
    Aws,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the API until Ctrl-C or SIGTERM.
    Serve(ServeArgs),
    /// Say who has an account. Works while the server runs.
    #[command(subcommand)]
    User(UserCommand),
    /// Ask the lake with SQL: one table for each event type.
    Query(QueryArgs),
    /// File batches again. It changes nothing that was filed well, and completes what was not.
    Replay(ReplayArgs),
    /// Ask a running server whether it is well: exit code 0 if it is, 1 otherwise.
    Health(HealthArgs),
    /// Recount the lake, reading every object, and compare it with the settled and the live counts.
    Audit(AuditArgs),
    /// Copy the data folder into a new folder, as it is at one moment. Works while the server runs.
    Backup(BackupArgs),
    /// Put a backup into a new data folder (--data).
    Restore(RestoreArgs),
    /// Import files of NDJSON or CSV over HTTP, into any Weir.
    Send(SendArgs),
    /// Follow events as they come, accepted and rejected ones, until Ctrl-C.
    Tail(TailArgs),
    /// Print live and settled counts. Works while the server runs.
    Counts(CountsArgs),
    /// Print a script that completes what is typed in a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

impl Command {
    /// When to colour what the command prints; as on any terminal where it has no option for that.
    pub(crate) fn color(&self) -> ColorChoice {
        match self {
            Self::Serve(args) => args.color.color,
            Self::Replay(args) => args.color.color,
            Self::Audit(args) => args.color.color,
            Self::Tail(args) => args.color.color,
            _ => ColorChoice::Auto,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// An array of objects.
    Json,
    /// RFC 4180, with a header line.
    Csv,
}

/// The answer where this build has no AWS engine.
#[cfg(not(feature = "aws"))]
pub(crate) fn without_aws() -> anyhow::Error {
    anyhow::anyhow!(
        "this weir was built without the AWS engine: cargo install --path . --profile serve --features aws"
    )
}

/// The command as clap knows it.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Reads the command line, and gives what is to be done; ends the process where it cannot be understood.
pub(crate) fn parse() -> Command {
    let words = order::behind_their_command(std::env::args_os().collect(), &Cli::command());
    let Cli { command, serve } = Cli::parse_from(words);
    command.unwrap_or(Command::Serve(serve))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
