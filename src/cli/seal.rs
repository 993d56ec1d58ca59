//! What can be typed after `weir seal`.

use std::time::Duration;

use clap::Args;
use weir_core::Day;

use super::{
    options::{CatalogArgs, Place},
    values::{day, days, duration, memory},
};

#[derive(Debug, Args)]
#[command(
    after_help = "A sealed day is Parquet, one file for each event type, without repeats, and queries read it from there. Its JSON \
    stays unless --keep-json says otherwise. Before, events are removed that are older than they are to be kept (--keep-days). Late events are taken in by the next sealing; they can be queried at once. It works \
    while the server runs, which seals by itself, too (--seal-after). It can be stopped at any moment, and begun again.\n\n\
    Examples:\n  weir seal\n  weir seal --until 2026-11-20 --memory 2GiB\n  weir seal --again 2026-11-20"
)]
pub(crate) struct SealArgs {
    /// Seal the days before this one [default: those that ended 48 hours ago].
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(crate) until: Option<Day>,
    #[command(flatten)]
    pub(crate) settings: SealSettings,
    /// Seal a day although its objects do not have the events that were settled, as when some were removed by hand.
    #[arg(long)]
    pub(crate) accept_differences: bool,
    /// Seal this day again from its JSON, as when a file of it is damaged. Can be given several times.
    #[arg(long, value_name = "DAY", value_parser = day, conflicts_with = "accept_differences")]
    pub(crate) again: Vec<Day>,
    /// Leave the machine to others: only the time that no other program wants, and half of the cores.
    #[arg(long, hide = true)]
    pub(crate) gentle: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}

/// The settings of sealing that `weir serve` has, too.
#[derive(Debug, Clone, Args)]
pub(crate) struct SealSettings {
    /// How much memory sealing may use; beyond it, DuckDB uses files in the data folder.
    #[arg(long, help_heading = "Sealing", env = "WEIR_MEMORY", value_name = "BYTES", default_value = "512MiB", value_parser = memory)]
    pub(crate) memory: u64,
    /// How long to keep the JSON of sealed days [default: for ever].
    #[arg(long, help_heading = "Sealing", env = "WEIR_KEEP_JSON", value_name = "TIME", value_parser = duration)]
    pub(crate) keep_json: Option<Duration>,
    /// How many days to keep events after the end of their day, of types that do not say so themselves (keep_days) [default: for
    /// ever].
    #[arg(long, help_heading = "Sealing", env = "WEIR_KEEP_DAYS", value_name = "DAYS", value_parser = days)]
    pub(crate) keep_days: Option<u32>,
}
