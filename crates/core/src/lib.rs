//! Weir's vocabulary and its ports.
//!
//! Everything here is a value or a promise; nothing reads a file, opens a socket or reads the clock by itself. Read in this
//! order:
//!
//! - names that are made by parsing and then cannot be wrong: [`Username`], [`EventType`], [`CountedValue`], [`EventId`],
//!   [`BatchId`], [`Partition`];
//! - the files of events and their formats: [`LakeObject`], [`Format`];
//! - events as clients send them, and as they are stored: [`event`], [`Record`]; the time that decides an event's hour:
//!   [`event_time`];
//! - the members of a JSON object, each with its own text: [`json`];
//! - the event types: [`catalog`];
//! - users and their access keys: [`users`];
//! - counts: [`counts`], all of them together: [`books`], and their hours and days: [`Hour`], [`Day`]; those
//!   of the last hour by minute: [`minutes`];
//! - the newest event of each resource: [`latest`];
//! - what of an event is not stored: [`redaction`];
//! - rejected events as they are shown: [`rejected`]; a user's newest events, accepted and rejected: [`newest`], and as they are
//!   stored: [`following`];
//! - what became of one event: [`receipt`];
//! - events that must never come back: [`forgotten`];
//! - answers computed beforehand: [`answers`]; the rows of SQL's answers: [`sql`];
//! - days that are over as Parquet, and what is read of them: [`sealing`];
//! - the ports that an engine must implement: [`ports`], and their test suites: `conformance` (a feature).
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod answers;
pub mod batch;
pub mod books;
mod calendar;
pub mod catalog;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod counts;
pub mod dedup;
pub mod event;
pub mod event_time;
pub mod following;
pub mod forgotten;
mod format;
pub mod json;
pub mod latest;
pub mod looks;
pub mod minutes;
mod names;
mod near;
pub mod newest;
mod occurred;
mod partition;
pub mod ports;
mod quarantined;
mod random;
pub mod receipt;
mod record;
pub mod redaction;
pub mod rejected;
pub mod sealing;
pub mod sql;
mod timestamp;
pub mod trace;
pub mod users;

pub use batch::{BatchId, BatchKey};
pub use calendar::Day;
pub use catalog::Catalog;
pub use clock::{Clock, ManualClock, SystemClock};
pub use counts::{Counter, Increment};
pub use event::{Event, Violation};
pub use format::Format;
pub use names::{
    AnswerName, CountedValue, EventId, EventType, GenerationName, LatestKey, NameError, Username,
};
pub use near::{alike, nearest};
pub use partition::{LakeObject, Partition};
pub use quarantined::quarantined_line;
pub use random::{BufferedRandom, Random, SeededRandom, SystemRandom};
pub use record::{MAX_RECORD_BYTES, Record, RecordHead, RecordHeadError, Stamp};
pub use redaction::{InstallationSecret, Redaction};
pub use timestamp::{Hour, Timestamp};
