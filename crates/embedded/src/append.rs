//! Events on their way to the writer, packed for the journal.

use rusqlite::Connection;
use weir_core::{Increment, Record, counts};

use crate::{
    recent_ids::{self, Id, RecentIds},
    recent_rejected::Noted,
};

/// The records of one call.
pub(crate) struct Append {
    packed: Packed,
    /// All of the records if some may repeat an earlier one: repeats are left out.
    records: Vec<(Record, Option<Id>)>,
    /// The indexes of the records that were left out.
    duplicates: Vec<usize>,
    /// The newest of the rejected records. A rejected record never repeats another, so none is left out.
    rejected: Vec<Noted>,
}

/// Lines, and the increments that they mean.
#[derive(Default)]
pub(crate) struct Packed {
    pub(crate) lines: Vec<u8>,
    pub(crate) events: u64,
    pub(crate) increments: Vec<Increment>,
}

impl Packed {
    fn of<'a>(records: impl Iterator<Item = &'a Record> + Clone) -> Self {
        let mut lines = Vec::with_capacity(records.clone().map(|record| record.line().len()).sum());
        let mut events = 0;
        for record in records.clone() {
            lines.extend_from_slice(record.line());
            events += 1;
        }
        Self { lines, events, increments: counts::increments(records) }
    }
}

impl Append {
    pub(crate) fn of(records: Vec<Record>) -> Self {
        let (packed, rejected) = (Packed::of(records.iter()), Noted::of(&records));
        let records = if records.iter().any(Record::may_repeat) {
            let with_id = |record: Record| {
                let id = record.identity().to_remember().map(|identity| recent_ids::digest(&identity));
                (record, id)
            };
            records.into_iter().map(with_id).collect()
        } else {
            Vec::new()
        };
        Self { packed, records, duplicates: Vec::new(), rejected }
    }

    /// Returns the bytes of all lines.
    pub(crate) fn bytes(&self) -> usize {
        self.packed.lines.len()
    }

    /// Returns whether some of the events may have come before.
    pub(crate) fn may_repeat(&self) -> bool {
        !self.records.is_empty()
    }

    /// Remembers the new events, and leaves out the others.
    pub(crate) fn leave_out_repeats(&mut self, ids: &RecentIds, db: &Connection) -> rusqlite::Result<()> {
        for (index, (_, id)) in self.records.iter().enumerate() {
            if let Some(id) = id
                && !ids.remember(db, id)?
            {
                self.duplicates.push(index);
            }
        }
        if !self.duplicates.is_empty() {
            let is_new = |index: &usize| self.duplicates.binary_search(index).is_err();
            let left = self.records.iter().enumerate().filter(|(index, _)| is_new(index));
            self.packed = Packed::of(left.map(|(_, (record, _))| record));
        }
        Ok(())
    }

    pub(crate) fn take_packed(&mut self) -> Packed {
        std::mem::take(&mut self.packed)
    }

    pub(crate) fn take_rejected(&mut self) -> Vec<Noted> {
        std::mem::take(&mut self.rejected)
    }

    /// Returns the indexes of the records that were left out, in order.
    pub(crate) fn into_duplicates(self) -> Vec<usize> {
        self.duplicates
    }
}
