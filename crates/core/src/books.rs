//! The books: all that is counted of a user's events of a type, to be compared with what lies in the lake.

use std::collections::BTreeMap;

use crate::{BatchKey, Counter, Hour, Increment, Key};

/// How many events there are, and how many of them have which key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub total: u64,
    /// By key.
    pub keys: BTreeMap<Key, u64>,
}

impl Tally {
    /// Adds an increment, whosesoever it is.
    pub fn raise(&mut self, increment: &Increment) {
        match &increment.counter.key {
            None => self.total += increment.by,
            Some(key) => *self.keys.entry(key.clone()).or_default() += increment.by,
        }
    }

    /// How many have a key.
    #[must_use]
    pub fn key(&self, key: &Key) -> u64 {
        self.keys.get(key).copied().unwrap_or_default()
    }
}

/// All counts of a user's events of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeCounts {
    /// The live counts.
    pub live: Tally,
    /// The settled total.
    pub settled: u64,
    /// The settled counts by hour.
    pub settled_hours: BTreeMap<Hour, u64>,
    /// Which of the live counts' events are not settled yet; none where the engine cannot know.
    pub under_way: Option<UnderWay>,
}

/// What is counted live and not settled yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// What is in no batch yet.
    pub in_stream: Tally,
    /// The batches in raw whose counts are not settled, of all users and types.
    pub unsettled: Vec<BatchKey>,
}

/// By how much a live count is wrong: what must be added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// Which count.
    pub counter: Counter,
    /// What to add; less than zero where it is too high.
    pub by: i64,
}
