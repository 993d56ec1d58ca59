//! Weir's vocabulary and its ports.
//!
//! Everything here is a value or a promise; nothing reads a file, opens a socket or asks the time by itself.
//! Read in this order:
//!
//! - names that are made by parsing and then cannot be wrong: [`Username`], [`EventType`], [`Key`], [`EventId`],
//!   [`BatchId`], [`Partition`];
//! - what clients send and what is stored of it: [`event`], [`Record`];
//! - the event types: [`catalog`];
//! - who may call: [`users`];
//! - what is counted: [`counts`], and all of it beside each other: [`books`]; by which hours and days: [`Hour`], [`Day`];
//! - what of rejected events is shown: [`rejected`];
//! - what an engine must be able to do: [`ports`], and the suites that hold it to that: `conformance` (a feature).
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
pub mod books;
mod calendar;
pub mod catalog;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod counts;
pub mod event;
mod json;
pub mod looks;
mod names;
pub mod occurred;
mod partition;
pub mod ports;
mod random;
mod record;
pub mod rejected;
pub mod repeats;
mod timestamp;
pub mod trace;
pub mod users;

pub use batch::{BatchId, BatchKey};
pub use calendar::{Day, DayError, HourError};
pub use catalog::Catalog;
pub use clock::{Clock, ManualClock, SystemClock};
pub use counts::{Counter, Increment};
pub use event::{Event, Violation};
pub use names::{EventId, EventType, Key, NameError, Username};
pub use partition::{Partition, PartitionError};
pub use random::{Random, SeededRandom, SystemRandom};
pub use record::{MAX_RECORD_BYTES, Record, RecordHead, RecordHeadError, Stamp};
pub use timestamp::{Hour, Timestamp, TimestampError};
