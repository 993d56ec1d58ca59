//! The manifest of sealed days. `stored` is its text.

mod stored;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Day, EventType, LakeObject, Timestamp};

pub use stored::NotAManifest;

/// Which days are sealed, and in which files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The watermark: earlier days are read from Parquet.
    pub sealed_until: Day,
    /// The current generation of each sealed day that has events.
    pub days: BTreeMap<Day, Generation>,
    /// Replaced generations that queries may still read.
    pub replaced: Vec<Replaced>,
    /// Where retention has come to: a type's events of days before its day are gone, or are being removed. Nothing reads them.
    pub removed: BTreeMap<EventType, Day>,
}

/// The Parquet files of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number, which rises with each sealing of the day.
    pub number: u64,
    /// When it was made.
    pub sealed_at: Timestamp,
    /// How many objects of JSON its rows come from.
    pub objects: u64,
    /// Whether JSON of the day was removed, or is being removed.
    pub json_expired: bool,
    /// Whether objects that it covers may still be there as JSON.
    pub json_left: bool,
    /// Its files, by event type.
    pub types: BTreeMap<EventType, SealedType>,
}

/// The events of one type and day. Files are named by their paths below the folder of sealed days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedType {
    /// The column that has an event's whole stored line.
    pub line: String,
    /// The type's columns, as the catalog had them when the day was sealed. Days share them.
    pub columns: Arc<[SealedColumn]>,
    /// The files of the events, without repeats.
    pub files: Vec<String>,
    /// The files of the repeats, which only audits read.
    pub repeat_files: Vec<String>,
    /// How many events there are without repeats.
    pub rows: u64,
    /// How many repeats there are.
    pub repeats: u64,
    /// The size of all files.
    pub bytes: u64,
}

/// A column of a sealed type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SealedColumn {
    /// Its name.
    pub name: String,
    /// Its expression over the stored line, which tells whether it is still the catalog's.
    pub expression: String,
}

/// A generation that another one replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its day.
    pub day: Day,
    /// Its number.
    pub generation: u64,
    /// When it was replaced.
    pub at: Timestamp,
}

impl Generation {
    /// Returns one that covers nothing: its day is sealed, and is read from JSON until it is sealed anew.
    #[must_use]
    pub fn of_nothing(number: u64) -> Self {
        Self {
            number,
            sealed_at: Timestamp::saturating(0),
            objects: 0,
            json_expired: false,
            json_left: false,
            types: BTreeMap::new(),
        }
    }
}

impl Default for Manifest {
    /// Nothing is sealed.
    fn default() -> Self {
        Self {
            sealed_until: Day::FIRST,
            days: BTreeMap::new(),
            replaced: Vec::new(),
            removed: BTreeMap::new(),
        }
    }
}

impl Manifest {
    /// Returns the day from which on a type has events: retention removed those of earlier days.
    #[must_use]
    pub fn first_day(&self, event_type: &EventType) -> Day {
        if event_type.is_bots() {
            // Those of bots are among those of the types.
            return self.removed.values().copied().max().unwrap_or(Day::FIRST);
        }
        self.removed.get(event_type).copied().unwrap_or(Day::FIRST)
    }

    /// Returns whether retention removed a type's events of a day.
    #[must_use]
    pub fn is_removed(&self, day: Day, event_type: &EventType) -> bool {
        day < self.first_day(event_type)
    }

    /// Returns what is read of the sealed days, by day and type.
    pub fn sealed(&self) -> impl Iterator<Item = (Day, &EventType, &SealedType)> {
        self.days.iter().flat_map(move |(day, generation)| {
            let types =
                generation.types.iter().filter(move |(event_type, _)| !self.is_removed(*day, event_type));
            types.map(move |(event_type, sealed)| (*day, event_type, sealed))
        })
    }

    /// Returns whether retention removed the events of an object.
    #[must_use]
    pub fn is_object_removed(&self, path: &str) -> bool {
        !self.removed.is_empty()
            && LakeObject::at(path).is_some_and(|object| {
                self.is_removed(Day::of(object.partition.hour), &object.partition.event_type)
            })
    }

    /// Returns whether a generation is the current one of its day, or was replaced and is still kept.
    #[must_use]
    pub fn keeps(&self, day: Day, generation: u64) -> bool {
        self.days.get(&day).is_some_and(|current| current.number == generation)
            || self.replaced.iter().any(|old| old.day == day && old.generation == generation)
    }

    /// Returns the number of a day's next generation.
    #[must_use]
    pub fn next(&self, day: Day) -> u64 {
        let replaced = self.replaced.iter().filter(|old| old.day == day).map(|old| old.generation);
        self.days.get(&day).map(|current| current.number).into_iter().chain(replaced).max().unwrap_or(0) + 1
    }

    /// Makes a generation the current one of its day.
    pub(super) fn set(&mut self, day: Day, generation: Generation, now: Timestamp) {
        if let Some(before) = self.days.insert(day, generation) {
            self.replaced.push(Replaced { day, generation: before.number, at: now });
        }
    }

    /// Makes a generation the current one of its day, and forgets those that it replaces: their files go at once. Queries that began
    /// before fail.
    pub fn replace_at_once(&mut self, day: Day, generation: Generation) {
        self.forget_replaced(day);
        self.days.insert(day, generation);
    }

    /// Forgets the replaced generations of a day: their files go at once. Returns whether there were any.
    pub fn forget_replaced(&mut self, day: Day) -> bool {
        let before = self.replaced.len();
        self.replaced.retain(|old| old.day != day);
        self.replaced.len() < before
    }
}
