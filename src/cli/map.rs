//! What can be typed after `weir function` and `weir map`.

use std::{fmt, str::FromStr, time::Duration};

use clap::{Args, Subcommand};
use weir_core::{EventType, Hour, Username};

use super::{
    options::Place,
    values::{duration, hour, size, some_time},
};

/// The longest name.
const LONGEST: usize = 48;

/// The name of a function, which is also the name of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FunctionName(String);

impl FromStr for FunctionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_one = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let fits = (1..=LONGEST).contains(&text.len()) && text.chars().all(is_one) && !text.starts_with('-');
        fits.then(|| Self(text.to_owned())).ok_or_else(|| {
            format!("a function's name is 1 to {LONGEST} of a-z, 0-9, hyphens and underscores, and begins with no hyphen")
        })
    }
}

impl FunctionName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum FunctionCommand {
    /// Give a command a name, under which `weir map` runs it over events.
    #[command(
        after_help = "The command gets the events of one object of the lake as lines of JSON on standard input, and prints \
        lines on standard output. It runs in the folder in which it is added, as the user who runs `weir map`, with \
        WEIR_OBJECT (the object's path), WEIR_USERNAME, WEIR_EVENT_TYPE and WEIR_HOUR in its environment.\n\nA client whose access \
        key may read can start it over that user's own events with POST /map/NAME, as the user who runs `weir serve`, unless it is \
        --private.\n\nExamples:\n  weir \
        function add buttons -- jq -r .button_id\n  weir function add tally --time-limit 10m -- sh -c 'sort | uniq -c'"
    )]
    Add {
        /// 1 to 48 of a-z, 0-9, hyphens and underscores.
        name: FunctionName,
        /// How long the command may take for one object.
        #[arg(long, value_name = "TIME", default_value = "1m", value_parser = some_time)]
        time_limit: Duration,
        /// How much memory of its own each of its processes may have. On Linux only.
        #[arg(long, value_name = "BYTES", default_value = "512MiB", value_parser = size)]
        memory_limit: u64,
        /// How much the command may print for one object.
        #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = size)]
        output_limit: u64,
        /// Only `weir map` runs it: no client may start it over HTTP (`POST /map/NAME`).
        #[arg(long)]
        private: bool,
        /// On AWS: the Lambda, whose name begins with that of the stack and -map-.
        #[arg(long, value_name = "ARN", conflicts_with = "command")]
        lambda: Option<String>,
        /// A program and its arguments. No shell is between, unless it is the program.
        #[arg(required_unless_present = "lambda", last = true, value_name = "COMMAND")]
        command: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// List the functions.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Remove a function.
    Remove {
        /// Which one.
        name: FunctionName,
        #[command(flatten)]
        place: Place,
    },
}

impl FunctionCommand {
    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Add { place, .. } | Self::List { place } | Self::Remove { place, .. } => place,
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Results are printed in the order of the objects' paths, whatever the number of workers. A command that fails \
    for an object is run for it once more; if it fails again, the error names the object, and nothing of it or of later \
    objects is printed.\n\nExamples:\n  weir map buttons --type button_click --user ethan --from 2026-11-20 --to 2026-11-21\n  weir \
    map buttons --type button_click --reduce tally"
)]
pub(crate) struct MapArgs {
    /// Which function (`weir function add` makes one).
    pub(crate) name: FunctionName,
    /// The type of events.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: EventType,
    /// Only this user's events.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<Username>,
    /// Begin with this hour (UTC).
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    pub(crate) from: Option<Hour>,
    /// End before this hour.
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    pub(crate) to: Option<Hour>,
    /// Give all results, as one input, to this function, and print its result instead.
    #[arg(long, value_name = "NAME")]
    pub(crate) reduce: Option<FunctionName>,
    /// How many objects are worked on at once [default: one a core]; on AWS, how many Lambdas [default: 10].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: Option<u16>,
    /// How long to wait until the server has filed what it acknowledged before.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) wait: Duration,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_name_is_a_file_name_everywhere() {
        for name in ["a", "top-10", "by_hour", &"x".repeat(48)] {
            assert_eq!(name.parse::<FunctionName>().unwrap().to_string(), name);
        }
        for name in ["", ".", "../a", "a/b", "A", "a b", "-a", "ä", "a.json", &"x".repeat(49)] {
            assert!(name.parse::<FunctionName>().is_err(), "{name}");
        }
    }
}
