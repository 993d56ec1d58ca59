//! Marks spans that are to be traced. Functions and engines do not depend on OpenTelemetry: they make spans with this target,
//! and a layer that the program installs for them (`weir-traces`) exports them. Without that layer, such a span is never
//! made: it has the level DEBUG, which no log takes from this target.
//!
//! Fields are attributes by their names, but for three: `otel.kind` (`server`; otherwise the span is internal), `otel.parent`
//! (a W3C `traceparent` from outside, used if no traced span is around this one) and `otel.error` (true if the span failed).
//! A field never has a user's name, a secret, or the content of an event.

/// The target of spans that are to be traced.
pub const TRACED: &str = "weir_trace";
