//! What can be typed after `weir latest`.

use clap::Args;
use weir_core::{EventType, Username};

use super::options::{CatalogArgs, Format, Place};

#[derive(Debug, Args)]
#[command(
    after_help = "An event is the latest by when it happened, not by when it came. The type's file in the catalog names the \
    field: \"latest_by\": \"sensor_id\".\n\nExamples:\n  weir latest reading\n  weir latest reading kitchen cellar\n  weir \
    latest reading kitchen --format json"
)]
pub(crate) struct LatestArgs {
    /// The event type.
    #[arg(value_name = "TYPE")]
    pub(crate) event_type: EventType,
    /// Only these values of its latest_by field, such as a sensor's id.
    #[arg(value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// Only this user's events.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<Username>,
    /// How to print them.
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}
