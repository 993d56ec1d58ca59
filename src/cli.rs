//! What can be typed.

mod backup;
mod counts;
mod send;
mod tail;

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use axum::http::Uri;
use clap::{
    Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, parser::ValueSource,
    value_parser,
};
use clap_complete::Shell;
use collector::Origins;
use weir_core::{
    EventType, Hour, Username,
    users::{Label, Scope},
};

pub(crate) use backup::{BackupArgs, RestoreArgs};
pub(crate) use counts::CountsArgs;
pub(crate) use send::{FileFormat, SendArgs};
pub(crate) use tail::{TailArgs, TailFormat};

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
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// When to colour what is printed. With auto: on terminals, unless NO_COLOR is set.
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", global = true)]
    pub(crate) color: ColorChoice,
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
    /// A folder of event types (one JSON Schema each) in place of the built-in ones. Commands beside a data folder use the
    /// one that it was served with.
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

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Which server.
    #[arg(long, env = "WEIR_HEALTH_TO", value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = server)]
    pub(crate) to: Uri,
    /// How long an answer is waited for.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    pub(crate) within: Duration,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit code: 0 nothing differs, 3 something does, 1 there was no audit. A difference is by how much a count is \
    higher than what lies in the lake.\n\nExamples:\n  weir audit --user ethan --type button_click\n  weir audit --from \
    2026-11-20 --to 2026-11-21T06\n  weir audit --repair"
)]
pub(crate) struct AuditArgs {
    /// Only this user's events.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<Username>,
    /// Only events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<EventType>,
    /// Begin with this hour (UTC). Totals and live counts are not compared then: they are of all hours.
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    pub(crate) from: Option<Hour>,
    /// End before this hour.
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    pub(crate) to: Option<Hour>,
    /// How to print what differs.
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    /// How long filing may take that the lake shows and the settled counts do not yet.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Make live counts what lies in the lake. On one machine the server must be stopped.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub(crate) repair: bool,
    /// On AWS: wait until counts stood still for so long that nothing is under way; refuse once they move. With less
    /// than the stream's buffer and filing take, events under way are taken for lost [with --repair: 16m].
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with_all = ["from", "to"])]
    pub(crate) quiet_for: Option<Duration>,
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
    /// Refuse new events, with 503, while the disk has less space left than this: what was acknowledged needs some to be
    /// filed. 0 for all there is.
    #[arg(long, env = "WEIR_KEEP_FREE", value_name = "BYTES", default_value = "128MiB", value_parser = size_or_none)]
    pub(crate) keep_free: u64,
    /// Which web pages may call the API from a browser: origins between commas, or * for all.
    #[arg(long, env = "WEIR_ALLOW_ORIGINS", value_name = "ORIGINS", default_value = "*", value_parser = Origins::from_str)]
    pub(crate) allow_origins: Origins,
    /// How many connections there may be, as far as the process may open so many files. Beyond it, the one that has been
    /// idle longest is closed; where none is idle, new ones get 503.
    #[arg(long, env = "WEIR_CONNECTIONS", value_name = "NUMBER", default_value = "4096", value_parser = value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// How long a connection may be idle.
    #[arg(long, env = "WEIR_IDLE_TIMEOUT", value_name = "TIME", default_value = "75s", value_parser = some_time)]
    pub(crate) idle_timeout: Duration,
    /// How long the head of a request may take, and how long a body, or a client that reads its answer, may stand still.
    /// Slower than 4 KiB/s in the long run counts as standing still.
    #[arg(long, env = "WEIR_CLIENT_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = some_time)]
    pub(crate) client_timeout: Duration,
    /// How many sign-ins a minute may fail, for each address, and for each user who chose a password; then 429. 0 for no
    /// limit.
    #[arg(long, env = "WEIR_FAILED_SIGN_INS", value_name = "NUMBER", default_value = "10")]
    pub(crate) failed_sign_ins: u32,
    /// How many requests a second each user may send; then 429. 0 for no limit.
    #[arg(long, env = "WEIR_REQUESTS_PER_SECOND", value_name = "NUMBER", default_value = "0")]
    pub(crate) requests_per_second: u32,
    /// Behind a proxy: believe the last address of X-Forwarded-For to be the client's. Only if nobody can connect but
    /// the proxy.
    #[arg(long, env = "WEIR_TRUST_FORWARDED_FOR")]
    pub(crate) trust_forwarded_for: bool,
    /// Serve /metrics on this address, to whoever reaches it, instead of on --listen to this machine only
    /// [default: none].
    #[arg(long, env = "WEIR_METRICS_LISTEN", value_name = "ADDRESS", value_parser = address)]
    pub(crate) metrics_listen: Option<SocketAddr>,
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
    with the whole event as JSON (event->>'field').\n\nWith --engine aws, Athena answers, from the tables of the stack: \
    the same ones but `events`. It wants username = '...' in WHERE, and year, month and day, or it looks into every \
    hour there is. What it scanned, which is what it costs, is printed to standard error; Ctrl-C stops it.\n\n\
    Examples:\n  weir query \"SELECT username, button_id, count(*) FROM button_click GROUP BY 1, 2\"\n  weir query --engine aws \
    \"SELECT * FROM rejected WHERE username='ann' AND year=2026 AND month=11\""
)]
pub(crate) struct QueryArgs {
    /// One SELECT, in DuckDB's SQL, or Athena's (Trino) on AWS; - reads it from standard input.
    // It may begin with a comment.
    #[arg(allow_hyphen_values = true, value_parser = sql)]
    pub(crate) sql: String,
    /// How to print the answer.
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    /// On one machine: how long to wait until the server has filed what it acknowledged before [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
}

