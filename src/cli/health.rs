//! What can be typed after `weir health`.

use std::time::Duration;

use clap::Args;

use super::values::{Server, some_time};
use crate::address::Base;

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Which server: a port of this machine, or an address.
    #[arg(long, env = "WEIR_HEALTH_TO", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = Server)]
    pub(crate) to: Base,
    /// How long an answer is waited for.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    pub(crate) within: Duration,
}
