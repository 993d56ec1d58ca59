//! What can be typed after `weir publish`.

use std::time::Duration;

use clap::Args;

use super::{
    options::{AnswersArgs, CatalogArgs, Place},
    values::duration,
};

#[derive(Debug, Args)]
#[command(
    after_help = "An answer is a file NAME.sql: one SELECT over the tables that `weir query` has, below a head of comments that \
    says how its rows are addressed. `weir serve` computes those whose head has `-- every:` by itself; this command computes \
    them now. They are read at /answers/NAME. Readers never see half of two publications.\n\nExamples:\n  weir publish\n  weir \
    publish visits --answers ./answers"
)]
pub(crate) struct PublishArgs {
    /// Only this answer [default: all].
    pub(crate) name: Option<String>,
    /// How long to wait until the server has filed what it acknowledged before [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    #[command(flatten)]
    pub(crate) answers: AnswersArgs,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}
