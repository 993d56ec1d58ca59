//! What can be typed after `weir send`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, value_parser};
use weir_core::EventType;

use super::{
    options::{CatalogArgs, OUTPUT, TYPES},
    values::{Server, number, some_time},
};
use crate::{address::Base, send::Renamed};

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
    zcat old/*.gz | weir send -\n  weir send --type signup --map userId=user_id --delimiter ';' export.csv --dry-run | head"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option that is given or not")]
pub(crate) struct SendArgs {
    /// Files of NDJSON, JSON arrays, CSV or TSV, gzip or not, of Parquet, or folders of them; - is standard input.
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
    /// What separates the cells of a row: a character, or tab [default: a comma, and a tab in files named .tsv].
    #[arg(long, help_heading = "Files", value_name = "CHARACTER", value_parser = delimiter)]
    pub(crate) delimiter: Option<u8>,
    /// Quotes are letters like others: no cell of CSV or TSV is quoted.
    #[arg(long, help_heading = "Files")]
    pub(crate) no_quotes: bool,
    /// Send the field or column OLD under the name NEW. It may be given several times.
    #[arg(long, help_heading = "Files", value_name = "OLD=NEW")]
    pub(crate) map: Vec<Renamed>,
    /// Print the events as they would be sent, and send nothing.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) dry_run: bool,
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
    /// Stop once more lines of a file than this were rejected.
    #[arg(long, help_heading = "Files", value_name = "NUMBER", value_parser = number::<u64>)]
    pub(crate) max_rejected: Option<u64>,
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
    /// One JSON object a line, or one JSON array of objects.
    Ndjson,
    /// RFC 4180, with a header line that names the fields.
    Csv,
    /// The same, with tabs between the cells.
    Tsv,
    /// Parquet, read by the DuckDB command line.
    Parquet,
}

/// Reads the character between cells.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n\0".contains(byte) => {
            Ok(*byte)
        }
        _ => Err("it is one character, such as ; or |, or the word tab".to_owned()),
    }
}
