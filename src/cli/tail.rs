//! What can be typed after `weir tail`.

use clap::{Args, ValueEnum};
use weir_core::{EventType, Username};

use super::{
    options::{CatalogArgs, ColorArgs, Place},
    values::number,
};

#[derive(Debug, Args)]
#[command(
    after_help = "It begins with the events that come from now on, and ends with Ctrl-C. With --no-follow it prints the last events, and ends. It needs no credentials: it reads \
    the data folder, of a server that runs or not. Times are local, with their offset from UTC; --format json \
    prints events as they are stored, with milliseconds since 1970.\n\nWith --engine aws it reads new batches in the raw bucket, so that \
    events come once the stream has delivered them: after its buffering, the stack's BufferSeconds. The last events are those of this \
    hour and the one before.\n\nExamples:\n  weir tail \
    --rejected --last 20\n  weir tail --type button_click --format json | jq .button_id\n  weir tail --no-follow --last 100"
)]
pub(crate) struct TailArgs {
    /// Only this user's events.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<Username>,
    /// Only events of this type; with --rejected, those that were sent as one.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<EventType>,
    /// Only events that failed validation.
    #[arg(long)]
    pub(crate) rejected: bool,
    /// Begin with the last events, so many of them, as far as they are in the newest batches: of the last 50,000 events,
    /// or the last NUMBER if that is more, those that pass [default: 0, and 10 with --no-follow].
    #[arg(long, value_name = "NUMBER", value_parser = number::<usize>)]
    pub(crate) last: Option<usize>,
    /// End after the last events, without waiting for new ones.
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// How to print an event.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: TailFormat,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
    #[command(flatten)]
    pub(crate) color: ColorArgs,
}

impl TailArgs {
    /// Returns how many of the last events to begin with.
    pub(crate) fn last(&self) -> usize {
        self.last.unwrap_or(if self.no_follow { 10 } else { 0 })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailFormat {
    /// One line for people: time, user, type, id and fields, or why it was rejected.
    Text,
    /// The line as it is stored.
    Json,
}
