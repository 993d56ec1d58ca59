//! What can be typed after `weir counts`.

use clap::Args;
use weir_core::{EventType, Username};

use super::{
    options::{CatalogArgs, Format, Place},
    values::number,
};

#[derive(Debug, Args)]
#[command(
    after_help = "Live counts go up with each acknowledged event; settled ones are of what lies in the lake. `weir audit` \
    compares both with the lake itself.\n\nExamples:\n  weir counts\n  weir counts --user ethan --type button_click --keys \
    10\n  weir counts --format csv"
)]
pub(crate) struct CountsArgs {
    /// Only this user's events.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<Username>,
    /// Only events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<EventType>,
    /// Below each total, the live counts of so many keys, largest first.
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = number::<usize>)]
    pub(crate) keys: usize,
    /// How to print them.
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}
