//! The books: all counts of a user's events of a type, for comparison with the lake.

use std::collections::BTreeMap;

use crate::{BatchKey, CountedValue, Counter, Hour, Increment};

/// A number of events in total, and by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breakdown {
    /// The number of all events.
    pub total: u64,
    /// The number of events with each key.
    pub keys: BTreeMap<CountedValue, u64>,
}

impl Breakdown {
    /// Adds an increment, of any user and type.
    pub fn raise(&mut self, increment: &Increment) {
        match &increment.counter.key {
            None => self.total += increment.by,
            Some(key) => *self.keys.entry(key.clone()).or_default() += increment.by,
        }
    }

    /// Returns how many events have a key.
    #[must_use]
    pub fn key(&self, key: &CountedValue) -> u64 {
        self.keys.get(key).copied().unwrap_or_default()
    }
}

/// All counts of a user's events of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeCounts {
    /// The live counts.
    pub live: Breakdown,
    /// The settled total.
    pub settled: u64,
    /// The settled counts by hour.
    pub settled_hours: BTreeMap<Hour, u64>,
    /// The events in the live counts that are not settled yet; `None` if the engine cannot know them.
    pub under_way: Option<UnderWay>,
}

/// Events that are counted live and not settled yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// Events that are in no batch yet.
    pub in_stream: Breakdown,
    /// The batches in raw whose counts are not settled, of all users and types.
    pub unsettled: Vec<BatchKey>,
}

/// A correction of a wrong live count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The count to correct.
    pub counter: Counter,
    /// The amount to add; less than zero if the count is too high.
    pub by: i64,
}
