//! The way of events into the stream. Apart from `body`, `held` and `sender`, nothing here knows HTTP.
//!
//! - `body`: a request's bytes, bounded and decompressed; `limits`: load shedding, by the bodies in memory; `held`: a body
//!   with its permits, and the work on it;
//! - `framing`: one text for each event; `elements` for arrays with invalid JSON;
//! - `sender`: what a request tells of its sender; `bots`: which user agents are bots';
//! - `store`: fills, validates, stamps, stores and counts events; `latest`: raises their latest values;
//! - `outcome`: what became of an event, for the answer and the metrics.

pub(crate) mod body;
pub(crate) mod bots;
pub(crate) mod elements;
pub(crate) mod framing;
pub(crate) mod held;
mod latest;
pub(crate) mod limits;
pub(crate) mod outcome;
pub(crate) mod sender;
pub(crate) mod store;