/// SQL: what may begin with `--`, and is then more than one word, as an option is not.
fn sql(text: &str) -> Result<String, String> {
    let is_option = text.len() > 1 && text.starts_with('-') && !text.contains(char::is_whitespace);
    if is_option { Err("there is no such option".to_owned()) } else { Ok(text.to_owned()) }
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

/// Reads the command line; ends the process where it cannot be understood.
pub(crate) fn parse() -> Cli {
    let matches = Cli::command().get_matches();
    let of_serve = [
        "listen",
        "flush_every",
        "flush_size",
        "allow_origins",
        "connections",
        "idle_timeout",
        "client_timeout",
        "failed_sign_ins",
        "requests_per_second",
        "trust_forwarded_for",
        "metrics_listen",
    ];
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

/// Reads a server's address: HTTP, and no path.
fn server(text: &str) -> Result<Uri, String> {
    let uri: Option<Uri> = text.parse().ok();
    uri.filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some() && uri.path() == "/")
        .ok_or_else(|| "a server is like http://127.0.0.1:8080".to_owned())
}

/// Reads an hour such as 2026-11-20T13, or the first of a day.
fn hour(text: &str) -> Result<Hour, String> {
    let (date, hour) = text.split_once('T').unwrap_or((text, "0"));
    let mut numbers = date.splitn(3, '-');
    let mut number = || numbers.next().and_then(|number| number.parse::<u16>().ok());
    let small = |number: Option<u16>| number.and_then(|number| u8::try_from(number).ok());
    let (year, month, day) = (number(), small(number()), small(number()));
    let found = match (year, month, day, hour.parse().ok()) {
        (Some(year), Some(month), Some(day), Some(hour)) => Hour::of_date(year, month, day, hour),
        _ => None,
    };
    found.ok_or_else(|| "an hour is like 2026-11-20T13, or 2026-11-20 for the first of a day".to_owned())
}

/// Reads a time such as 500ms, 5s or 1h30m.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Option<jiff::SignedDuration> = text.parse().ok();
    parsed
        .and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| "a time is like 500ms, 5s or 1h 30m".to_owned())
}

/// Reads a time that is not none.
fn some_time(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| {
        // What is added to a time of day must not run over.
        let fits = !time.is_zero() && time <= Duration::from_hours(24 * 365);
        fits.then_some(time).ok_or_else(|| "it must be more than none and less than a year".to_owned())
    })
}

/// Reads a size such as 4096, 512KiB or 16MiB; at least one byte.
fn size(text: &str) -> Result<u64, String> {
    let parsed: Option<bytesize::ByteSize> = text.parse().ok();
    parsed
        .map(|size| size.as_u64())
        .filter(|size| *size > 0)
        .ok_or_else(|| "a size is like 4096, 512KiB or 16MiB".to_owned())
}

fn size_or_none(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { size(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_hour_is_a_day_and_its_number() {
        let parts = |text| hour(text).map(Hour::parts);
        assert_eq!(parts("2026-11-20T13"), Ok([2026, 11, 20, 13]));
        assert_eq!(parts("2026-11-20"), Ok([2026, 11, 20, 0]));
        for bad in
            ["", "2026", "2026-11", "2026-13-01", "2026-11-20T24", "2026-11-20T", "2026-11-20T13:00", "x-y-z"]
        {
            assert!(hour(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert!(duration("5").is_err() && duration("-5s").is_err() && duration("").is_err());
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(some_time("1ms"), Ok(Duration::from_millis(1)));
        assert!(some_time("0s").is_err() && some_time("10000000h").is_err() && some_time("5").is_err());
        assert!(size("0").is_err() && size("x").is_err());
    }
}
