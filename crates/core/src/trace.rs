//! Marks spans that are to be traced. Functions and engines do not depend on OpenTelemetry: they make spans with this target,
//! and a layer that `weir serve` installs for them (`tracing-opentelemetry`) exports them. Without that layer, as on Lambda,
//! such a span is never made: it has the level DEBUG, which no log takes from this target.
//!
//! Fields are attributes by their names, but for two: `otel.kind` (`server`; otherwise the span is internal) and
//! `otel.status_code` (`ERROR` if the span failed). A number is recorded as a signed one, as OpenTelemetry has no other.
//! A field never has a user's name, a secret, or the content of an event.

/// The target of spans that are to be traced.
pub const TRACED: &str = "weir_trace";
