//! The command line. Each command's own options are in a file below, those that several commands share in `options`, and the
//! values that options take in `values`; `order` moves words that stand before their command after it, and `groups` lists the
//! commands by what they are for.

mod audit;
mod backup;
mod catalog;
mod counts;
mod forget;
mod groups;
mod health;
mod latest;
#[cfg(unix)]
mod map;
mod options;
mod order;
mod publish;
mod query;
mod receipt;
mod replay;
mod seal;
mod send;
mod serve;
mod tail;
mod user;
mod values;

use std::ffi::OsString;

use clap::{
    ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use clap_complete::Shell;

pub(crate) use audit::AuditArgs;
pub(crate) use backup::{BackupArgs, RestoreArgs};
pub(crate) use catalog::{CatalogCommand, CatalogPlace};
pub(crate) use counts::CountsArgs;
pub(crate) use forget::{Condition, ForgetArgs};
pub(crate) use health::HealthArgs;
pub(crate) use latest::LatestArgs;
#[cfg(unix)]
pub(crate) use map::{FunctionCommand, FunctionName, MapArgs};
pub(crate) use options::{EngineName, Format, Place};
pub(crate) use publish::PublishArgs;
pub(crate) use query::QueryArgs;
pub(crate) use receipt::{ReceiptArgs, ReceiptFormat};
pub(crate) use replay::ReplayArgs;
pub(crate) use seal::SealArgs;
pub(crate) use send::{FileFormat, SendArgs};
pub(crate) use serve::ServeArgs;
pub(crate) use tail::{TailArgs, TailFormat};
pub(crate) use user::UserCommand;

/// Collects events over HTTP, counts them live and files them for SQL, in one process.
///
/// Without a command it serves, like `weir serve`. On the first start it makes a user and prints what to try next.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done; 1 failed; 2 not understood; 3 done, and something is not as it should be (audit found \
    differences, send had lines rejected, catalog check found something); 130 interrupted by Ctrl-C, 143 by SIGTERM.\n\n`weir help COMMAND` explains \
    a command."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the API until Ctrl-C or SIGTERM.
    Serve(ServeArgs),
    /// Say who has an account. Works while the server runs.
    #[command(subcommand)]
    User(UserCommand),
    /// Check event types before a server has them, or list them.
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Ask the lake with SQL: one table for each event type.
    Query(QueryArgs),
    /// Compute answers beforehand, and publish them at /answers. Works while the server runs.
    Publish(PublishArgs),
    /// File batches again. It changes nothing that was filed well, and completes what was not.
    Replay(ReplayArgs),
    /// Ask a running server whether it is well: exit code 0 if it is, 1 otherwise.
    Health(HealthArgs),
    /// Recount the lake, reading every object (of sealed days the Parquet), and compare it with the settled and the live counts.
    Audit(AuditArgs),
    /// Take events out of everything that is stored: counts, files and the free pages of the database.
    Forget(ForgetArgs),
    /// Make Parquet of days that are over, for faster queries. Works while the server runs.
    Seal(SealArgs),
    /// Copy the data folder into a new folder, as it is at one moment. Works while the server runs.
    Backup(BackupArgs),
    /// Put a backup into a new data folder (--data).
    Restore(RestoreArgs),
    /// Import files of NDJSON, JSON, CSV or TSV over HTTP, into any Weir.
    Send(SendArgs),
    /// Follow events as they come, accepted and rejected ones, until Ctrl-C.
    Tail(TailArgs),
    /// Print live and settled counts. Works while the server runs.
    Counts(CountsArgs),
    /// Print the newest event of each resource, such as a sensor. Works while the server runs.
    Latest(LatestArgs),
    /// Print what became of an event, by its id: any Weir is asked over HTTP.
    Receipt(ReceiptArgs),
    /// Name commands that `weir map` runs over events.
    #[cfg(unix)]
    #[command(subcommand)]
    Function(FunctionCommand),
    /// Run a function over the events of a type, on all cores, and print the results in order.
    #[cfg(unix)]
    Map(MapArgs),
    /// Print a script that completes what is typed in a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

impl Command {
    /// Returns when to colour the command's output. A command without an option for that colours it on terminals.
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

/// Returns the error of a build without the AWS engine.
#[cfg(not(feature = "aws"))]
pub(crate) fn without_aws() -> anyhow::Error {
    anyhow::anyhow!(
        "this weir was built without the AWS engine: cargo install --path . --profile serve --features aws"
    )
}

/// Returns the definition of the command line for clap.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line and returns the command; ends the process if the command line is not understood.
pub(crate) fn parse() -> Command {
    let words = order::after_their_command(std::env::args_os().collect(), &Cli::command());
    let words = order::sql_is_no_option(words);
    let matches =
        groups::in_groups(Cli::command()).try_get_matches_from(words).unwrap_or_else(|error| refuse(&error));
    let Cli { command, serve } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    command.unwrap_or(Command::Serve(serve))
}

/// Ends the process with what is wrong with the command line, or with the help that was asked for.
fn refuse(error: &clap::Error) -> ! {
    // If the reader has gone, the message is lost.
    let _ = error.print();
    if let Some(variable) = variable_of(error) {
        eprintln!("\nThe value is that of the variable {variable}.");
    }
    std::process::exit(error.exit_code())
}

/// Returns the variable that has the value of which an error is, unless the value is of an option.
fn variable_of(error: &clap::Error) -> Option<String> {
    let ContextValue::String(option) = error.get(ContextKind::InvalidArg)? else { return None };
    let option = option.split([' ', '=']).next()?.strip_prefix("--")?;
    let words: Vec<OsString> = order::after_their_command(std::env::args_os().collect(), &Cli::command());
    let (weir, mut path) = (Cli::command(), words.iter().skip(1));
    let mut command = &weir;
    while let Some(found) = path.next().and_then(|word| command.find_subcommand(word)) {
        command = found;
    }
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(option))?;
    let names: Vec<&str> =
        argument.get_all_aliases().unwrap_or_default().into_iter().chain([option]).collect();
    let is_it = |word: &OsString| {
        let name = word.to_str().and_then(|word| word.strip_prefix("--")?.split('=').next());
        name.is_some_and(|name| names.contains(&name))
    };
    let variable = argument.get_env().filter(|variable| std::env::var_os(variable).is_some())?;
    (!words.iter().any(is_it)).then(|| variable.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_option_of_serve_is_refused_in_front_of_another_command() {
        let weir = command();
        let refused = |option: &str| {
            let words = ["weir", option, "user", "list"].map(OsString::from).to_vec();
            let error = weir.clone().try_get_matches_from(order::after_their_command(words, &weir)).err()?;
            Some(error.kind())
        };
        let mut count = 0;
        for option in weir.get_arguments().filter_map(clap::Arg::get_long) {
            if ["data", "engine"].contains(&option) {
                assert_eq!(refused(&format!("--{option}=embedded")), None, "{option}");
            } else {
                assert_eq!(refused(&format!("--{option}=1")), Some(ErrorKind::UnknownArgument), "{option}");
                count += 1;
            }
        }
        assert!(count > 10, "{count}");
    }
}
