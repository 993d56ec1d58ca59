//! What can be typed after `weir receipt`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use weir_core::EventId;

use super::values::Server;
use crate::address::Base;

#[derive(Debug, Args)]
#[command(
    after_help = "Credentials are USER:SECRET, from the variable WEIR_CREDENTIALS or the first line of a file, and need the right \
    to read.\n\nThe id that a client gave is remembered for a day; the one that Weir made is found for as long as raw is kept. A \
    repeat has the receipt of the event that it repeats.\n\nExit code: 0 the event is known, 1 it is not.\n\nExamples:\n  weir \
    receipt order-4711\n  weir receipt order-4711 --to https://events.example.com --format json"
)]
pub(crate) struct ReceiptArgs {
    /// The event's id.
    #[arg(value_name = "ID")]
    pub(crate) event_id: EventId,
    /// The Weir to ask: a port of this machine, or an address. Without a scheme it is http on this machine and https elsewhere.
    #[arg(long, env = "WEIR_URL", value_name = "ADDRESS", default_value = "localhost:8080", value_parser = Server)]
    pub(crate) to: Base,
    /// A file whose first line is USER:SECRET, in place of the variable WEIR_CREDENTIALS.
    #[arg(long, value_name = "FILE")]
    pub(crate) credentials_file: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReceiptFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReceiptFormat {
    /// For people.
    Table,
    /// As the API answers.
    Json,
}
