//! What a run is given, and its result.

use weir_core::{Day, sealing::Removed};

/// How long things are kept, in days; for ever where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// The JSON of sealed days.
    pub json: Option<u32>,
    /// Events of types that do not say so themselves.
    pub events: Option<u32>,
}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSummary {
    /// How many generations it made.
    pub sealed: u64,
    /// The watermark.
    pub sealed_until: Day,
    /// Whether all days that are due are sealed, and all is removed that is due. Otherwise there was no time left, and the next
    /// run goes on.
    pub is_whole: bool,
    /// How many sealed days lost their JSON.
    pub json_expired: u64,
    /// What was removed of events that are not kept any longer.
    pub removed: Removed,
    /// In how many runs in a row, this one included, the time was over before anything was removed of what is due.
    pub stalled: u32,
}

/// The names of the AWS resources that sealing uses.
#[derive(Debug, Clone)]
pub struct Names {
    /// The bucket of the lake.
    pub lake: String,
    /// The bucket of batches.
    pub raw: String,
    /// The table of counts.
    pub counts: String,
    /// The table of latest values.
    pub latest: String,
    /// Athena's workgroup.
    pub workgroup: String,
    /// The database of the tables.
    pub database: String,
}
