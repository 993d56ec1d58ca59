//! The common part of Weir's functions on Lambda, so that each function's `main.rs` only names its parts.
//!
//! - [`run`] starts a function and hands it its invocations; [`run_in_time`] also the time that each has;
//! - [`Environment`] has its settings: environment variables, read once;
//! - its logs are JSON on standard error, one object a line, with time, level and request id; `WEIR_LOG` sets how much of
//!   Weir's own is logged (`info`, `debug`, `weir_aws=debug,info`), and other crates' logs of a request are never let
//!   through, as they may hold credentials and events;
//! - X-Ray's header of an invocation goes on to AWS by itself: the runtime and the SDK see to that;
//! - [`Metrics`] are lines on standard output that CloudWatch turns into metrics.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod environment;
mod logs;
mod metrics;
mod start;
#[cfg(feature = "testing")]
pub mod testing;

pub use environment::{Environment, SettingError};
pub use metrics::Metrics;
pub use start::{StartError, run, run_in_time};
