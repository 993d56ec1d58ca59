//! What can be typed after `weir audit`.

use std::time::Duration;

use clap::Args;
use weir_core::{EventType, Hour, Username};

use super::{
    options::{CatalogArgs, ColorArgs, Format, Place},
    values::{duration, hour},
};

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
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
    #[command(flatten)]
    pub(crate) color: ColorArgs,
}
