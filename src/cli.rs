//! What can be typed.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, parser::ValueSource};
use collector::Origins;
use weir_core::{
    Username,
    users::{Label, Scope},
};

/// Collects events over HTTP, counts them live and files them for SQL, in one process.
///
/// Without a command it serves, like `weir serve`. On the first start it makes a user and prints what to try next.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Try `weir help user` and `weir help query` next. Everything is in the README."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// The folder that holds everything: made if there is none.
    #[arg(long, env = "WEIR_DATA", value_name = "DIR", default_value = "./data", global = true)]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CatalogArgs {
    /// A folder of event types (one JSON Schema each) in place of the built-in ones.
    #[arg(long, env = "WEIR_CATALOG", value_name = "DIR", global = true)]
    pub(crate) catalog: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct EngineArgs {
    /// What keeps the events: this machine's data folder, or AWS (named by the WEIR_* variables that the stack prints).
    #[arg(long, env = "WEIR_ENGINE", value_enum, default_value = "embedded", global = true)]
    pub(crate) engine: EngineName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// SQLite and folders below --data.
    Embedded,
    /// Firehose, DynamoDB and S3.
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
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir replay                                  every batch\n  weir replay --from \
    2026/11/20 --to 2026/11/21   those of one day"
)]
pub(crate) struct ReplayArgs {
    /// Begin with this batch, or with the first whose path in raw begins so or comes later.
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Option<String>,
    /// End before the first batch whose path begins so or comes later.
    #[arg(long, value_name = "PATH")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, env = "WEIR_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// File events after this time at the latest: they can be queried then. Longer makes fewer, larger files.
    #[arg(long, env = "WEIR_FLUSH_EVERY", value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) flush_every: Duration,
    /// File events earlier once there are this many bytes of them.
    #[arg(long, env = "WEIR_FLUSH_SIZE", value_name = "BYTES", default_value = "16MiB", value_parser = size)]
    pub(crate) flush_size: u64,
    /// Which web pages may call the API from a browser: origins between commas, or * for all.
    #[arg(long, env = "WEIR_ALLOW_ORIGINS", value_name = "ORIGINS", default_value = "*", value_parser = Origins::from_str)]
    pub(crate) allow_origins: Origins,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user, or give one another access key. Prints NAME:SECRET, once; only a hash of it is kept.
    #[command(after_help = "Example: curl -u \"$(weir user add ethan)\" localhost:8080/counts")]
    Add {
        /// 1 to 48 of a-z, 0-9 and single hyphens between them.
        name: Username,
        /// What the access key allows: write (post events), read (counts), or both.
        #[arg(long, default_value = "both", value_parser = Scope::from_str)]
        scope: Scope,
        /// What the access key is called among the user's.
        #[arg(long, default_value = "default")]
        label: Label,
        /// Take a chosen password from standard input instead of generating a secret.
        #[arg(long)]
        password_stdin: bool,
    },
    /// List users and their access keys.
    List,
    /// Take away a user, or one access key. Events stay; the server may accept the key for 5 more seconds.
    Remove {
        /// Whose.
        name: Username,
        /// Only this access key.
        #[arg(long)]
        label: Option<Label>,
    },
    /// Put a new secret into the place of an old one. Prints NAME:SECRET, once.
    Rotate {
        /// Whose.
        name: Username,
        /// Which access key.
        #[arg(long, default_value = "default")]
        label: Label,
        /// How long the old secret stays good, so that clients can be changed over without an outage.
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
        keep_old: Duration,
        /// Take a chosen password from standard input instead of generating a secret.
        #[arg(long)]
        password_stdin: bool,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "Tables: one for each event type, with the fields of its schema and event_id, received_at and \
    occurred_at (ms), username, year, month, day, hour; `rejected`, what failed validation; `events`, everything, \
    with the whole event as JSON (event->>'field').\n\nExample: weir query \"SELECT button_id, count(*) FROM \
    button_click GROUP BY 1\""
)]
pub(crate) struct QueryArgs {
    /// One SELECT, in DuckDB's SQL; - reads it from standard input.
    pub(crate) sql: String,
    /// How to print the answer.
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    /// How long to wait until the server has filed what it acknowledged before.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) wait: Duration,
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
    anyhow::anyhow!("this weir was built without the AWS engine: cargo install --path . --features aws")
}

/// Reads the command line; ends the process where it cannot be understood.
pub(crate) fn parse() -> Cli {
    let matches = Cli::command().get_matches();
    let of_serve = ["listen", "flush_every", "flush_size", "allow_origins"];
    let typed = of_serve.iter().find(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
    if let (Some(id), Some(command)) = (typed, matches.subcommand_name()) {
        let option = id.replace('_', "-");
        let message =
            format!("--{option} must come behind its command, or without one; it means nothing to {command}");
        Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message).exit();
    }
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Reads an address and a port.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address is like 127.0.0.1:8080, 0.0.0.0:80 or [::1]:8080".to_owned())
}

/// Reads a time such as 500ms, 5s or 1h30m.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Option<jiff::SignedDuration> = text.parse().ok();
    parsed
        .and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| "a time is like 500ms, 5s or 1h 30m".to_owned())
}

/// Reads a size such as 4096, 512KiB or 16MiB; at least one byte.
fn size(text: &str) -> Result<u64, String> {
    let parsed: Option<bytesize::ByteSize> = text.parse().ok();
    parsed
        .map(|size| size.as_u64())
        .filter(|size| *size > 0)
        .ok_or_else(|| "a size is like 4096, 512KiB or 16MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert!(duration("5").is_err() && duration("-5s").is_err() && duration("").is_err());
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("4096"), Ok(4096));
        assert!(size("0").is_err() && size("x").is_err());
    }
}
