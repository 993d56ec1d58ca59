//! The way of events into the stream. Apart from `body`, nothing here knows HTTP.
//!
//! - `body`: a request's bytes, bounded and decompressed; `limits`: load shedding, by the bodies in memory;
//! - `framing`: one text for each event; `elements` for arrays with invalid JSON;
//! - `store`: validates, stamps, stores and counts events; `latest`: raises their latest values;
//! - `outcome`: what became of an event, for the answer and the metrics.

pub(crate) mod body;
pub(crate) mod elements;
pub(crate) mod framing;
mod latest;
pub(crate) mod limits;
pub(crate) mod outcome;
pub(crate) mod store;
