//! What can be typed after `weir replay`.

use clap::Args;

use super::options::{ColorArgs, Place};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir replay                                  every batch\n  weir replay --from \
    2026/11/20 --to 2026/11/21   those of one day"
)]
pub(crate) struct ReplayArgs {
    /// Begin with this batch, or with the first whose path in raw begins so or comes later.
    #[arg(long, value_name = "PATH")]
    pub(crate) from: Option<String>,
    /// End before the first batch whose path begins so or comes later.
    #[arg(long, value_name = "PATH")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) color: ColorArgs,
}
