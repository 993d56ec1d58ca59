//! What can be typed behind `weir send`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, value_parser};
use weir_core::EventType;

use super::{
    options::{CatalogArgs, OUTPUT, TYPES},
    values::{Server, some_time},
};
use crate::address::Base;

#[derive(Debug, Args)]
#[command(
    after_help = "Credentials are USER:SECRET, from the variable WEIR_CREDENTIALS or the first line of a file. There is no \
    option for the secret itself: every user of the machine can read command lines.\n\nAn event without an event_id gets one \
    that follows from the file's whole content, the line's number and the line: whatever is sent again, after a lost answer \
    or by a second run, under this or another name, counts once for 24 hours at least, and two equal lines of a file are two \
    events. A file that has grown or was corrected is another file, unless --source names it; what comes from a pipe is \
    another one each time.\n\nA type that the server does not have is refused before anything is sent. Where the \
    first hundred lines or more were all rejected for the same reason, the rest is sent with --keep-going only.\n\nA run that was interrupted goes on where it stopped: FILE.weir-sent says where that is, and is removed at \
    the end.\n\nExit code: 0 everything was sent, 3 some lines were rejected, 1 it failed, 130 it was interrupted.\n\nExamples:\n  \
    weir send clicks.ndjson\n  weir send --type page_view views.csv.gz --to https://events.example.com\n  \
    zcat old/*.gz | weir send -"
)]
pub(crate) struct SendArgs {
    /// Files of NDJSON or CSV, gzip or not; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The Weir to send to: a port of this machine, or an address. Without a scheme it is http on this machine and https
    /// elsewhere.
    #[arg(long, help_heading = "Server", env = "WEIR_URL", value_name = "ADDRESS", default_value = "localhost:8080", value_parser = Server)]
    pub(crate) to: Base,
    /// A file whose first line is USER:SECRET, in place of the variable WEIR_CREDENTIALS.
    #[arg(long, help_heading = "Server", value_name = "FILE")]
    pub(crate) credentials_file: Option<PathBuf>,
    /// The type of events that name none.
    #[arg(long = "type", help_heading = TYPES, value_name = "TYPE")]
    pub(crate) event_type: Option<EventType>,
    /// What the files are.
    #[arg(long, help_heading = "Files", value_enum, default_value = "auto")]
    pub(crate) format: FileFormat,
    /// How many events a request has at the most.
    #[arg(long, help_heading = "Server", value_name = "NUMBER", default_value = "500", value_parser = value_parser!(u16).range(1..=10_000))]
    pub(crate) batch: u16,
    /// How many requests are under way at once.
    #[arg(long, help_heading = "Server", value_name = "NUMBER", default_value = "4", value_parser = value_parser!(u8).range(1..=64))]
    pub(crate) concurrency: u8,
    /// Where rejected lines go, with their numbers and every reason [default: FILE.rejected.ndjson].
    #[arg(long, help_heading = OUTPUT, value_name = "FILE")]
    pub(crate) rejected: Option<PathBuf>,
    /// How long a request is tried again that gets no answer, or the answer to come again later.
    #[arg(long, help_heading = "Server", value_name = "TIME", default_value = "2m", value_parser = some_time)]
    pub(crate) retry_for: Duration,
    /// Go on where the first lines, a hundred or more, were all rejected for the same reason.
    #[arg(long, help_heading = "Files")]
    pub(crate) keep_going: bool,
    /// Make event ids from this name instead of the file's content: for a file that grows, or is corrected and sent
    /// again, and for a pipe.
    #[arg(long, help_heading = "Files", value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Show no progress bar on a terminal either.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) no_progress: bool,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}

/// What a file to be sent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// By the file's name, or else by how it begins.
    Auto,
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180, with a header line that names the fields.
    Csv,
}
