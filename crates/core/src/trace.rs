//! How a span says that it is to be traced. Functions and engines know no OpenTelemetry: they make spans with this
//! target, and whoever installs a layer for them (`weir-traces`) sends them on. Where nobody does, such a span is
//! never made: it has the level DEBUG, which no log takes from this target.
//!
//! Fields are attributes by their names, but for three: `otel.kind` (`server`, or it is an internal one), `otel.parent`
//! (a W3C `traceparent` from outside, taken where no traced span is around this one) and `otel.error` (true where it
//! failed). A field never holds a user's name, a secret, or what is in an event.

/// The target of spans that are to be traced.
pub const TRACED: &str = "weir_trace";
