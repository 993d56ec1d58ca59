//! Traces: spans with the target [`TRACED`](weir_core::trace::TRACED) become OpenTelemetry's, and are exported to an
//! OpenTelemetry collector as OTLP over HTTP, in JSON.
//!
//! [`Settings`] come from OpenTelemetry's own environment variables, and without them nothing is installed. With them,
//! [`Traces::layer`] collects spans, and [`Traces::flush`] sends the ended ones, or [`Traces::keep_sending`] does so again
//! and again. No request waits for a collector that does not answer, and nothing is kept for it: traces are an aid, not
//! events.
//!
//! OpenTelemetry's own packages do the same and much more, and would add 0.4 MB to each function's package.
//!
//! Where to read on: `settings` (which variables), `context` (ids, `traceparent`), `sampler` (which traces), `layer`
//! (collecting spans), `otlp` (encoding), `post` (the HTTP request), `sending` (when to send, and failures).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod context;
mod layer;
mod otlp;
mod post;
mod sampler;
mod sending;
mod settings;

pub use sending::Traces;
pub use settings::{Settings, Unusable};
