//! Traces: spans with the target [`TRACED`](weir_core::trace::TRACED) become OpenTelemetry's, and go to a collector of its
//! as OTLP over HTTP, in JSON.
//!
//! [`Settings`] come from OpenTelemetry's own environment variables, and without them nothing is installed. With them,
//! [`Traces::layer`] collects spans, and [`Traces::flush`] sends what has ended, or [`Traces::keep_sending`] does so again
//! and again. Nobody waits for a collector that does not answer, and nothing is kept for it: a trace helps whoever looks,
//! and is no event.
//!
//! OpenTelemetry's own packages do the same and much more, and would add 0.4 MB to each function's package.
//!
//! Where to read on: `settings` (which variables), `context` (ids, `traceparent`), `sampler` (which traces), `layer` (what is
//! collected), `otlp` (how it is written), `post` (how it is sent), `sending` (when, and what happens if it fails).
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
