//! What Weir's functions share on Lambda, so that each function's `main.rs` only says what it is made of.
//!
//! - [`run`] starts a function and hands it its invocations;
//! - [`Environment`] is what it is set up with: environment variables, read once;
//! - its logs are JSON on standard error, one object a line, with time, level and request id; `WEIR_LOG` says how
//!   much of Weir's own is logged (`info`, `debug`, `weir_aws=debug,info`), and what others log of a request is never
//!   let through, as it may hold credentials and events;
//! - spans are traced where OpenTelemetry's variables say where to ([`weir_traces`]), and sent before an answer is final;
//! - [`Metrics`] are lines on standard output that CloudWatch makes metrics of.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod environment;
mod logs;
mod metrics;
mod start;
#[cfg(feature = "testing")]
pub mod testing;

pub use environment::{Environment, SettingError};
pub use metrics::Metrics;
pub use start::{StartError, run};
