//! What can be typed after `weir serve`, and after `weir` alone.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use clap::{Args, value_parser};
use collector::Origins;

use super::{
    options::{AnswersArgs, CatalogArgs, ColorArgs, Place},
    seal::SealSettings,
    values::{SealAfter, duration, number, size, size_or_none, some_time},
};
use crate::address;

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
    #[command(flatten)]
    pub(crate) answers: AnswersArgs,
    /// Where to listen: a port of this machine for programs on it, or an address, such as 0.0.0.0:8080 for all of the machine's.
    /// Port 0 picks a free one.
    // Other servers have it as --port.
    #[arg(long, alias = "port", help_heading = "Addresses", env = "WEIR_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address::to_listen_on)]
    pub(crate) listen: SocketAddr,
    /// Serve /metrics on this address, without access control, instead of on --listen to this machine only
    /// [default: none].
    #[arg(long, help_heading = "Addresses", env = "WEIR_METRICS_LISTEN", value_name = "ADDRESS", value_parser = address::to_listen_on)]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Behind a proxy: take the last address of X-Forwarded-For for the client's. Set it only where no client but the proxy
    /// can connect.
    #[arg(long, help_heading = "Addresses", env = "WEIR_TRUST_FORWARDED_FOR")]
    pub(crate) trust_forwarded_for: bool,
    /// File events after this time at the latest: they can be queried then. Longer makes fewer, larger files.
    #[arg(long, help_heading = "Filing", env = "WEIR_FLUSH_EVERY", value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) flush_every: Duration,
    /// File events earlier once there are this many bytes of them.
    #[arg(long, help_heading = "Filing", env = "WEIR_FLUSH_SIZE", value_name = "BYTES", default_value = "16MiB", value_parser = size)]
    pub(crate) flush_size: u64,
    /// Refuse new events, with 503, while the disk has less space left than this: what was acknowledged needs some to be
    /// filed. 0 for all there is.
    #[arg(long, help_heading = "Filing", env = "WEIR_KEEP_FREE", value_name = "BYTES", default_value = "128MiB", value_parser = size_or_none)]
    pub(crate) keep_free: u64,
    /// Seal days that ended this long ago, at a quiet moment: they become Parquet, for faster queries. `never` leaves that to
    /// `weir seal`.
    #[arg(long, help_heading = "Sealing", env = "WEIR_SEAL_AFTER", value_name = "TIME", default_value = "48h", value_parser = SealAfter::from_str)]
    pub(crate) seal_after: SealAfter,
    #[command(flatten)]
    pub(crate) seal: SealSettings,
    /// How many connections there may be, as far as the process may open so many files. Beyond it, the one that has been
    /// idle longest is closed; where none is idle, new ones get 503.
    #[arg(long, help_heading = "Limits", env = "WEIR_CONNECTIONS", value_name = "NUMBER", default_value = "4096", value_parser = value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// How long a connection may be idle.
    #[arg(long, help_heading = "Limits", env = "WEIR_IDLE_TIMEOUT", value_name = "TIME", default_value = "75s", value_parser = some_time)]
    pub(crate) idle_timeout: Duration,
    /// How long the head of a request may take, and how long a body, or a client that reads its answer, may stand still.
    /// Slower than 4 KiB/s in the long run counts as standing still.
    #[arg(long, help_heading = "Limits", env = "WEIR_CLIENT_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = some_time)]
    pub(crate) client_timeout: Duration,
    /// How many sign-ins a minute may fail, for each address, and for each user who chose a password; then 429. 0 for no
    /// limit.
    #[arg(
        long,
        help_heading = "Limits",
        env = "WEIR_FAILED_SIGN_INS",
        value_name = "NUMBER",
        default_value = "10",
        value_parser = number::<u32>
    )]
    pub(crate) failed_sign_ins: u32,
    /// How many requests a second each user may send; then 429. 0 for no limit.
    #[arg(
        long,
        help_heading = "Limits",
        env = "WEIR_REQUESTS_PER_SECOND",
        value_name = "NUMBER",
        default_value = "0",
        value_parser = number::<u32>
    )]
    pub(crate) requests_per_second: u32,
    /// How many runs of functions clients may have at once (POST /map/NAME), all of them together; each user has one. 0 for no
    /// runs.
    #[arg(long, help_heading = "Limits", env = "WEIR_MAP_RUNS", value_name = "NUMBER", default_value = "2", value_parser = number::<u16>)]
    pub(crate) map_runs: u16,
    /// How many queries in SQL clients may have at once (POST /query), all of them together; each user has one, over their own
    /// rows. 0 for none: DuckDB then parses nothing that a client sends.
    #[arg(long, help_heading = "Limits", env = "WEIR_QUERIES", value_name = "NUMBER", default_value = "0", value_parser = number::<u16>)]
    pub(crate) queries: u16,
    /// With --engine aws: how long requests gather at the most, while a call of AWS for others is under way, to share the next
    /// one. Longer makes fewer calls where AWS takes longer to answer than this.
    #[arg(long, help_heading = "Limits", env = "WEIR_GATHER_FOR", value_name = "TIME", default_value = "5ms", value_parser = some_time)]
    pub(crate) gather_for: Duration,
    /// Which web pages may call the API from a browser: origins between commas, or * for all.
    #[arg(long, help_heading = "Web pages", env = "WEIR_ALLOW_ORIGINS", value_name = "ORIGINS", default_value = "*", value_parser = Origins::from_str)]
    pub(crate) allow_origins: Origins,
    #[command(flatten)]
    pub(crate) color: ColorArgs,
}
